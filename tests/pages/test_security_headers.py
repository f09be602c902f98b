"""The bound on forms, to the byte."""

import pytest

LIMIT_BYTES = 64 * 1024


def a_form(size_bytes):
    return b"token=" + b"x" * (size_bytes - len(b"token="))


@pytest.mark.parametrize(
    ("size_bytes", "refused"), [(LIMIT_BYTES, False), (LIMIT_BYTES + 1, True)], ids=str
)
def test_a_form_of_exactly_the_limit_is_taken(client, size_bytes, refused):
    response = client.post(
        "/admin/sign-in",
        content=a_form(size_bytes),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        follow_redirects=False,
    )
    assert (response.status_code == 413) is refused

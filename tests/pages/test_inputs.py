"""Form fields: each comes once, on every page that takes a form."""

from urllib.parse import urlencode

import pytest
from fastapi.routing import iter_route_contexts

from tests.support.session.served import pages_in

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_form_with_a_repeated_field_is_refused_and_changes_nothing(world, reading):
    promotion = world.a_promotion()
    path = f"/admin/promotions/{promotion['id']}"
    person = reading("approver-1")
    fields = [
        ("form_token", person.form_token(path)),
        ("verdict", "reject"),
        ("verdict", "approve"),
    ]
    fields += [("comment", "It is cold.")]
    for content in (urlencode(fields), urlencode(fields).replace("verdict=a", "%76erdict=a")):
        response = person.client.post(f"{path}/reviews", content=content, headers=FORM)
        assert response.status_code == 422
        assert "The field &#39;verdict&#39; comes 2 times; send it once." in response.text
    assert world.promotion(promotion)["reviews"] == []

    once = [each for each in fields if each != ("verdict", "approve")]
    done = person.client.post(
        f"{path}/reviews", content=urlencode(once), headers=FORM, follow_redirects=False
    )
    assert done.status_code == 303
    assert world.promotion(promotion)["state"] == "rejected"


def test_a_multipart_form_with_a_repeated_field_is_refused(reading):
    person = reading("reader")
    parts = [("form_token", (None, person.form_token("/admin/"))), ("form_token", (None, "x"))]
    response = person.client.post("/admin/sign-out", files=parts, follow_redirects=False)
    assert response.status_code == 422
    assert person.is_in()


def test_every_form_is_checked(app, reading):
    person = reading("admin")
    paths = [
        route.path
        for route in iter_route_contexts(pages_in(app).routes)
        if "POST" in (route.methods or ())
    ]
    assert len(paths) >= 9
    for path in paths:
        address = "/admin" + path.format(
            promotion_id="00000000-0000-4000-8000-000000000000",
            namespace="acme",
            name="voice",
            number=1,
            channel="production",
            issuer="sso.example",
        )
        response = person.client.post(address, content="more=1&more=2", headers=FORM)
        assert response.status_code == 422, path
        assert "comes 2 times" in response.text or "field(s) are invalid" in response.text, path


@pytest.mark.parametrize("path", ["/admin/", "/admin/sign-in"])
def test_pages_without_a_form_are_not_affected(reading, path):
    assert reading("reader").get(path).status_code == 200

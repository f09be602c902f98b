"""The limits of a request's head where no test has set its own."""

from app.http.header_limits import HeaderLimitedProtocol


def test_a_head_may_take_ten_seconds():
    assert HeaderLimitedProtocol.time_s == 10.0


def test_a_head_may_have_64_kib():
    assert HeaderLimitedProtocol.most_bytes == 64 * 1024

"""Paging: pages neither lose nor repeat rows, and invalid cursors are refused."""

import base64
import json
from uuid import UUID

import pytest

from tests.support.builders import World
from tests.support.session.in_process import InProcessClient


def cursor_of(*values):
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.fixture(scope="module")
def full(app, tokens):
    """A world with five or more rows in every list."""
    with InProcessClient(app, raise_server_exceptions=False) as client:
        world = World(client, dict(tokens))
        for seed in range(5):
            version = world.an_evaluated_version(seed=seed)
            world.evaluate({"number": 1, "digest": first_digest(world, version)})
            world.break_glass(world.request(version).json())
            world.a_prefix(name=f"voice-{seed}")
        _, world.tokens["insider"] = world.a_principal(None, ("publisher", world.namespace))
        world.holder, _ = world.a_principal()
        for _ in range(4):
            world.a_token(world.holder)
        yield world


def first_digest(world, version):
    if version["number"] == 1:
        return version["digest"]
    return world.made("GET", f"{world.path}/versions/1", by="publisher")["digest"]


# The path, the reader, the query, and a key of the rows in the order of the list.
LISTS = {
    "prefixes": ("/v1/prefixes", "insider", {}, lambda row: row["name"]),
    "versions": ("{path}/versions", "insider", {}, lambda row: -row["number"]),
    "evaluations": (
        "{path}/versions/1/evaluations",
        "insider",
        {},
        lambda row: row["recorded_at"],
    ),
    "promotions": ("/v1/promotions", "insider", {}, lambda row: row["created_at"]),
    "history": (
        "{path}/channels/production/history",
        "insider",
        {},
        lambda row: -row["generation"],
    ),
    "tokens": ("/v1/tokens", "admin", {"principal": "{holder}"}, lambda row: row["created_at"]),
    "audit": ("/v1/audit", "auditor", {"subject": "prefix:{prefix}"}, lambda row: row["sequence"]),
}
LATEST_FIRST = {"evaluations", "promotions", "tokens"}


def page_of(world, name, **query):
    path, by, fixed, _ = LISTS[name]
    path = path.format(path=world.path)
    params = {
        key: value.format(prefix=world.prefix, holder=world.holder) for key, value in fixed.items()
    } | query
    return world.call("GET", path, by=by, params=params)


def walk(world, name, limit):
    """Return all items of a list, read in pages of at most `limit`."""
    items, cursor = [], {}
    while cursor is not None:
        page = page_of(world, name, limit=limit, **cursor).json()
        assert len(page["items"]) <= limit
        items += page["items"]
        cursor = None if page["next"] is None else {"cursor": page["next"]}
    return items


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_pages_neither_lose_nor_repeat_rows(full, name, limit):
    complete = page_of(full, name, limit=200).json()
    assert (len(complete["items"]) >= 5, complete["next"]) == (True, None)
    assert walk(full, name, limit) == complete["items"]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_ordered(full, name):
    key = LISTS[name][3]
    found = [key(row) for row in page_of(full, name, limit=200).json()["items"]]
    assert found == sorted(found, reverse=name in LATEST_FIRST)


@pytest.mark.parametrize("name", LISTS)
def test_the_last_page_has_no_cursor_even_if_it_is_full(full, name):
    rows = len(page_of(full, name, limit=200).json()["items"])
    assert page_of(full, name, limit=rows).json()["next"] is None


def test_new_rows_do_not_appear_on_later_pages(world):
    for seed in range(3):
        world.a_version(seed=seed)
    path = f"{world.path}/versions"
    first = world.made("GET", path, by="publisher", params={"limit": 2})
    world.a_version(seed=3)
    query = {"limit": 2, "cursor": first["next"]}
    rest = world.made("GET", path, by="publisher", params=query)
    assert [row["number"] for row in first["items"] + rest["items"]] == [3, 2, 1]


BAD_CURSORS = [
    pytest.param("x", id="not-base64"),
    pytest.param("%%%", id="no-letters"),
    pytest.param("ü", id="not-ascii"),
    pytest.param(base64.urlsafe_b64encode(b"\xff\xfe").decode(), id="not-text"),
    pytest.param(base64.urlsafe_b64encode(b"[" * 600).decode(), id="deep"),
    pytest.param(base64.urlsafe_b64encode(b"5").decode(), id="not-a-list"),
    pytest.param(cursor_of(), id="no-values"),
    pytest.param(cursor_of("1", "2", "3"), id="too-many-values"),
    pytest.param(cursor_of(None, None), id="nulls"),
    pytest.param(cursor_of(None), id="null"),
    pytest.param(cursor_of([1]), id="a-list-in-it"),
    pytest.param(cursor_of("a\x00", "b"), id="nul"),
    pytest.param(cursor_of("\ud800", "b"), id="half-a-surrogate"),
    pytest.param(cursor_of(str(2**31)), id="beyond-the-column"),
    pytest.param(cursor_of("9" * 500), id="endless-number"),
]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("cursor", BAD_CURSORS)
def test_an_invented_cursor_is_refused(full, name, cursor):
    response = page_of(full, name, cursor=cursor)
    assert (response.status_code, response.json()["type"]) == (400, "/problems/malformed-request")


@pytest.mark.parametrize("name", sorted(LATEST_FIRST))
@pytest.mark.parametrize(
    ("moment", "id_"),
    [
        pytest.param("2026-01-01T00:00:00", str(UUID(int=1)), id="no-zone"),
        pytest.param("2026-01-01T00:00:00Z", "not-an-id", id="not-an-id"),
        pytest.param("yesterday", str(UUID(int=1)), id="not-a-time"),
    ],
)
def test_a_cursor_with_an_invalid_time_or_id_is_refused(full, name, moment, id_):
    assert page_of(full, name, cursor=cursor_of(moment, id_)).status_code == 400


@pytest.mark.parametrize(
    ("issued_by", "used_on"), [("prefixes", "versions"), ("history", "promotions")]
)
def test_a_cursor_of_another_list_is_refused(full, issued_by, used_on):
    cursor = page_of(full, issued_by, limit=1).json()["next"]
    assert page_of(full, used_on, cursor=cursor).status_code == 400


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 201}, {"limit": "all"}, {"cursor": "A" * 1025}]
)
def test_an_invalid_page_size_is_refused(full, query):
    response = page_of(full, "prefixes", **query)
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")

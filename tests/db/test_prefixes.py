"""Searching prefixes by a part of their names: how many names a page scans."""

from app.db import prefixes
from app.db.paging import PageRequest
from app.db.prefixes import PrefixFilter, prefixes_page
from app.domain.identity.access import SYSTEM


def test_a_page_scans_the_first_names_and_then_asks_the_index(world, sessions, monkeypatch):
    scanned = []
    page = prefixes._page
    monkeypatch.setattr(prefixes, "_page", lambda *given: scanned.append(given[1]) or page(*given))
    monkeypatch.setattr(prefixes, "_SCANNED_NAMES", 2)
    for name in ("a-1", "b-2", "c-3"):
        world.a_prefix(name=name)
    wanted = PrefixFilter(namespace=world.namespace, query=f"{world.namespace}/")

    with sessions() as session:
        found = prefixes_page(session, SYSTEM, wanted, PageRequest(limit=10))
        of_scan = session.query(scanned[0]).count()

    assert [each.name for each in found.items] == ["a-1", "b-2", "c-3"]
    assert of_scan == 2

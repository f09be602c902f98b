"""The age up to which a published document is used, to the instant."""

from datetime import UTC, datetime, timedelta

import pytest

from app.oidc.published_cache import FRESH, PAUSE, PublishedCache

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.fixture
def fetches():
    return []


@pytest.fixture
def cache(fetches):
    """A cache that fetched its document now."""
    cache = PublishedCache("keys", lambda: fetches.append(1) or "document")
    cache.refresh(NOW, wait_s=0)
    return cache


@pytest.mark.parametrize(
    ("age", "found"),
    [
        pytest.param(-TICK, None, id="clock-set-back"),
        pytest.param(0 * TICK, "document", id="new"),
        pytest.param(FRESH - TICK, "document", id="just-young-enough"),
        pytest.param(FRESH, None, id="too-old"),
    ],
)
def test_a_document_is_used_while_it_is_younger_than_the_period(cache, age, found):
    assert cache.within(FRESH, NOW + age) == found


@pytest.mark.parametrize(
    ("after", "count"),
    [
        pytest.param(PAUSE - TICK, 1, id="within-the-pause"),
        pytest.param(PAUSE, 2, id="after-it"),
        pytest.param(-TICK, 2, id="clock-set-back"),
    ],
)
def test_a_document_is_fetched_again_after_the_pause(cache, fetches, after, count):
    assert cache.refresh(NOW + after, wait_s=0)
    assert len(fetches) == count

"""Calls of the store: bounded in time and in number, so that a store that hangs stops nothing."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx2
import pytest

from app.domain.errors import UnavailableError
from app.main import app_of
from app.storage import s3_deadlines
from app.storage.s3 import S3Blobs
from app.storage.s3_deadlines import READS, Bulkhead, Deadline
from app.storage.s3_staging import S3Staging
from tests.support import store_proxy as faults
from tests.support.builders import World
from tests.support.observing import eventually
from tests.support.session.served import serving

CLIENTS = 60


@pytest.fixture
def patient(monkeypatch):
    """No deadline ends a call, so only the bulkheads refuse any."""
    monkeypatch.setattr(s3_deadlines, "CALL_S", 120)


@pytest.fixture
def served(parts, proxied_account, tokens):
    """A world on a real socket, whose store is behind the proxy."""
    blobs, staging = S3Blobs(proxied_account), S3Staging(proxied_account)
    app = app_of(replace(parts, blobs=blobs, staging=staging))
    with serving(app) as url, httpx2.Client(base_url=url, timeout=100) as client:
        world = World(client, tokens, shares=True)
        world.a_version()
        yield world


@pytest.mark.usefixtures("patient")
def test_downloads_from_a_store_that_hangs_leave_threads_for_the_rest(served, store_proxy):
    path = f"{served.path}/versions/1/files/adapter_model.safetensors"

    def download(_):
        with httpx2.Client(base_url=served.client.base_url, timeout=100) as client:
            token = {"Authorization": f"Bearer {served.tokens['publisher']}"}
            return client.get(path, headers=token)

    with store_proxy.fault(faults.hang, "GET"), ThreadPoolExecutor(CLIENTS) as clients:
        downloads = [clients.submit(download, number) for number in range(CLIENTS)]
        # All but those that wait for the store are refused, while it still hangs.
        eventually(lambda: sum(each.done() for each in downloads) >= CLIENTS - 16, within_s=60)
        refused = [each.result() for each in downloads if each.done()]
        assert {each.status_code for each in refused} == {503}
        assert all("Retry-After" in each.headers for each in refused)
        for _ in range(5):
            assert served.call("GET", served.path, by="publisher").status_code == 200
            assert served.client.get("/healthz").status_code == 200
        store_proxy.clear()
    assert served.call("GET", path, by="publisher").status_code == 200


def a_call(bulkhead, *, progressed_s_ago=0.0):
    call = Deadline(10, bulkhead)
    call.progressed_at = time.monotonic() - progressed_s_ago
    return call


def test_a_call_waits_for_one_that_makes_progress():
    bulkhead = Bulkhead(1)
    order = []
    with ThreadPoolExecutor(1) as threads:
        with bulkhead.entered(a_call(bulkhead)):
            second = threads.submit(lambda: enter(bulkhead, order))
            eventually(second.running)
            order.append("first ends")
        second.result(10)
    assert order == ["first ends", "second"]


def enter(bulkhead, order):
    with bulkhead.entered(a_call(bulkhead)):
        order.append("second")


def test_a_call_is_refused_while_others_make_no_progress():
    bulkhead = Bulkhead(1)
    with (
        bulkhead.entered(a_call(bulkhead, progressed_s_ago=3.1)),
        pytest.raises(UnavailableError, match="slow and busy"),
        bulkhead.entered(a_call(bulkhead)),
    ):
        pass
    with bulkhead.entered(a_call(bulkhead)):
        """There is room again."""


def test_a_call_that_fails_leaves_its_place(store_proxy, proxied_account):
    blobs = S3Blobs(proxied_account)
    with store_proxy.fault(faults.status(500)):
        for _ in range(20):
            with pytest.raises(UnavailableError), blobs.open(f"sha256:{'0' * 64}"):
                pass
    assert not READS._calls

"""Sealed suites: registering a manifest, reading it, and keeping it in the store."""

import gzip
import hashlib
import json
from datetime import timedelta

import pytest

from app.services.artifacts.garbage_collection import collect
from app.services.evidence import manifests, suites
from app.storage.s3_staging import S3Staging
from tests.support.builders import LOCALES, PERSONAS, a_digest, a_suite, code


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def a_manifest(n=3, mark="", **changes):
    """Return n rows for each persona and locale; `mark` is part of each prompt."""
    return [
        {
            "id": f"{persona}-{locale}-{number}",
            "prompt_sha256": sha(f"{mark} {persona} {locale} {number}"),
            "persona": persona,
            "locale": locale,
        }
        | changes
        for persona in PERSONAS
        for locale in LOCALES
        for number in range(n)
    ]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def seal(world, rows, *, packed=False, by="admin", **changes):
    """Send a suite with a manifest, given as rows or bytes."""
    content = jsonl(rows) if isinstance(rows, list) else rows
    suite = {k: v for k, v in a_suite(**{"dataset_digest": None} | changes).items() if v}
    files = {
        "suite": ("suite", json.dumps(suite)),
        "manifest": ("manifest", gzip.compress(content) if packed else content),
    }
    return world.call("POST", "/v1/suites", by=by, files=files)


def the_canonical(rows):
    lines = sorted(rows, key=lambda row: row["id"])
    return "".join(
        json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in lines
    ).encode()


def get(world, suite, part=""):
    return world.call("GET", f"/v1/suites/{suite['name']}/{suite['version']}{part}", by="publisher")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_manifest_seals_a_suite(world, packed):
    rows = a_manifest(mark=world.namespace)
    response = seal(world, rows[::-1], packed=packed)

    assert response.status_code == 201, response.text
    suite = response.json()
    assert suite["sealed"] is True
    assert suite["dataset_digest"] == f"sha256:{hashlib.sha256(the_canonical(rows)).hexdigest()}"
    assert get(world, suite).json() == suite
    assert suite["samples"] == [
        {"persona": persona, "locale": locale, "samples": 3}
        for persona in sorted(PERSONAS)
        for locale in sorted(LOCALES)
    ]


def test_an_open_suite_has_no_manifest(world):
    suite = world.a_suite(own=True)
    shown = get(world, suite).json()
    assert (shown["sealed"], shown["samples"]) == (False, [])
    assert get(world, suite, "/manifest").status_code == 404


def test_the_manifest_is_downloaded_in_its_canonical_form(world):
    rows = a_manifest(mark=world.namespace)
    suite = seal(world, rows[::-1]).json()
    response = get(world, suite, "/manifest")
    assert response.content == the_canonical(rows)
    etag = response.headers["ETag"]
    assert etag == f'"{suite["dataset_digest"]}"'
    path = f"/v1/suites/{suite['name']}/1/manifest"
    again = world.call("GET", path, by="publisher", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


def test_lines_are_sorted_in_parts_of_bounded_size(world, monkeypatch):
    monkeypatch.setattr(manifests, "_SORTED", 2)
    rows = a_manifest(n=2, mark=world.namespace)
    suite = seal(world, [*rows[3:], *rows[:3]]).json()
    assert get(world, suite, "/manifest").content == the_canonical(rows)


def test_a_manifest_is_never_collected(world, blobs, sessions, s3_account):
    rows = a_manifest(mark=world.namespace)
    suite = seal(world, rows).json()

    collect(sessions, blobs, S3Staging(s3_account), grace=timedelta(seconds=-5), dry_run=False)

    assert get(world, suite, "/manifest").content == the_canonical(rows)


def test_a_suite_is_sealed_once(world):
    rows, name = a_manifest(mark=world.namespace), f"suite-{world.namespace}"
    assert seal(world, rows, name=name).status_code == 201
    assert seal(world, rows[::-1], packed=True, name=name).status_code == 200
    other = seal(world, rows[1:], name=name)
    assert (other.status_code, code(other)) == (409, "already-exists")
    open_ = world.call("POST", "/v1/suites", by="admin", json=a_suite(name=name))
    assert (open_.status_code, code(open_)) == (409, "already-exists")


def test_a_given_digest_must_be_that_of_the_manifest(world):
    rows = a_manifest(mark=world.namespace)
    found = f"sha256:{hashlib.sha256(the_canonical(rows)).hexdigest()}"
    assert seal(world, rows, dataset_digest=found).status_code == 201
    response = seal(world, rows, dataset_digest=a_digest())
    assert response.status_code == 422
    assert [fault["code"] for fault in response.json()["faults"]] == ["digest-differs"]


def test_a_suite_without_a_manifest_needs_a_digest(world):
    document = a_suite()
    del document["dataset_digest"]
    response = world.call("POST", "/v1/suites", by="admin", json=document)
    assert (response.status_code, code(response)) == (422, "invalid-request")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", ["empty-cell"] * 4, id="empty"),
        pytest.param(b"\x1f\x8bnot gzip", ["not-gzip"], id="not-gzip"),
        pytest.param(gzip.compress(jsonl(a_manifest()))[:-20], ["not-gzip"], id="cut-gzip"),
        pytest.param(b"{" * 70_000, ["too-long", "not-json"], id="endless-line"),
        pytest.param(jsonl(a_manifest()[:9]), ["empty-cell"], id="a-cell-is-empty"),
        pytest.param(b"{\n" * 30, ["not-json"] * 20 + ["more"], id="many-faults"),
        pytest.param(jsonl(a_manifest(prompt_sha256="a" * 64)), None, id="one-prompt"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_faults_and_nothing_is_left(world, content, expected):
    name = f"suite-{world.namespace}"
    response = seal(world, content, name=name)

    assert (response.status_code, code(response)) == (422, "invalid-suite")
    found = [fault["code"] for fault in response.json()["faults"]]
    assert found == expected or (expected is None and set(found) == {"prompt-in-two-cells"})
    assert get(world, {"name": name, "version": "1"}).status_code == 404


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(world, monkeypatch):
    monkeypatch.setattr("app.services.evidence.jsonl._EXPANDED_LIMIT_BYTES", 10_000)
    response = seal(world, jsonl(a_manifest(100)), packed=True)
    assert [fault["code"] for fault in response.json()["faults"]] == ["too-large"]


def test_a_sealed_suite_needs_a_worst_value_of_each_metric(world):
    metrics = [
        {"name": "latency", "kind": "mean", "higher_is_better": False, "minimum": 0},
        {"name": "length", "kind": "mean", "higher_is_better": True, "maximum": 9},
    ]
    response = seal(world, a_manifest(), metrics=metrics)
    messages = [fault["message"] for fault in response.json()["faults"]]
    assert [message.partition(",")[0] for message in messages] == [
        "latency has no maximum",
        "length has no minimum",
    ]
    assert world.call("POST", "/v1/suites", by="admin", json=a_suite(metrics=metrics)).is_success


def test_a_suite_states_its_settings_and_scorers(world):
    judge = {"kind": "model", "digest": a_digest()}
    tone = {"name": "tone", "kind": "proportion", "higher_is_better": True, "scorer": judge}
    document = a_suite(settings={"temperature": 0, "judge": {"seed": 1}}, metrics=[tone])
    suite = world.made("POST", "/v1/suites", by="admin", json=document)
    assert suite["settings"] == document["settings"]
    assert suite["metrics"][0]["scorer"] == judge
    changed = world.call("POST", "/v1/suites", by="admin", json=document | {"settings": {}})
    assert code(changed) == "already-exists"


def test_the_body_of_a_caller_who_may_not_register_is_not_read(world):
    assert seal(world, b"\x1f\x8bnot gzip", by="publisher").status_code == 403


def test_readers_cannot_download_a_manifest(world):
    suite = seal(world, a_manifest(mark=world.namespace)).json()
    response = world.call("GET", f"/v1/suites/{suite['name']}/1/manifest", by="reader")
    assert response.status_code == 403


@pytest.mark.parametrize("same", [True, False])
def test_of_two_registrations_at_once_the_second_finds_the_first(world, monkeypatch, same):
    rows, name = a_manifest(mark=world.namespace), f"suite-{world.namespace}"
    store, before = suites.store_pinned, [rows if same else rows[1:]]

    def store_after_another(*arguments):
        if before:
            assert seal(world.on_its_own_client(), before.pop(), name=name).status_code == 201
        store(*arguments)

    monkeypatch.setattr(suites, "store_pinned", store_after_another)
    response = seal(world, rows, name=name)
    assert response.status_code == (200 if same else 409)

"""The main journey over HTTP, from an empty registry to a pulled artifact."""

import hashlib

import httpx2

from tests.support.adapters import a_config


def test_a_version_goes_from_push_to_pull_with_every_step_on_the_audit_log(world):
    version = world.a_version()
    assert (version["number"], version["channels"], version["revoked"]) == (1, [], None)
    channel = world.a_channel()
    assert (channel["generation"], channel["allocation"]) == (0, [])

    assert world.evaluate(version).status_code == 201
    gate = world.made(
        "GET", f"{world.path}/versions/1/gate", by="evaluator", params={"channel": "production"}
    )
    assert gate["result"] == "passed"

    promotion = world.request(version).json()
    assert promotion["state"] == "pending"
    assert promotion["waiting_for"]["approvals"] == 2
    assert promotion["waiting_for"]["eligible"] == ["approver-1", "approver-2"]
    assert world.review(promotion, by="approver-1").json()["waiting_for"]["approvals"] == 1
    executed = world.review(promotion, by="approver-2").json()
    assert (executed["state"], executed["waiting_for"]) == ("executed", None)

    found = world.resolve().json()
    assert (found["version"], found["generation"], found["weight"]) == (1, 1, 10_000)
    assert found["digest"] == version["digest"]
    pushed = {"adapter_config.json": a_config(), "adapter_model.safetensors": world.weights()}
    for file in found["files"]:
        content = pushed.pop(file["name"])
        assert file["sha256"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert httpx2.get(file["url"]).content == content
        streamed = world.call("GET", f"{world.path}/versions/1/files/{file['name']}", by="reader")
        assert streamed.content == content
    assert pushed == {}

    assert world.actions() == [
        "prefix.create",
        "version.push",
        "channel.bind",
        "evaluation.record",
        "promotion.request",
        "promotion.approve",
        "promotion.approve",
        "promotion.execute",
    ]
    subject = {"subject": f"prefix:{world.prefix}"}
    verification = world.made("GET", "/v1/audit/verify", by="auditor", params=subject)
    assert (verification["valid"], verification["entries"]) == (True, 8)

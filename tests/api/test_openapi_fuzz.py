"""Schemathesis against a served registry with data.

`make fuzz` runs the same tests for the seconds in `$FUZZ_SECONDS`.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.db.session import engine_for, sessions_on
from app.main import app_of
from app.services.artifacts.pulls import PullLog
from app.services.identity.token_usage import TokenUsage
from tests.support.builders import World
from tests.support.servers import copied
from tests.support.session.in_process import InProcessClient
from tests.support.session.served import serving

SECONDS = int(os.environ.get("FUZZ_SECONDS", "0"))
THROUGHOUT = ("--max-time", str(SECONDS // 2), "--max-examples", str(SECONDS))
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
def alone(shared, parts):
    """A separate registry, because the fuzzer may also remove the grants of others."""
    with copied(shared) as stores:
        engine = engine_for(stores.postgres.service_url)
        sessions = sessions_on(engine)
        own = replace(parts, sessions=sessions, uses=TokenUsage(sessions), pulls=PullLog())
        app = app_of(own)
        with InProcessClient(app) as client, serving(app) as url:
            yield World(client, shared.tokens), url
        engine.dispose()


@pytest.fixture
def world(alone):
    return alone[0]


@pytest.fixture
def seeded(world):
    """A registry with data: the path and query parameters that find it."""
    promotion = world.a_promotion()
    world.approve(promotion)
    world.request(world.an_evaluated_version(seed=1))
    evaluations = world.made("GET", f"{world.path}/versions/1/evaluations", by="evaluator")
    everywhere = {
        "path.namespace": world.namespace,
        "path.name": "voice",
        "path.number": 1,
        "path.channel": "production",
        "path.digest": world.base,
        "path.file": "adapter_config.json",
        "path.promotion_id": promotion["id"],
        "path.evaluation_id": evaluations["items"][0]["id"],
        "query.subject": f"prefix:{world.prefix}",
    }
    return {
        None: everywhere,
        "/v1/suites/{name}/{version}": {"path.name": world.suite, "path.version": "1"},
        "/v1/policies/{name}/{version}": {
            "path.name": world.channel()["policy"]["name"],
            "path.version": 1,
        },
    }


@pytest.fixture
def token(world):
    """A token with every role except reader, so that no request is refused for a missing role."""
    roles = ("admin", "publisher", "evaluator", "approver", "auditor")
    return world.a_principal(None, *((role, "*") for role in roles))[1]


def configuration(seeded):
    text = CONFIGURATION.read_text()
    for path, values in seeded.items():
        text += "\n[parameters]\n" if path is None else ""
        text += "" if path is None else f"\n[[operations]]\ninclude-path = {json.dumps(path)}\n"
        pairs = ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in values.items())
        text += pairs.replace(", ", "\n") if path is None else f"parameters = {{ {pairs} }}"
        text += "\n"
    return text


@pytest.mark.timeout(300 + 2 * SECONDS)
@pytest.mark.parametrize(
    ("phases", "known", "short"),
    [
        pytest.param(
            "examples,coverage,fuzzing",
            True,
            ("--max-time", "7", "--max-examples", "3"),
            id="one-by-one",
        ),
        # Here each request uses objects that earlier requests created. A limit on the number
        # tries as much on a busy machine, where one on the time would end before the first.
        pytest.param("stateful", False, ("--max-examples", "14"), id="in-a-row"),
    ],
)
def test_every_response_is_documented(alone, seeded, token, tmp_path, phases, known, short):
    _, url = alone
    file = tmp_path / "schemathesis.toml"
    file.write_text(configuration(seeded if known else {}))
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", file),
        *("run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {token}"),
        # Deleting the token or its principal would make all later requests fail.
        *("--exclude-path-regex", "^/v1/(tokens|principals)/"),
        *("--phases", phases, *(THROUGHOUT if SECONDS else short), "--seed", "1"),
        *("--generation-database", "none"),
        *("--request-timeout", "20", "--no-color", "--continue-on-failure"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = re.sub(r".{2000,}", lambda line: f"{line[0][:2000]}...", done.stdout)
    assert done.returncode == 0, found + done.stderr
    assert re.search(r"[1-9]\d* generated, [1-9]\d* passed", found), "nothing was tried"

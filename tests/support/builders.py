"""Builders of test data through the API, with sensible defaults."""

import copy
import json
import uuid
from datetime import UTC, datetime, timedelta

from tests.support.adapters import LLAMA, a_config, a_random_tensor, a_tensor, a_weights_file
from tests.support.session.in_process import InProcessClient

PERSONAS = ("novice", "expert")
LOCALES = ("en", "de")
CARD = {
    "intended_purpose": "Speak in the brand's voice.",
    "uses": ["tone"],
    "personal_data": "none",
    "training_data": [{"name": "brand dialogues"}],
    "licence": "apache-2.0",
}


def code(response):
    """Return the stable code of a refusal."""
    return response.json()["type"].removeprefix("/problems/")


def a_digest():
    return f"sha256:{uuid.uuid4().hex}{uuid.uuid4().hex}"


def a_base_model(**changes):
    """Return the document of a base model with the geometry of `tests.support.adapters.LLAMA`."""
    names = ("model_type", "layers", "attention_heads", "kv_heads", "head_dim", "hidden_size")
    document = {
        "name": "tiny/llama",
        "revision": "main",
        "digest": a_digest(),
        "parameters": 1_234_567,
        "licence": "apache-2.0",
        "architecture": {name: getattr(LLAMA, name) for name in names},
    }
    return document | changes


def a_suite(**changes):
    document = {
        "name": f"suite-{uuid.uuid4().hex[:8]}",
        "version": "1",
        "dataset_digest": a_digest(),
        "personas": list(PERSONAS),
        "locales": list(LOCALES),
        "metrics": [
            {"name": "tone", "kind": "proportion", "higher_is_better": True},
            {"name": "toxicity", "kind": "proportion", "higher_is_better": False},
            {
                "name": "bleu",
                "kind": "mean",
                "higher_is_better": True,
                "minimum": 0,
                "maximum": 100,
            },
        ],
    }
    return document | changes


def a_policy(suite, **changes):
    """Return a policy that needs two humans and 100 good samples in every cell."""
    document = {
        "name": f"policy-{uuid.uuid4().hex[:8]}",
        "approvals": {"required": 2},
        "evidence": {"level": 0},
        "rules": [{"metric": f"{suite}/tone", "min_samples": 100, "at_least": 0.85}],
    }
    return document | changes


# The template of the test databases holds these; no test may add a version or evidence to them.
SHARED_BASE_MODEL = a_base_model(digest=f"sha256:{'5a' * 32}")
SHARED_SUITE = a_suite(name="shared-suite", dataset_digest=f"sha256:{'a5' * 32}")
SHARED_POLICY = a_policy("shared-suite", name="shared-policy") | {"version": 1}


def results(metric="tone", value=0.95, samples=200, personas=PERSONAS, locales=LOCALES):
    """Return one reported result for each cell."""
    return [
        {
            "metric": metric,
            "persona": persona,
            "locale": locale,
            "value": value,
            "samples": samples,
            "stderr": None,
        }
        for persona in personas
        for locale in locales
    ]


def weights(seed=0):
    """Return a weights file that is unique to `seed`."""
    return a_weights_file(prompt_embeddings=a_tensor() + seed)


def register_shared_parts(client, tokens):
    """Register the documents that worlds share, for the template of the test databases."""
    world = World(client, tokens)
    policy = {name: value for name, value in SHARED_POLICY.items() if name != "version"}
    for path, by, document in (
        ("/v1/base-models", "publisher", SHARED_BASE_MODEL),
        ("/v1/suites", "admin", SHARED_SUITE),
        ("/v1/policies", "admin", policy),
    ):
        world.made("POST", path, by=by, json=document)


class World:
    """One test's namespace in the registry, and the principals that act in it.

    A world that `shares` uses the base model, suite and policy that the template of the test
    databases holds, unless a test changes them or asks for its `own`.
    """

    def __init__(self, client, tokens, *, shares=False):
        self.client = client
        self.tokens = tokens
        self.shares = shares
        self.namespace = f"ns-{uuid.uuid4().hex[:10]}"
        self.prefix = f"{self.namespace}/voice"
        self.path = f"/v1/prefixes/{self.prefix}"
        self.suite = None
        self.base = None

    def on_its_own_client(self):
        """Return a copy for another thread; threads must not share a client."""
        other = copy.copy(self)
        other.client = InProcessClient(self.client.app, raise_server_exceptions=False)
        return other

    def call(self, method, path, *, by, **arguments):
        """Send a request as one of the initial principals, or with a token."""
        token = self.tokens.get(by, by)
        headers = {"Authorization": f"Bearer {token}"} | arguments.pop("headers", {})
        return self.client.request(method, path, headers=headers, **arguments)

    def made(self, method, path, *, by, **arguments):
        """Send a request that must succeed; return its document."""
        response = self.call(method, path, by=by, **arguments)
        assert response.is_success, response.text
        return response.json()

    def a_principal(self, name=None, *grants, kind="human"):
        """Create a principal with (role, namespace) grants; return its name and a token."""
        name = name or f"person-{uuid.uuid4().hex[:8]}"
        listed = [{"role": role, "namespace": namespace} for role, namespace in grants]
        body = {"name": name, "kind": kind, "grants": listed}
        self.made("POST", "/v1/principals", by="admin", json=body)
        token = self.made("POST", "/v1/tokens", by="admin", json={"principal": name})["token"]
        return name, token

    def a_token(self, principal, **changes):
        """Issue a token to a principal; return it."""
        body = {"principal": principal} | changes
        return self.made("POST", "/v1/tokens", by="admin", json=body)["token"]

    def a_stranger(self, role="admin"):
        """Return a token whose role holds in another namespace only."""
        _, token = self.a_principal(None, (role, f"other-{uuid.uuid4().hex[:8]}"))
        return token

    def a_base(self, *, own=False):
        """Use or register a base model unless there is one; return its digest."""
        if self.base is None:
            if self.shares and not own:
                document = SHARED_BASE_MODEL
            else:
                document = a_base_model()
                self.made("POST", "/v1/base-models", by="publisher", json=document)
            self.base = document["digest"]
        return self.base

    def a_prefix(self, owner="admin", **changes):
        body = {"namespace": self.namespace, "name": "voice", "owner": owner} | changes
        return self.made("POST", "/v1/prefixes", by="publisher", json=body)

    def weights(self, seed=0):
        """Return a weights file that is unique to this world and `seed`.

        Worlds share base models and a database: equal numbers would share evidence too.
        """
        return a_weights_file(prompt_embeddings=a_random_tensor(f"{self.namespace} {seed}"))

    def push(self, *, seed=0, by="publisher", headers=None, **parts):
        """Push a version; `parts` replace any of version, config, weights."""
        described = {"base_model": self.base, "card": CARD, "lineage": {"run": "r-1"}}
        files = {
            "version": json.dumps(described),
            "config": a_config(),
            "weights": self.weights(seed),
        } | parts
        # Each part needs a file name: httpx sends a bare string as a form field.
        named = {name: (name, content) for name, content in files.items() if content is not None}
        path = f"{self.path}/versions"
        return self.call("POST", path, by=by, files=named, headers=headers or {})

    def a_version(self, seed=0):
        """Push a version; create base model and prefix if there are none."""
        if self.base is None:
            self.a_base()
            self.a_prefix()
        response = self.push(seed=seed)
        assert response.status_code == 201, response.text
        return response.json()

    def report(self, version, **changes):
        """Return an evaluation of a version document that passes `a_policy`."""
        finished = datetime.now(UTC)  # noqa: TID251 - when the evaluator finished
        document = {
            "suite": self.suite,
            "suite_version": "1",
            "digest": version["digest"],
            "harness": {"name": "lm-eval", "version": "0.4.9"},
            "started_at": (finished - timedelta(minutes=1)).isoformat(),
            "finished_at": finished.isoformat(),
            "settings": {"seed": 1},
            "results": results(),
        }
        return document | changes

    def evaluate(self, version, *, by="evaluator", **changes):
        path = f"{self.path}/versions/{version['number']}/evaluations"
        return self.call("POST", path, by=by, json=self.report(version, **changes))

    def void(self, evaluation, *, by="approver-1", reason="the harness was broken"):
        path = f"/v1/evaluations/{evaluation['id']}/void"
        return self.call("POST", path, by=by, json={"reason": reason})

    def a_suite(self, *, own=False, **changes):
        if self.shares and not own and not changes:
            document = SHARED_SUITE
        else:
            document = a_suite(**changes)
            self.made("POST", "/v1/suites", by="admin", json=document)
        self.suite = document["name"]
        return document

    def a_policy(self, *, own=False, **changes):
        if self.suite is None:
            self.a_suite()
        if self.suite == SHARED_SUITE["name"] and not own and not changes:
            return SHARED_POLICY
        document = a_policy(self.suite, **changes)
        return self.made("POST", "/v1/policies", by="admin", json=document)

    def a_channel(self, name="production", **policy):
        """Bind a channel of the test's prefix to a new policy."""
        response = self.bind(self.a_policy(**policy), name)
        assert response.status_code == 200, response.text
        return response.json()

    def bind(self, policy, name="production", *, by="admin", headers=None):
        body = {"policy": policy["name"], "policy_version": policy["version"]}
        path = f"{self.path}/channels/{name}"
        return self.call("PUT", path, by=by, json=body, headers=headers or {})

    def an_evaluated_version(self, seed=0):
        """Return a version with evidence that passes the policy of channel `production`."""
        version = self.a_version(seed)
        if self.suite is None:
            self.a_channel()
        assert self.evaluate(version).status_code == 201
        return version

    def request(self, version=None, *, by="publisher", channel="production", **changes):
        body = {"channel": channel, "reason": "it is better"} | changes
        if version is not None:
            body["version"] = version["number"]
        return self.call("POST", f"{self.path}/promotions", by=by, json=body)

    def a_promotion(self, seed=0):
        """Return a pending promotion of a new, evaluated version."""
        response = self.request(self.an_evaluated_version(seed))
        assert response.status_code == 201, response.text
        return response.json()

    def review(self, promotion, *, by, verdict="approve", comment="looks right", **changes):
        path = f"/v1/promotions/{promotion['id']}/reviews"
        body = {"verdict": verdict, "comment": comment} | changes
        return self.call("POST", path, by=by, json=body)

    def approve(self, promotion):
        """Approve as both reviewers; return the executed promotion."""
        for reviewer in ("approver-1", "approver-2"):
            response = self.review(promotion, by=reviewer)
            assert response.status_code == 200, response.text
        assert response.json()["state"] == "executed", response.text
        return response.json()

    def a_live_version(self, seed=0):
        """Return a version that channel `production` serves to all traffic."""
        version = self.an_evaluated_version(seed)
        response = self.request(version)
        assert response.status_code == 201, response.text
        self.approve(response.json())
        return version

    def promotion(self, promotion):
        """Return the current document of a promotion."""
        return self.made("GET", f"/v1/promotions/{promotion['id']}", by="publisher")

    def replayed(self, promotion):
        """Return a promotion's decision and its replay."""
        return self.made("GET", f"/v1/promotions/{promotion['id']}/replay", by="publisher")

    def pulls(self, number, *, by="approver-1"):
        path = f"{self.path}/versions/{number}/pulls"
        return self.made("GET", path, by=by)["items"]

    def withdraw(self, promotion, *, by="publisher"):
        return self.call("POST", f"/v1/promotions/{promotion['id']}/withdraw", by=by)

    def break_glass(self, promotion, *, by="admin", reason="the fleet is down, and this mends it"):
        path = f"/v1/promotions/{promotion['id']}/break-glass"
        return self.call("POST", path, by=by, json={"reason": reason})

    def revoke(self, version, *, by="approver-1", reason="it leaks names"):
        path = f"{self.path}/versions/{version['number']}/revoke"
        return self.call("POST", path, by=by, json={"reason": reason})

    def rollback(self, generation, *, by="approver-1", channel="production", headers=None):
        body = {"generation": generation, "reason": "the new one is worse"}
        path = f"{self.path}/channels/{channel}/rollback"
        return self.call("POST", path, by=by, json=body, headers=headers or {})

    def channel(self, name="production"):
        return self.made("GET", f"{self.path}/channels/{name}", by="publisher")

    def history(self, channel="production", *, by="publisher", **query):
        """Return the channel's generations, latest first."""
        path = f"{self.path}/channels/{channel}/history"
        return self.made("GET", path, by=by, params=query)["items"]

    def gate(self, version, *, by="evaluator", channel="production"):
        path = f"{self.path}/versions/{version['number']}/gate"
        return self.call("GET", path, by=by, params={"channel": channel})

    def resolve(self, *, by="reader", **query):
        return self.call("GET", f"/v1/resolve/{self.prefix}", by=by, params=query)

    def audit(self, subject=None):
        """Return all entries of the prefix's chain, or of another subject's."""
        query = {"subject": subject or f"prefix:{self.prefix}", "limit": 200}
        return self.made("GET", "/v1/audit", by="auditor", params=query)["items"]

    def checkpoint(self):
        """Take a checkpoint of the whole audit log; return its document."""
        return self.made("POST", "/v1/audit/checkpoints", by="admin")

    def last_entry(self, subject):
        """Return the newest entry of a chain of any length."""
        path, query = "/v1/audit/export", {"subject": subject}
        response = self.call("GET", path, by="auditor", params=query)
        return json.loads(response.text.splitlines()[-1])

    def actions(self, subject=None):
        return [entry["action"] for entry in self.audit(subject)]

    def verification(self, subject=None):
        """Return whether the prefix's chain, or another subject's, verifies."""
        query = {"subject": subject or f"prefix:{self.prefix}"}
        return self.made("GET", "/v1/audit/verify", by="auditor", params=query)

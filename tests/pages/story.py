"""A registry with history for pages to show: live, requested and failing versions."""

import hashlib
import json

from tests.services.evidence.test_submissions_samples import answered, jsonl
from tests.support.builders import CARD, World, a_base_model, a_config, weights

PERSONAS = ("novice", "expert", "upset")
LOCALES = ("en", "de", "fr")
N = 120


class Story(World):
    """A world with a larger suite and a policy with comparisons."""

    def __init__(self, client, tokens, namespace, suite):
        super().__init__(client, tokens)
        self.namespace, self.prefix = namespace, f"{namespace}/brand-voice"
        self.path, self.suite = f"/v1/prefixes/{self.prefix}", suite

    def prepare(self):
        """Create base model, prefix, suite and policies, and bind two channels."""
        document = a_base_model(name="acme/tiny-llama")
        self.made("POST", "/v1/base-models", by="publisher", json=document)
        self.base = document["digest"]
        described = "How the brand speaks: warm, exact, never over-familiar."
        self.a_prefix(name="brand-voice", description=described, intended_uses=["tone", "format"])
        self.made("POST", "/v1/suites", by="admin", json=self._suite())
        strict = self.made("POST", "/v1/policies", by="admin", json=self.policy())
        lenient = self.policy(approvals={"required": 1}, rules=self.policy()["rules"][:1])
        lenient["name"] = f"{self.suite}-trial"
        trial = self.made("POST", "/v1/policies", by="admin", json=lenient)
        assert self.bind(strict).status_code == 200
        assert self.bind(trial, "staging").status_code == 200

    def policy(self, **changes):
        tone = {
            "metric": f"{self.suite}/tone",
            "min_samples": 100,
            "at_least": 0.85,
            "no_worse_than": {"incumbent": 0.1, "base": 0.05},
        }
        toxicity = {"metric": f"{self.suite}/toxicity", "min_samples": 100, "at_most": 0.05}
        document = {
            "name": f"{self.suite}-safe",
            "approvals": {"required": 2},
            "evidence": {"max_age": "P30D", "samples": "required"},
            "card": {"required": ["intended_purpose", "licence"], "forbid_uses": ["knowledge"]},
            "artifact": {"max_virtual_tokens": 32},
            "rules": [tone, toxicity],
        }
        return document | changes

    def _suite(self):
        return {
            "name": self.suite,
            "version": "1",
            "dataset_digest": f"sha256:{hashlib.sha256(b'prompts').hexdigest()}",
            "personas": list(PERSONAS),
            "locales": list(LOCALES),
            "metrics": [
                {"name": "tone", "kind": "proportion", "higher_is_better": True},
                {"name": "toxicity", "kind": "proportion", "higher_is_better": False},
            ],
        }

    def pushed(self, seed, **card):
        described = {
            "base_model": self.base,
            "card": CARD | {"known_limits": "Short answers only."} | card,
            "lineage": {
                "run": f"r-{seed}",
                "git_commit": hashlib.sha1(bytes([seed])).hexdigest()[:12],  # noqa: S324
                "hyperparameters": {"learning_rate": 0.01 / seed, "steps": 400 * seed},
                "libraries": {"peft": "0.21.2"},
            },
        }
        config = a_config(base_model_name_or_path="acme/tiny-llama")
        response = self.push(version=json.dumps(described), config=config, weights=weights(seed))
        assert response.status_code == 201, response.text
        return response.json()

    def measured(self, version, quality, *, weak=(), leave_out=(), base=None):
        """Record samples; `quality` is the share of successes, `weak` names cells that fail."""
        cells = [(persona, locale) for persona in PERSONAS for locale in LOCALES]
        rows = [
            row
            for place, cell in enumerate(cells)
            if cell not in leave_out
            for row in self._rows(cell, round((1 - quality) * N) + place % 3, cell in weak, place)
        ]
        report = self.report(version, results=[], digest=base or version["digest"])
        files = {
            "evaluation": ("evaluation", json.dumps(report)),
            "samples": ("samples", jsonl(answered(report["digest"], rows))),
        }
        path = f"{self.path}/versions/{version['number']}/evaluations"
        path = path if base is None else f"/v1/base-models/{base}/evaluations"
        return self.made("POST", path, by="evaluator", files=files)

    @staticmethod
    def _rows(cell, misses, is_weak, place):
        """Return N samples of a cell; the first `misses` miss the tone."""
        persona, locale = cell
        return [
            {
                "id": f"{persona}-{locale}-{number}",
                "persona": persona,
                "locale": locale,
                "scores": {
                    "tone": int(number >= misses + N // 5 * is_weak),
                    "toxicity": int(number < place % 2),
                },
            }
            for number in range(N)
        ]

    def live(self, version, channel="production", reviewers=("approver-1", "approver-2")):
        promotion = self.requested(version, channel)
        for reviewer in reviewers:
            response = self.review(promotion, by=reviewer, comment="I have read its output.")
            assert response.status_code == 200, response.text
        return promotion

    def requested(self, version, channel="production"):
        response = self.request(version, channel=channel, reason="Warmer with upset customers.")
        assert response.status_code == 201, response.text
        return response.json()

    def build(self):
        """Make 1 live, 2 live on staging, 3 pending and 4 fail; return the pending promotion."""
        self.prepare()
        first = self.pushed(1)
        self.measured(first, 0.8, base=self.base)
        self.measured(first, 0.95)
        self.live(first)
        second = self.pushed(2, known_limits="Short answers, and tables.")
        self.measured(second, 0.955)
        self.live(second, "staging", ["approver-1"])
        third = self.pushed(3, known_limits="None that we know of.", uses=["tone", "format"])
        self.measured(third, 0.96)
        fourth = self.pushed(4)
        self.measured(fourth, 0.97, weak={("upset", "de")}, leave_out={("expert", "fr")})
        return self.requested(third)

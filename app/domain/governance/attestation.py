"""A gate decision as an in-toto statement with a SLSA Verification Summary.

https://in-toto.io/Statement/v1 · https://slsa.dev/spec/v1.1/verification_summary
"""

from collections.abc import Mapping
from typing import Final

from app.domain.governance.gate import Decision, GateResult
from app.domain.naming import Json, PrefixName, rfc3339

STATEMENT: Final = "https://in-toto.io/Statement/v1"
VERIFICATION_SUMMARY: Final = "https://slsa.dev/verification_summary/v1"
MEDIA_TYPE: Final = "application/vnd.in-toto+json"

# Custom levels must not begin with SLSA_; a failed verification lists FAILED.
_LEVEL: Final = "PREFIX_REGISTRY_GATE"


def statement(
    decision: Decision, findings: Json, *, prefix: PrefixName, channel: str
) -> dict[str, Json]:
    """Return the statement that the gate made `decision` on serving versions on a channel.

    Args:
        decision: The gate's decision.
        findings: The stored findings of the decision, word for word.
        prefix: The prefix of the versions.
        channel: The channel on which they were to be served.
    """
    passed = decision.result is GateResult.PASSED
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": f"{prefix}@v{candidate.number}", "digest": _digest_set(candidate.digest)}
            for candidate in decision.candidates
        ],
        "predicateType": VERIFICATION_SUMMARY,
        "predicate": {
            "verifier": {
                "id": decision.verifier.id,
                "version": {"prefix-registry/gate": decision.verifier.version},
            },
            "timeVerified": rfc3339(decision.evaluated_at),
            "resourceUri": f"urn:prefix-registry:channel:{prefix}:{channel}",
            "policy": {
                "uri": f"/v1/policies/{decision.policy.name}/{decision.policy.version}",
                "digest": _digest_set(decision.policy.digest),
            },
            "inputAttestations": [
                {"uri": f"/v1/evaluations/{each.id}", "digest": _digest_set(each.digest)}
                for each in decision.evaluations
            ],
            "verificationResult": "PASSED" if passed else "FAILED",
            "verifiedLevels": [_LEVEL if passed else "FAILED"],
            "slsaVersion": "1.1",
            "urn:prefix-registry:findings": findings,
        },
    }


def _digest_set(digest: str) -> Mapping[str, Json]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}

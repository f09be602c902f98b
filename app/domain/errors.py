"""Errors that a caller can cause: one class per stable code (docs/reference/problems.md)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault in the data that a caller sent: a stable code and a sentence."""

    code: str
    message: str


class RegistryError(Exception):
    """A refusal that the caller can act on.

    `detail` is a full sentence that names the object and says what would work. `members` are
    additional members of the problem document.
    """

    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members = members


class FaultyError(RegistryError):
    """A refusal that lists every fault, not only the first."""

    def __init__(self, detail: str, faults: Sequence[Fault]) -> None:
        super().__init__(detail, faults=[asdict(fault) for fault in faults])
        self.faults = tuple(faults)


# Authentication and authorisation


class UnauthenticatedError(RegistryError):
    code = "unauthenticated"
    title = "A valid token is required"


class ForbiddenError(RegistryError):
    code = "forbidden"
    title = "The caller's grants do not cover this"


class PrincipalDeactivatedError(RegistryError):
    code = "principal-deactivated"
    title = "The principal is deactivated"


class SeparationOfDutiesError(RegistryError):
    code = "separation-of-duties"
    title = "A contributor may not review this"


# Objects that do not exist, or are not visible to the caller


class NotFoundError(RegistryError):
    code = "not-found"
    title = "The object does not exist"


class ChannelEmptyError(RegistryError):
    code = "channel-empty"
    title = "The channel serves no version"


class VersionRevokedError(RegistryError):
    code = "version-revoked"
    title = "The version was revoked"


# Conflicts with the current state


class AlreadyExistsError(RegistryError):
    code = "already-exists"
    title = "The name is taken"


class BaseModelDiffersError(RegistryError):
    code = "base-model-differs"
    title = "The digest is registered with other properties"


class BaseModelMismatchError(RegistryError):
    code = "base-model-mismatch"
    title = "The version is for another base model"


class EvidenceReusedError(RegistryError):
    code = "evidence-reused"
    title = "The same samples are evidence about another artifact"


class EvidenceForAnotherArtifactError(RegistryError):
    code = "evidence-for-another-artifact"
    title = "The evaluation is of another artifact"


class AlreadyVoidError(RegistryError):
    code = "already-void"
    title = "The evaluation is already void"


class PolicyUnsatisfiableError(RegistryError):
    code = "policy-unsatisfiable"
    title = "The policy can never be satisfied"


class GateNotConfiguredError(RegistryError):
    code = "gate-not-configured"
    title = "The channel has no policy"


class GateNotPassedError(RegistryError):
    code = "gate-not-passed"
    title = "The evaluation gate did not pass"


class NothingToChangeError(RegistryError):
    code = "nothing-to-change"
    title = "The channel already serves exactly this"


class SubjectChangedError(RegistryError):
    code = "subject-changed"
    title = "The approval subject has changed"


class AlreadyReviewedError(RegistryError):
    code = "already-reviewed"
    title = "The reviewer has already decided"


class InvalidTransitionError(RegistryError):
    code = "invalid-transition"
    title = "The promotion is not pending"


class CheckpointsNotConfiguredError(RegistryError):
    code = "checkpoints-not-configured"
    title = "The registry has no key to sign checkpoints"


class UploadIncompleteError(RegistryError):
    code = "upload-incomplete"
    title = "The upload does not match its announcement"


class QuotaExceededError(RegistryError):
    code = "quota-exceeded"
    title = "The quota of the namespace is used up"


class PreconditionFailedError(RegistryError):
    code = "precondition-failed"
    title = "The state is not the one that the request expects"


class RequestInFlightError(RegistryError):
    code = "request-in-flight"
    title = "The same request is still being processed"


class AnswerNotKeptError(RegistryError):
    code = "answer-not-kept"
    title = "The request succeeded, and its response held a secret"


# Requests that cannot be accepted as sent


class MalformedRequestError(RegistryError):
    code = "malformed-request"
    title = "The request cannot be read"


class InvalidRequestError(FaultyError):
    code = "invalid-request"
    title = "The request has invalid fields"


class InvalidArtifactError(FaultyError):
    code = "invalid-artifact"
    title = "The artifact is not a prefix for this base model"


class InvalidEvaluationError(FaultyError):
    code = "invalid-evaluation"
    title = "The evaluation contradicts its suite"


class InvalidSuiteError(FaultyError):
    code = "invalid-suite"
    title = "The suite contradicts itself"


class InvalidPolicyError(FaultyError):
    code = "invalid-policy"
    title = "The policy cannot work as written"


class InvalidAllocationError(FaultyError):
    code = "invalid-allocation"
    title = "The allocation is not a split of all traffic"


class UnknownBaseModelError(RegistryError):
    code = "unknown-base-model"
    title = "The base model is not registered"


class UnknownReferenceError(RegistryError):
    code = "unknown-reference"
    title = "The request refers to an object that is not registered"


class TooLargeError(RegistryError):
    code = "too-large"
    title = "The request is too large"


class IdempotencyKeyReusedError(RegistryError):
    code = "idempotency-key-reused"
    title = "The key belongs to another request"


class HeadersTooLargeError(RegistryError):
    code = "headers-too-large"
    title = "The request's headers are too large"


class RequestTimeoutError(RegistryError):
    code = "request-timeout"
    title = "The request arrived too slowly"


class UnsupportedMediaTypeError(RegistryError):
    code = "unsupported-media-type"
    title = "The content type is not supported here"


class RangeNotSatisfiableError(RegistryError):
    code = "range-not-satisfiable"
    title = "The range lies outside the file"


# Failures of the registry


class AuditLogBrokenError(RegistryError):
    code = "audit-log-broken"
    title = "The audit log differs from the signed one"


class DamagedObjectError(RegistryError):
    code = "damaged-object"
    title = "Stored bytes do not match their digest"


class TooManyRequestsError(RegistryError):
    code = "too-many-requests"
    title = "Too many requests are in progress"


class UnavailableError(RegistryError):
    code = "unavailable"
    title = "A part of the registry is unreachable"


class TooManyConnectionsError(RegistryError):
    code = "too-many-connections"
    title = "The limit of open connections is reached"


class OperatorError(Exception):
    """A resource that the program needs is missing or unusable.

    The message is one sentence for the operator: the problem, its cause and a remedy.
    """

"""The tables, by concept."""

from app.db.models.answers import KeptAnswer
from app.db.models.artifacts import (
    BaseModelRow,
    BoundPrefix,
    Prefix,
    Pull,
    Revocation,
    Version,
    VersionFile,
)
from app.db.models.audit import (
    AuditChain,
    AuditCheckpoint,
    AuditEntry,
    AuditLeaf,
    AuditNode,
)
from app.db.models.base import APPEND_ONLY, DISPOSABLE, Base
from app.db.models.evidence import (
    EvaluationCell,
    EvaluationFile,
    EvaluationRow,
    EvaluationScores,
    EvaluationVoid,
    SuiteRow,
)
from app.db.models.governance import (
    Channel,
    Generation,
    GenerationShare,
    PolicyRow,
    Promotion,
    PromotionShare,
    ReviewRow,
)
from app.db.models.identity import (
    ApiToken,
    IdentityRow,
    Principal,
    RoleGrant,
    SignInAttempt,
    WebSession,
)
from app.db.models.storage import BlobLease, Damage, Upload
from app.db.models.workers import WorkerLease

__all__ = [
    "APPEND_ONLY",
    "DISPOSABLE",
    "ApiToken",
    "AuditChain",
    "AuditCheckpoint",
    "AuditEntry",
    "AuditLeaf",
    "AuditNode",
    "Base",
    "BaseModelRow",
    "BlobLease",
    "BoundPrefix",
    "Channel",
    "Damage",
    "EvaluationCell",
    "EvaluationFile",
    "EvaluationRow",
    "EvaluationScores",
    "EvaluationVoid",
    "Generation",
    "GenerationShare",
    "IdentityRow",
    "KeptAnswer",
    "PolicyRow",
    "Prefix",
    "Principal",
    "Promotion",
    "PromotionShare",
    "Pull",
    "ReviewRow",
    "Revocation",
    "RoleGrant",
    "SignInAttempt",
    "SuiteRow",
    "Upload",
    "Version",
    "VersionFile",
    "WebSession",
    "WorkerLease",
]

"""The tables, in one module for each concept."""

from app.db.models.artifacts import (
    BaseModelRow,
    Content,
    Prefix,
    PrefixBaseModel,
    Pull,
    Revocation,
    Version,
    VersionFile,
    Withdrawal,
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
    SuiteManifest,
    SuiteManifestCell,
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
from app.db.models.idempotency import IdempotencyRecord
from app.db.models.identity import (
    ApiToken,
    FederatedIdentityRow,
    LoginAttempt,
    Principal,
    RoleGrant,
    WebSession,
)
from app.db.models.storage import BlobPin, Damage, QuotaRow, Upload
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
    "BlobPin",
    "Channel",
    "Content",
    "Damage",
    "EvaluationCell",
    "EvaluationFile",
    "EvaluationRow",
    "EvaluationScores",
    "EvaluationVoid",
    "FederatedIdentityRow",
    "Generation",
    "GenerationShare",
    "IdempotencyRecord",
    "LoginAttempt",
    "PolicyRow",
    "Prefix",
    "PrefixBaseModel",
    "Principal",
    "Promotion",
    "PromotionShare",
    "Pull",
    "QuotaRow",
    "ReviewRow",
    "Revocation",
    "RoleGrant",
    "SuiteManifest",
    "SuiteManifestCell",
    "SuiteRow",
    "Upload",
    "Version",
    "VersionFile",
    "WebSession",
    "Withdrawal",
    "WorkerLease",
]

"""The tables, by concept."""

from app.db.models.artifacts import BaseModelRow, Prefix, Revocation, Version, VersionFile
from app.db.models.audit import AuditChain, AuditEntry
from app.db.models.base import APPEND_ONLY, DISPOSABLE, Base
from app.db.models.evidence import (
    EvaluationCell,
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
from app.db.models.identity import ApiToken, Principal, RoleGrant, WebSession
from app.db.models.storage import BlobLease, Damage, Upload

__all__ = [
    "APPEND_ONLY",
    "DISPOSABLE",
    "ApiToken",
    "AuditChain",
    "AuditEntry",
    "Base",
    "BaseModelRow",
    "BlobLease",
    "Channel",
    "Damage",
    "EvaluationCell",
    "EvaluationRow",
    "EvaluationScores",
    "EvaluationVoid",
    "Generation",
    "GenerationShare",
    "PolicyRow",
    "Prefix",
    "Principal",
    "Promotion",
    "PromotionShare",
    "ReviewRow",
    "Revocation",
    "RoleGrant",
    "SuiteRow",
    "Upload",
    "Version",
    "VersionFile",
    "WebSession",
]

"""The tables of the first release, and the triggers that protect history from changes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

APPEND_ONLY = (
    "audit_checkpoint",
    "audit_entry",
    "audit_leaf",
    "audit_node",
    "base_model",
    "content",
    "prefix_base_model",
    "evaluation",
    "evaluation_cell",
    "evaluation_file",
    "evaluation_scores",
    "evaluation_void",
    "generation",
    "generation_share",
    "policy",
    "promotion_share",
    "review",
    "revocation",
    "suite",
    "suite_manifest",
    "suite_manifest_cell",
    "version",
    "version_file",
)

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""

# The registry's time: statements and processes take it from here, never from their own clocks.
REGISTRY_TIME = """
CREATE FUNCTION registry_time() RETURNS timestamptz LANGUAGE sql VOLATILE
RETURN clock_timestamp()
"""

# A chain may only grow, by one entry at a time; the update that locks its row changes nothing.
KEEP_CHAIN_END = """
CREATE FUNCTION keep_chain_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.subject = OLD.subject AND NEW.latest_at >= OLD.latest_at AND (
        NEW.length = OLD.length + 1 OR (NEW.length = OLD.length AND NEW.head = OLD.head)
    ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit chain % may only grow by one entry, not back in time', OLD.subject
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""

# The transaction that deactivates a principal may be its own last one.
REFUSE_DEACTIVATED = """
CREATE FUNCTION refuse_deactivated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM principal WHERE id = NEW.principal_id AND deactivated_at < NEW.at
    ) THEN
        RAISE EXCEPTION 'the principal % was deactivated before this event', NEW.principal
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$
"""

# Processes cache these rows. A trigger notifies them of each change within its transaction, also
# when the change is not made by the service. New rows that no cache can hold need no notification.
CACHED = {
    "api_token": (
        "UPDATE OF principal_id, hash, expires_at, channels, revoked_at OR DELETE",
        "principal",
        "principal_id",
    ),
    "role_grant": ("INSERT OR UPDATE OR DELETE", "principal", "principal_id"),
    "principal": ("UPDATE OR DELETE", "principal", "id"),
    "channel": ("UPDATE OR DELETE", "prefix", "prefix_id"),
    "prefix": ("UPDATE OF namespace, name OR DELETE", "prefix", "id"),
}

ANNOUNCE_CHANGE = """
CREATE FUNCTION announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify(
            'registry_changes', TG_ARGV[0] || ' ' || (to_jsonb(OLD) ->> TG_ARGV[1])
        );
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify(
            'registry_changes', TG_ARGV[0] || ' ' || (to_jsonb(NEW) ->> TG_ARGV[1])
        );
    END IF;
    RETURN NULL;
END $$
"""

# A revocation is of a content: it concerns every version of it, in all prefixes.
ANNOUNCE_REVOCATION = """
CREATE FUNCTION announce_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('registry_changes', 'version ' || id)
        FROM version WHERE content = NEW.content;
    RETURN NULL;
END $$
"""

# Every ending of a prefix's full name, in lower case. A text is part of the name exactly if one of
# the endings begins with it. The high cost makes the planner use the index instead of a scan.
NAME_ENDINGS = """
CREATE FUNCTION name_endings(namespace text, name text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000
RETURN array_to_tsvector(ARRAY(
    SELECT substr(whole.name, start)
    FROM (SELECT lower((namespace || '/' || name) COLLATE "C")) AS whole (name),
        generate_series(1, length(whole.name)) AS start
))
"""

# The principal of the registry's own actions, such as executing a promotion after its wait.
SYSTEM_PRINCIPAL = """
INSERT INTO principal (id, name, kind, created_at)
VALUES ('00000000-0000-0000-0000-000000000000', 'prefix-registry', 'service', now())
"""


def upgrade() -> None:
    op.execute(REGISTRY_TIME)
    op.create_table(
        "audit_chain",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("latest_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "head ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_audit_chain_head_is_digest")
        ),
        sa.CheckConstraint("length >= 0", name=op.f("ck_audit_chain_length_not_negative")),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_audit_chain")),
    )
    op.create_table(
        "principal",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "human",
                "service",
                name="principalkind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deactivated_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principal")),
        sa.UniqueConstraint("name", name=op.f("uq_principal_name")),
    )
    op.create_index("ix_principal_lower_name", "principal", [sa.text("lower(name)")], unique=True)
    op.execute(SYSTEM_PRINCIPAL)
    op.create_table(
        "api_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_api_token_principal_id_principal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_token_hash")),
    )
    op.create_index(op.f("ix_api_token_principal_id"), "api_token", ["principal_id"], unique=False)
    _create_audit_log()
    op.create_table(
        "federated_identity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("claims", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principal.id"],
            name=op.f("fk_federated_identity_principal_id_principal"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_federated_identity")),
        sa.UniqueConstraint("issuer", "claims", name=op.f("uq_federated_identity_issuer_claims")),
    )
    op.create_index(
        op.f("ix_federated_identity_principal_id"),
        "federated_identity",
        ["principal_id"],
        unique=False,
    )
    op.create_table(
        "web_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_id", sa.Uuid(), nullable=True),
        sa.Column("identity_id", sa.Uuid(), nullable=True),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("form_token", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("former_hash", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "num_nonnulls(token_id, identity_id) = 1", name=op.f("ck_web_session_opened_with_one")
        ),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["federated_identity.id"],
            name=op.f("fk_web_session_identity_id_federated_identity"),
        ),
        sa.ForeignKeyConstraint(
            ["token_id"], ["api_token.id"], name=op.f("fk_web_session_token_id_api_token")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_session")),
        sa.UniqueConstraint("hash", name=op.f("uq_web_session_hash")),
    )
    op.create_index(op.f("ix_web_session_expires_at"), "web_session", ["expires_at"], unique=False)
    op.create_index(
        op.f("ix_web_session_former_hash"), "web_session", ["former_hash"], unique=False
    )
    op.create_index(
        op.f("ix_web_session_identity_id"), "web_session", ["identity_id"], unique=False
    )
    op.create_index(op.f("ix_web_session_token_id"), "web_session", ["token_id"], unique=False)
    op.create_table(
        "login_attempt",
        sa.Column("state_hash", sa.Text(), nullable=False),
        sa.Column("browser_hash", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("pk_login_attempt")),
    )
    op.create_index(
        op.f("ix_login_attempt_expires_at"), "login_attempt", ["expires_at"], unique=False
    )
    op.create_table(
        "base_model",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column("model_type", sa.Text(), nullable=False),
        sa.Column("layers", sa.Integer(), nullable=False),
        sa.Column("attention_heads", sa.Integer(), nullable=False),
        sa.Column("kv_heads", sa.Integer(), nullable=False),
        sa.Column("head_dim", sa.Integer(), nullable=False),
        sa.Column("hidden_size", sa.Integer(), nullable=False),
        sa.Column("context_window", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "digest ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_base_model_digest_is_digest")
        ),
        sa.CheckConstraint("parameters > 0", name=op.f("ck_base_model_parameters_positive")),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["principal.id"], name=op.f("fk_base_model_created_by_id_principal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_base_model")),
        sa.UniqueConstraint("digest", name=op.f("uq_base_model_digest")),
        info={"append_only": True},
    )
    op.create_index(
        op.f("ix_base_model_name_revision"), "base_model", ["name", "revision"], unique=False
    )
    op.create_index(
        "ix_base_model_lower_name", "base_model", [sa.text("lower(name)")], unique=False
    )
    op.create_table(
        "policy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "digest ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_policy_digest_is_digest")
        ),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["principal.id"], name=op.f("fk_policy_created_by_id_principal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_policy_name_version")),
        info={"append_only": True},
    )
    op.create_table(
        "prefix",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("intended_uses", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.Column("last_number", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("last_number >= 0", name=op.f("ck_prefix_last_number_not_negative")),
        sa.CheckConstraint(
            "namespace = lower(namespace)", name=op.f("ck_prefix_namespace_lower_case")
        ),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["principal.id"], name=op.f("fk_prefix_created_by_id_principal")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["principal.id"], name=op.f("fk_prefix_owner_id_principal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prefix")),
        sa.UniqueConstraint("namespace", "name", name=op.f("uq_prefix_namespace_name")),
    )
    op.create_index(
        "ix_prefix_lower_name_namespace",
        "prefix",
        [sa.text("lower(name)"), "namespace"],
        unique=True,
    )
    op.execute(NAME_ENDINGS)
    op.create_index(
        "ix_prefix_name_endings",
        "prefix",
        [sa.text("name_endings(namespace, name)")],
        unique=False,
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    )
    op.create_table(
        "role_grant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column(
            "role",
            sa.Enum(
                "reader",
                "publisher",
                "evaluator",
                "approver",
                "admin",
                "auditor",
                name="role",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_role_grant_principal_id_principal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_grant")),
        sa.UniqueConstraint(
            "principal_id",
            "role",
            "namespace",
            name=op.f("uq_role_grant_principal_id_role_namespace"),
        ),
        sa.CheckConstraint(
            "namespace = lower(namespace)", name=op.f("ck_role_grant_namespace_lower_case")
        ),
    )
    op.create_table(
        "suite",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "digest ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_suite_digest_is_digest")
        ),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["principal.id"], name=op.f("fk_suite_created_by_id_principal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suite")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_suite_name_version")),
        info={"append_only": True},
    )
    op.create_index(
        "ix_suite_name_lower_version",
        "suite",
        ["name", sa.text("lower(version)")],
        unique=True,
    )
    op.create_table(
        "suite_manifest",
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "sha256 ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_suite_manifest_sha256_is_digest")
        ),
        sa.CheckConstraint("size_bytes > 0", name=op.f("ck_suite_manifest_size_positive")),
        sa.ForeignKeyConstraint(
            ["suite_id"], ["suite.id"], name=op.f("fk_suite_manifest_suite_id_suite")
        ),
        sa.PrimaryKeyConstraint("suite_id", name=op.f("pk_suite_manifest")),
        info={"append_only": True},
    )
    op.create_index(op.f("ix_suite_manifest_sha256"), "suite_manifest", ["sha256"], unique=False)
    op.create_table(
        "suite_manifest_cell",
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("persona", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("keys_packed", sa.LargeBinary(), nullable=False),
        sa.Column("clusters_packed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("samples > 0", name=op.f("ck_suite_manifest_cell_samples_positive")),
        sa.ForeignKeyConstraint(
            ["suite_id"], ["suite.id"], name=op.f("fk_suite_manifest_cell_suite_id_suite")
        ),
        sa.PrimaryKeyConstraint(
            "suite_id", "persona", "locale", name=op.f("pk_suite_manifest_cell")
        ),
        info={"append_only": True},
    )
    op.create_table(
        "channel",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("prefix_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("generation", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["policy.id"], name=op.f("fk_channel_policy_id_policy")
        ),
        sa.ForeignKeyConstraint(
            ["prefix_id"], ["prefix.id"], name=op.f("fk_channel_prefix_id_prefix")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel")),
        sa.UniqueConstraint("prefix_id", "name", name=op.f("uq_channel_prefix_id_name")),
        sa.CheckConstraint(
            "name !~* '^(main|master|head|latest|refs|refs/.*|v[0-9]+|[0-9a-f]{7,64}"
            "|.*[.][.].*|.*[.]lock)$'",
            name=op.f("ck_channel_name_not_reserved"),
        ),
    )
    op.create_index(op.f("ix_channel_policy_id"), "channel", ["policy_id"], unique=False)
    op.create_table(
        "content",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("base_model_id", sa.Uuid(), nullable=False),
        sa.Column("virtual_tokens", sa.Integer(), nullable=False),
        sa.Column("norm", sa.Double(), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
        sa.Column("sketch_1", sa.REAL(), nullable=False),
        sa.Column("sketch_2", sa.REAL(), nullable=False),
        sa.Column("sketch_3", sa.REAL(), nullable=False),
        sa.CheckConstraint(
            "digest ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_content_digest_is_digest")
        ),
        sa.CheckConstraint("length(sketch) = 256", name=op.f("ck_content_sketch_complete")),
        sa.ForeignKeyConstraint(
            ["base_model_id"], ["base_model.id"], name=op.f("fk_content_base_model_id_base_model")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_content")),
        info={"append_only": True},
    )
    op.create_index(
        "ix_content_near",
        "content",
        ["base_model_id", "virtual_tokens", "sketch_1", "sketch_2", "sketch_3", "norm"],
        unique=False,
    )
    op.create_table(
        "version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("prefix_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("base_model_id", sa.Uuid(), nullable=False),
        sa.Column("peft_type", sa.Text(), nullable=False),
        sa.Column("virtual_tokens", sa.Integer(), nullable=False),
        sa.Column("dtype", sa.Text(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("key_norms", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.Column("value_norms", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.Column("remarks", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("card", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("lineage", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "digest ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_version_digest_is_digest")
        ),
        sa.CheckConstraint("number > 0", name=op.f("ck_version_number_positive")),
        sa.ForeignKeyConstraint(
            ["base_model_id"], ["base_model.id"], name=op.f("fk_version_base_model_id_base_model")
        ),
        sa.ForeignKeyConstraint(
            ["content"], ["content.digest"], name=op.f("fk_version_content_content")
        ),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["principal.id"], name=op.f("fk_version_created_by_id_principal")
        ),
        sa.ForeignKeyConstraint(
            ["prefix_id"], ["prefix.id"], name=op.f("fk_version_prefix_id_prefix")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version")),
        sa.UniqueConstraint("prefix_id", "number", name=op.f("uq_version_prefix_id_number")),
        info={"append_only": True},
    )
    op.create_index(
        op.f("ix_version_prefix_id_digest"), "version", ["prefix_id", "digest"], unique=False
    )
    op.create_index(
        op.f("ix_version_content_prefix_id"), "version", ["content", "prefix_id"], unique=False
    )
    op.create_table(
        "prefix_base_model",
        sa.Column("base_model_id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["base_model_id"],
            ["base_model.id"],
            name=op.f("fk_prefix_base_model_base_model_id_base_model"),
        ),
        sa.ForeignKeyConstraint(
            ["namespace", "name"],
            ["prefix.namespace", "prefix.name"],
            name=op.f("fk_prefix_base_model_namespace_name_prefix"),
        ),
        sa.PrimaryKeyConstraint(
            "base_model_id", "namespace", "name", name=op.f("pk_prefix_base_model")
        ),
        info={"append_only": True},
    )
    op.create_table(
        "evaluation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("base_model_id", sa.Uuid(), nullable=True),
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "samples",
                "aggregates",
                name="evidencekind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("evidence_level", sa.SmallInteger(), nullable=False),
        sa.Column("level_reason", sa.Text(), nullable=True),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("partial_reasons", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("harness", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("settings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evaluator_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "partial = (cardinality(partial_reasons) > 0)",
            name=op.f("ck_evaluation_says_why_it_is_partial"),
        ),
        sa.CheckConstraint(
            "digest ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_evaluation_digest_is_digest")
        ),
        sa.CheckConstraint(
            "evidence_level BETWEEN 0 AND 3", name=op.f("ck_evaluation_level_is_known")
        ),
        sa.CheckConstraint(
            "(evidence_level = 0) = (level_reason IS NOT NULL)",
            name=op.f("ck_evaluation_says_why_it_is_reported"),
        ),
        sa.CheckConstraint(
            "(version_id IS NULL) <> (base_model_id IS NULL)",
            name=op.f("ck_evaluation_of_one_subject"),
        ),
        sa.CheckConstraint(
            "(version_id IS NULL) = (content IS NULL)", name=op.f("ck_evaluation_of_a_content")
        ),
        sa.ForeignKeyConstraint(
            ["base_model_id"],
            ["base_model.id"],
            name=op.f("fk_evaluation_base_model_id_base_model"),
        ),
        sa.ForeignKeyConstraint(
            ["content"], ["content.digest"], name=op.f("fk_evaluation_content_content")
        ),
        sa.ForeignKeyConstraint(
            ["evaluator_id"], ["principal.id"], name=op.f("fk_evaluation_evaluator_id_principal")
        ),
        sa.ForeignKeyConstraint(
            ["suite_id"], ["suite.id"], name=op.f("fk_evaluation_suite_id_suite")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["version.id"], name=op.f("fk_evaluation_version_id_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
        info={"append_only": True},
    )
    op.create_table(
        "evaluation_file",
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "sha256 ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_evaluation_file_sha256_is_digest")
        ),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_evaluation_file_size_not_negative")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_evaluation_file_evaluation_id_evaluation"),
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "name", name=op.f("pk_evaluation_file")),
        info={"append_only": True},
    )
    op.create_index(op.f("ix_evaluation_file_sha256"), "evaluation_file", ["sha256"], unique=False)
    op.create_table(
        "evaluation_scores",
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("persona", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("keys_packed", sa.LargeBinary(), nullable=False),
        sa.Column("values_packed", sa.LargeBinary(), nullable=False),
        sa.Column("clusters_packed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_evaluation_scores_evaluation_id_evaluation"),
        ),
        sa.PrimaryKeyConstraint(
            "evaluation_id", "metric", "persona", "locale", name=op.f("pk_evaluation_scores")
        ),
    )
    op.create_index(
        op.f("ix_evaluation_base_model_id_recorded_at_id"),
        "evaluation",
        ["base_model_id", "recorded_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_evaluation_content_recorded_at_id"),
        "evaluation",
        ["content", "recorded_at", "id"],
        unique=False,
    )
    op.create_table(
        "promotion",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "executed",
                "rejected",
                "withdrawn",
                "expired",
                "superseded",
                name="promotionstate",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("requested_by_id", sa.Uuid(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("decision", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("evidence_digest", sa.Text(), nullable=False),
        sa.Column("subject_digest", sa.Text(), nullable=False),
        sa.Column("subject_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closing_reason", sa.Text(), nullable=True),
        sa.Column("break_glass", sa.Boolean(), server_default="false", nullable=False),
        sa.CheckConstraint(
            "(state = 'pending') = (closed_at IS NULL)", name=op.f("ck_promotion_closed_when_ended")
        ),
        sa.CheckConstraint(
            "evidence_digest ~ '^sha256:[0-9a-f]{64}$'",
            name=op.f("ck_promotion_evidence_digest_is_digest"),
        ),
        sa.CheckConstraint(
            "subject_digest ~ '^sha256:[0-9a-f]{64}$'",
            name=op.f("ck_promotion_subject_digest_is_digest"),
        ),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channel.id"], name=op.f("fk_promotion_channel_id_channel")
        ),
        sa.ForeignKeyConstraint(
            ["policy_id"], ["policy.id"], name=op.f("fk_promotion_policy_id_policy")
        ),
        sa.ForeignKeyConstraint(
            ["requested_by_id"],
            ["principal.id"],
            name=op.f("fk_promotion_requested_by_id_principal"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion")),
    )
    op.create_index(
        op.f("ix_promotion_channel_id_state"), "promotion", ["channel_id", "state"], unique=False
    )
    op.create_index(
        op.f("ix_promotion_created_at_id"), "promotion", ["created_at", "id"], unique=False
    )
    for moment in ("due_at", "expires_at"):
        op.create_index(
            f"ix_promotion_pending_{moment}",
            "promotion",
            [moment],
            unique=False,
            postgresql_where=sa.text("state = 'pending'"),
        )
    op.create_index(
        op.f("ix_promotion_state_created_at_id"),
        "promotion",
        ["state", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "revocation",
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_by_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content"], ["content.digest"], name=op.f("fk_revocation_content_content")
        ),
        sa.ForeignKeyConstraint(
            ["revoked_by_id"], ["principal.id"], name=op.f("fk_revocation_revoked_by_id_principal")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["version.id"], name=op.f("fk_revocation_version_id_version")
        ),
        sa.PrimaryKeyConstraint("content", name=op.f("pk_revocation")),
        info={"append_only": True},
    )
    op.create_index(op.f("ix_revocation_version_id"), "revocation", ["version_id"], unique=False)
    op.create_table(
        "withdrawal",
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("prefix_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content"], ["content.digest"], name=op.f("fk_withdrawal_content_content")
        ),
        sa.ForeignKeyConstraint(
            ["prefix_id"], ["prefix.id"], name=op.f("fk_withdrawal_prefix_id_prefix")
        ),
        sa.PrimaryKeyConstraint("content", "prefix_id", name=op.f("pk_withdrawal")),
        info={"disposable": True},
    )
    op.create_table(
        "pull",
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column(
            "way",
            sa.Enum(
                "resolve",
                "download",
                name="pullway",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("times > 0", name=op.f("ck_pull_times_positive")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_pull_principal_id_principal")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["version.id"], name=op.f("fk_pull_version_id_version")
        ),
        sa.PrimaryKeyConstraint("version_id", "principal_id", "way", name=op.f("pk_pull")),
    )
    op.create_table(
        "version_file",
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "sha256 ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_version_file_sha256_is_digest")
        ),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_version_file_size_not_negative")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["version.id"], name=op.f("fk_version_file_version_id_version")
        ),
        sa.PrimaryKeyConstraint("version_id", "name", name=op.f("pk_version_file")),
        info={"append_only": True},
    )
    op.create_index(op.f("ix_version_file_sha256"), "version_file", ["sha256"], unique=False)
    op.create_table(
        "evaluation_cell",
        "evaluation_scores",
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("persona", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("stderr", sa.Double(), nullable=True),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.CheckConstraint("samples > 0", name=op.f("ck_evaluation_cell_samples_positive")),
        sa.CheckConstraint("stderr >= 0", name=op.f("ck_evaluation_cell_stderr_not_negative")),
        sa.CheckConstraint(
            "missing BETWEEN 0 AND samples", name=op.f("ck_evaluation_cell_missing_in_samples")
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_evaluation_cell_evaluation_id_evaluation"),
        ),
        sa.PrimaryKeyConstraint(
            "evaluation_id", "metric", "persona", "locale", name=op.f("pk_evaluation_cell")
        ),
        info={"append_only": True},
    )
    op.create_table(
        "evaluation_void",
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("voided_by_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_evaluation_void_evaluation_id_evaluation"),
        ),
        sa.ForeignKeyConstraint(
            ["voided_by_id"],
            ["principal.id"],
            name=op.f("fk_evaluation_void_voided_by_id_principal"),
        ),
        sa.PrimaryKeyConstraint("evaluation_id", name=op.f("pk_evaluation_void")),
        info={"append_only": True},
    )
    op.create_table(
        "generation",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "promotion",
                "rollback",
                "break-glass",
                "revocation",
                name="generationkind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("promotion_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("executed_by_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_generation_number_positive")),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channel.id"], name=op.f("fk_generation_channel_id_channel")
        ),
        sa.ForeignKeyConstraint(
            ["executed_by_id"],
            ["principal.id"],
            name=op.f("fk_generation_executed_by_id_principal"),
        ),
        sa.ForeignKeyConstraint(
            ["promotion_id"], ["promotion.id"], name=op.f("fk_generation_promotion_id_promotion")
        ),
        sa.PrimaryKeyConstraint("channel_id", "number", name=op.f("pk_generation")),
        info={"append_only": True},
    )
    op.create_index(op.f("ix_generation_executed_at"), "generation", ["executed_at"], unique=False)
    op.create_index(
        op.f("ix_generation_channel_id_executed_at"),
        "generation",
        ["channel_id", "executed_at"],
        unique=False,
    )
    op.create_index(
        "ix_generation_break_glass",
        "generation",
        ["channel_id"],
        unique=False,
        postgresql_where=sa.text("kind = 'break-glass'"),
    )
    op.create_index(
        op.f("ix_generation_promotion_id"), "generation", ["promotion_id"], unique=False
    )
    op.create_table(
        "promotion_share",
        sa.Column("promotion_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "weight BETWEEN 1 AND 10000", name=op.f("ck_promotion_share_weight_in_range")
        ),
        sa.ForeignKeyConstraint(
            ["promotion_id"],
            ["promotion.id"],
            name=op.f("fk_promotion_share_promotion_id_promotion"),
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["version.id"], name=op.f("fk_promotion_share_version_id_version")
        ),
        sa.PrimaryKeyConstraint("promotion_id", "version_id", name=op.f("pk_promotion_share")),
        info={"append_only": True},
    )
    op.create_index(
        op.f("ix_promotion_share_version_id"), "promotion_share", ["version_id"], unique=False
    )
    op.create_table(
        "review",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("promotion_id", sa.Uuid(), nullable=False),
        sa.Column("reviewer_id", sa.Uuid(), nullable=False),
        sa.Column(
            "verdict",
            sa.Enum(
                "approve",
                "reject",
                name="verdict",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("subject_digest", sa.Text(), nullable=False),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "subject_digest ~ '^sha256:[0-9a-f]{64}$'",
            name=op.f("ck_review_subject_digest_is_digest"),
        ),
        sa.ForeignKeyConstraint(
            ["promotion_id"], ["promotion.id"], name=op.f("fk_review_promotion_id_promotion")
        ),
        sa.ForeignKeyConstraint(
            ["reviewer_id"], ["principal.id"], name=op.f("fk_review_reviewer_id_principal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint(
            "promotion_id",
            "reviewer_id",
            "subject_digest",
            "reviewed_at",
            name=op.f("uq_review_promotion_id_reviewer_id_subject_digest_reviewed_at"),
        ),
        info={"append_only": True},
    )
    op.create_table(
        "generation_share",
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "weight BETWEEN 1 AND 10000", name=op.f("ck_generation_share_weight_in_range")
        ),
        sa.ForeignKeyConstraint(
            ["channel_id", "number"],
            ["generation.channel_id", "generation.number"],
            name=op.f("fk_generation_share_channel_id_number_generation"),
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["version.id"], name=op.f("fk_generation_share_version_id_version")
        ),
        sa.PrimaryKeyConstraint(
            "channel_id", "number", "version_id", name=op.f("pk_generation_share")
        ),
        info={"append_only": True},
    )
    op.create_index(
        op.f("ix_generation_share_version_id"), "generation_share", ["version_id"], unique=False
    )
    op.create_table(
        "idempotency_record",
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "length(key) BETWEEN 1 AND 255", name=op.f("ck_idempotency_record_key_length")
        ),
        sa.CheckConstraint(
            "fingerprint ~ '^sha256:[0-9a-f]{64}$'",
            name=op.f("ck_idempotency_record_fingerprint_is_digest"),
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principal.id"],
            name=op.f("fk_idempotency_record_principal_id_principal"),
        ),
        sa.PrimaryKeyConstraint("principal_id", "key", name=op.f("pk_idempotency_record")),
    )
    op.create_index(
        op.f("ix_idempotency_record_recorded_at"),
        "idempotency_record",
        ["recorded_at"],
        unique=False,
    )
    op.create_table(
        "blob_pin",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("collected_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "sha256 ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_blob_pin_sha256_is_digest")
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_blob_pin")),
    )
    op.create_index(op.f("ix_blob_pin_expires_at"), "blob_pin", ["expires_at"], unique=False)
    op.create_table(
        "damage",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "sha256 ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_damage_sha256_is_digest")
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_damage")),
    )
    op.create_table(
        "namespace_quota",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("used_versions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("limit_versions", sa.Integer(), nullable=True),
        sa.Column("limit_requests", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "namespace = lower(namespace)", name=op.f("ck_namespace_quota_namespace_lower_case")
        ),
        sa.CheckConstraint(
            "used_bytes >= 0 AND used_versions >= 0",
            name=op.f("ck_namespace_quota_use_not_negative"),
        ),
        sa.CheckConstraint(
            "limit_bytes > 0 AND limit_versions > 0 AND limit_requests > 0",
            name=op.f("ck_namespace_quota_limits_positive"),
        ),
        sa.PrimaryKeyConstraint("namespace", name=op.f("pk_namespace_quota")),
    )
    op.create_table(
        "upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("prefix_id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("multipart_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "sha256 ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_upload_sha256_is_digest")
        ),
        sa.CheckConstraint("size_bytes > 0", name=op.f("ck_upload_size_positive")),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["principal.id"], name=op.f("fk_upload_created_by_id_principal")
        ),
        sa.ForeignKeyConstraint(
            ["prefix_id"], ["prefix.id"], name=op.f("fk_upload_prefix_id_prefix")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
    )
    op.create_index(op.f("ix_upload_expires_at"), "upload", ["expires_at"], unique=False)
    op.create_index(
        op.f("ix_upload_namespace_expires_at"),
        "upload",
        ["namespace", "expires_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_upload_prefix_id_sha256"), "upload", ["prefix_id", "sha256"], unique=False
    )
    op.create_table(
        "worker_lease",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("confirmed", sa.BigInteger(), nullable=False),
        sa.Column("proved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker_lease")),
    )
    op.execute(REFUSE_CHANGE)
    op.execute(KEEP_CHAIN_END)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in (*APPEND_ONLY, "audit_chain"):
        op.execute(
            f"CREATE TRIGGER {table}_is_not_truncated BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(
        "CREATE TRIGGER audit_chain_is_kept BEFORE DELETE ON audit_chain "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER audit_chain_only_grows BEFORE UPDATE ON audit_chain "
        "FOR EACH ROW EXECUTE FUNCTION keep_chain_end()"
    )
    op.execute(REFUSE_DEACTIVATED)
    op.execute(
        "CREATE TRIGGER audit_entry_is_of_active BEFORE INSERT ON audit_entry "
        "FOR EACH ROW EXECUTE FUNCTION refuse_deactivated()"
    )
    op.execute(ANNOUNCE_CHANGE)
    for table, (events, kind, column) in CACHED.items():
        op.execute(
            f"CREATE TRIGGER {table}_is_announced AFTER {events} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION announce_change('{kind}', '{column}')"
        )
    op.execute(ANNOUNCE_REVOCATION)
    op.execute(
        "CREATE TRIGGER revocation_is_announced AFTER INSERT ON revocation "
        "FOR EACH ROW EXECUTE FUNCTION announce_revocation()"
    )


def _create_audit_log() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "hash ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_audit_entry_hash_is_digest")
        ),
        sa.CheckConstraint(
            "previous ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_audit_entry_previous_is_digest")
        ),
        sa.CheckConstraint("sequence > 0", name=op.f("ck_audit_entry_sequence_positive")),
        sa.CheckConstraint(
            "octet_length(facts::text) <= 32768", name=op.f("ck_audit_entry_facts_bounded")
        ),
        sa.ForeignKeyConstraint(
            ["subject"], ["audit_chain.subject"], name=op.f("fk_audit_entry_subject_audit_chain")
        ),
        sa.PrimaryKeyConstraint("subject", "sequence", name=op.f("pk_audit_entry")),
        info={"append_only": True},
    )
    op.create_index(
        op.f("ix_audit_entry_action_at_subject_sequence"),
        "audit_entry",
        ["action", "at", "subject", "sequence"],
        unique=False,
    )
    op.create_index(
        op.f("ix_audit_entry_at_subject_sequence"),
        "audit_entry",
        ["at", "subject", "sequence"],
        unique=False,
    )
    op.create_index(
        op.f("ix_audit_entry_principal_at_subject_sequence"),
        "audit_entry",
        ["principal", "at", "subject", "sequence"],
        unique=False,
    )
    op.create_table(
        "audit_leaf",
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "head ~ '^sha256:[0-9a-f]{64}$'", name=op.f("ck_audit_leaf_head_is_digest")
        ),
        sa.CheckConstraint("index >= 0", name=op.f("ck_audit_leaf_index_not_negative")),
        sa.ForeignKeyConstraint(
            ["subject", "length"],
            ["audit_entry.subject", "audit_entry.sequence"],
            name=op.f("fk_audit_leaf_subject_length_audit_entry"),
        ),
        sa.PrimaryKeyConstraint("index", name=op.f("pk_audit_leaf")),
        sa.UniqueConstraint("subject", "length", name=op.f("uq_audit_leaf_subject_length")),
        info={"append_only": True},
    )
    op.create_table(
        "audit_node",
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_audit_node_hash_is_sha256")),
        sa.PrimaryKeyConstraint("level", "index", name=op.f("pk_audit_node")),
        info={"append_only": True},
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "octet_length(root) = 32", name=op.f("ck_audit_checkpoint_root_is_sha256")
        ),
        sa.CheckConstraint("size >= 0", name=op.f("ck_audit_checkpoint_size_not_negative")),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoint")),
        info={"append_only": True},
    )


def downgrade() -> None:
    op.drop_table("worker_lease")
    op.drop_table("upload")
    op.drop_table("namespace_quota")
    op.drop_table("damage")
    op.drop_table("blob_pin")
    op.drop_table("idempotency_record")
    op.drop_table("generation_share")
    op.drop_table("review")
    op.drop_table("promotion_share")
    op.drop_table("generation")
    op.drop_table("evaluation_void")
    op.drop_table("evaluation_scores")
    op.drop_table("evaluation_file")
    op.drop_table("evaluation_cell")
    op.drop_table("version_file")
    op.drop_table("pull")
    op.drop_table("withdrawal")
    op.drop_table("revocation")
    op.drop_table("promotion")
    op.drop_table("evaluation")
    op.drop_table("version")
    op.drop_table("content")
    op.drop_table("prefix_base_model")
    op.drop_table("channel")
    op.drop_table("suite_manifest_cell")
    op.drop_table("suite_manifest")
    op.drop_table("suite")
    op.drop_table("role_grant")
    op.drop_table("prefix")
    op.execute("DROP FUNCTION name_endings(text, text)")
    op.drop_table("policy")
    op.drop_table("base_model")
    op.drop_table("audit_checkpoint")
    op.drop_table("audit_node")
    op.drop_table("audit_leaf")
    op.drop_table("audit_entry")
    op.drop_table("login_attempt")
    op.drop_table("web_session")
    op.drop_table("federated_identity")
    op.drop_table("api_token")
    op.drop_table("principal")
    op.drop_table("audit_chain")
    op.execute("DROP FUNCTION refuse_change()")
    op.execute("DROP FUNCTION keep_chain_end()")
    op.execute("DROP FUNCTION announce_change()")
    op.execute("DROP FUNCTION announce_revocation()")
    op.execute("DROP FUNCTION registry_time()")
    op.execute("DROP FUNCTION refuse_deactivated()")

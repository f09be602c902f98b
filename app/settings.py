"""The settings: one frozen object, read once from the environment variables `REGISTRY_*`."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.domain.artifacts.quotas import (
    DEFAULT_LIMITS,
    MOST_BYTES,
    MOST_REQUESTS,
    MOST_VERSIONS,
    QuotaLimits,
)
from app.domain.audit.checkpoints import ORIGIN_PATTERN, Signer
from app.domain.errors import OperatorError
from app.domain.identity.access import PrincipalKind
from app.domain.identity.oidc import KEYS, Issuer
from app.domain.identity.oidc_login import Client
from app.domain.strict_json import NotStrictJsonError, read_value
from app.http.limits import REQUESTS_PER_PRINCIPAL, ConnectionLimits, Limits
from app.storage.s3_client import S3Account
from app.storage.signing import signer_from

_MIB = 1 << 20


class SettingsError(OperatorError):
    """The environment is incomplete or wrong; the message names the variables."""


def _fetchable(url: str) -> str:
    """Accept a URL for requests to issuers and browsers: https, or http on the local machine."""
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not (parts.scheme == "https" or is_local) or not parts.hostname or parts.username:
        raise ValueError("must be an https URL without a user")
    if parts.query or parts.fragment or not url.isprintable():
        raise ValueError("must be a URL without query and fragment")
    return url


def _without_path(url: str) -> str:
    if urlsplit(url).path not in ("", "/"):
        raise ValueError("must be a URL without a path")
    return url.rstrip("/")


_Url = Annotated[str, AfterValidator(_fetchable)]
_PublicUrl = Annotated[str, AfterValidator(_fetchable), AfterValidator(_without_path)]


class OidcIssuer(BaseModel):
    """A token issuer; `issuer` must equal the `iss` claim of its tokens exactly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: _Url
    audience: Annotated[str, Field(min_length=1)]
    kind: PrincipalKind = PrincipalKind.SERVICE
    algorithms: Annotated[frozenset[str], Field(min_length=1)] = frozenset({"RS256"})
    jwks_url: _Url | None = None
    max_age_s: int = Field(default=3600, ge=1, le=86_400)
    leeway_s: int = Field(default=30, ge=0, le=300)
    client_id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    client_secret: Annotated[SecretStr, Field(min_length=1)] | None = None
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")] | None = None
    authorization_url: _Url | None = None
    token_url: _Url | None = None

    @field_validator("algorithms")
    @classmethod
    def _known(cls, algorithms: frozenset[str]) -> frozenset[str]:
        if not algorithms <= KEYS.keys():
            raise ValueError(f"must be one or more of {', '.join(KEYS)}")
        return algorithms

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        login = (self.client_secret, self.name, self.authorization_url, self.token_url)
        if self.client_id is None and any(setting is not None for setting in login):
            raise ValueError("settings for signing in to the pages need a client_id")
        if self.client_id is not None and self.kind is not PrincipalKind.HUMAN:
            raise ValueError("with a client_id, set kind to human: people sign in to the pages")
        return self

    @property
    def shown_name(self) -> str:
        return self.name or urlsplit(self.issuer).hostname or ""

    def client(self, public_url: str | None) -> Client | None:
        """Return the registry's client at this issuer; None if people do not sign in through it."""
        if self.client_id is None:
            return None
        return Client(
            name=self.shown_name,
            id=self.client_id,
            redirect_uri=f"{public_url}/admin/sign-in/{self.shown_name}/callback",
            secret=None if self.client_secret is None else self.client_secret.get_secret_value(),
            authorization_url=self.authorization_url,
            token_url=self.token_url,
        )

    def issuer_of_tokens(self, public_url: str | None) -> Issuer:
        return Issuer(
            url=self.issuer,
            audience=self.audience,
            kind=self.kind,
            algorithms=self.algorithms,
            jwks_url=self.jwks_url,
            max_age=timedelta(seconds=self.max_age_s),
            leeway=timedelta(seconds=self.leeway_s),
            client=self.client(public_url),
        )


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="REGISTRY_", frozen=True)

    database_url: Annotated[str, Field(pattern=r"^postgresql\+psycopg://")]
    migration_database_url: str | None = Field(
        default=None, description="For the role that owns the tables; database_url if unset."
    )
    s3_endpoint_url: str | None = Field(default=None, description="Unset means Amazon S3.")
    s3_public_endpoint_url: str | None = Field(
        default=None, description="The URL of the store for clients; s3_endpoint_url if unset."
    )
    s3_access_key: str
    s3_secret_key: SecretStr
    s3_bucket: str
    s3_region: str = "us-east-1"
    max_weights_bytes: int = Field(default=1024 * _MIB, ge=1)
    max_samples_bytes: int = Field(default=1024 * _MIB, ge=1)
    presigned_lifetime_s: int = Field(default=900, ge=1, le=7 * 24 * 3600)
    namespace_stored_bytes: int = Field(default=DEFAULT_LIMITS.stored_bytes, ge=1, le=MOST_BYTES)
    namespace_versions: int = Field(default=DEFAULT_LIMITS.versions, ge=1, le=MOST_VERSIONS)
    requests_per_namespace: int = Field(default=DEFAULT_LIMITS.requests, ge=1, le=MOST_REQUESTS)
    requests_per_principal: int = Field(default=REQUESTS_PER_PRINCIPAL, ge=1)
    public_url: _PublicUrl | None = Field(
        default=None, description="The registry's URL for browsers; issuers redirect to it."
    )
    oidc_issuers: Annotated[tuple[OidcIssuer, ...], NoDecode] = Field(
        default=(), max_length=16, description="A JSON list of trusted token issuers."
    )
    hsts_max_age_s: int = Field(
        default=0, ge=0, description="Above 0 only if clients always use HTTPS."
    )
    api_docs: bool = Field(default=True, description="Whether to serve /docs and /openapi.json.")
    database_pool_size: int = Field(default=10, ge=1, le=200)
    max_connections: int = Field(default=1000, ge=1, le=100_000)
    max_connections_per_address: int = Field(default=250, ge=1, le=100_000)
    keep_alive_s: int = Field(default=75, ge=1, le=3600)
    unready_s: int = Field(
        default=5, ge=0, le=600, description="How long a stopping server still takes requests."
    )
    drain_s: int = Field(
        default=20, ge=1, le=3600, description="How long requests may still run after that."
    )
    collect_interval_s: int = Field(
        default=86_400, ge=0, description="0 leaves garbage collection to the operator."
    )
    checkpoint_key_file: Path | None = Field(
        default=None, description="An Ed25519 private key in PEM; if unset, no checkpoints."
    )
    checkpoint_origin: str | None = Field(
        default=None, pattern=ORIGIN_PATTERN, description="The origin name in signed checkpoints."
    )

    @field_validator("oidc_issuers", mode="before")
    @classmethod
    def _parse_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return read_value(value.encode("utf-8", "surrogateescape"))
        except NotStrictJsonError as error:
            raise ValueError(f"cannot be read as a JSON list: {error}") from error

    @field_validator("oidc_issuers")
    @classmethod
    def _check_unique(
        cls, issuers: tuple[OidcIssuer, ...], info: ValidationInfo
    ) -> tuple[OidcIssuer, ...]:
        if len({issuer.issuer for issuer in issuers}) < len(issuers):
            raise ValueError("each issuer may be configured only once")
        names = [issuer.shown_name for issuer in issuers if issuer.client_id is not None]
        if len(set(names)) < len(names):
            raise ValueError("issuers with a client_id need different names; set name")
        if names and info.data.get("public_url") is None:
            raise ValueError("with a client_id, set REGISTRY_PUBLIC_URL: issuers redirect to it")
        return issuers

    @property
    def s3_account(self) -> S3Account:
        return S3Account(
            endpoint_url=self.s3_endpoint_url,
            access_key=self.s3_access_key,
            secret_key=self.s3_secret_key.get_secret_value(),
            bucket=self.s3_bucket,
            region=self.s3_region,
            public_endpoint_url=self.s3_public_endpoint_url,
        )

    def signer(self) -> Signer | None:
        """Read the key that signs checkpoints; None if none is configured.

        Raises:
            SettingsError: The key is not usable, or only one of key and origin is set.
        """
        file, origin = self.checkpoint_key_file, self.checkpoint_origin
        if file is None and origin is None:
            return None
        if file is None or origin is None:
            message = "Set REGISTRY_CHECKPOINT_KEY_FILE and REGISTRY_CHECKPOINT_ORIGIN, or neither."
            raise SettingsError(message)
        try:
            return signer_from(file, origin=origin)
        except ValueError as error:
            raise SettingsError(f"REGISTRY_CHECKPOINT_KEY_FILE: {error}.") from error

    @property
    def issuers(self) -> list[Issuer]:
        return [issuer.issuer_of_tokens(self.public_url) for issuer in self.oidc_issuers]

    @property
    def connections(self) -> ConnectionLimits:
        return ConnectionLimits(
            connections=self.max_connections,
            connections_per_address=self.max_connections_per_address,
            keep_alive_s=self.keep_alive_s,
        )

    @property
    def quota(self) -> QuotaLimits:
        return QuotaLimits(
            stored_bytes=self.namespace_stored_bytes,
            versions=self.namespace_versions,
            requests=self.requests_per_namespace,
        )

    @property
    def limits(self) -> Limits:
        return Limits(
            weights_bytes=self.max_weights_bytes,
            config_bytes=_MIB // 4,
            metadata_bytes=_MIB // 4,
            report_bytes=4 * _MIB,
            samples_bytes=self.max_samples_bytes,
            presigned_lifetime_s=self.presigned_lifetime_s,
        )


def settings_from_environment() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: Variables are missing or wrong; the message names all of them.
    """
    try:
        return Settings()
    except ValidationError as error:
        found = [
            f"REGISTRY_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()
        ]
        raise SettingsError(f"The environment is not usable: {'; '.join(found)}.") from error

"""What the environment decides: one frozen object, read once, from `REGISTRY_*`."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.deps import Limits
from app.domain.access import PrincipalKind
from app.domain.checkpoints import ORIGIN_PATTERN, Signer
from app.domain.oidc import KEYS, Issuer
from app.domain.unusable import UnusableError
from app.storage.s3 import S3Account
from app.storage.signing import signer_from

_MIB = 1 << 20


class SettingsError(UnusableError):
    """The environment is incomplete or wrong; the message names the variables."""


def _fetchable(url: str) -> str:
    """Return a URL that keys may be fetched from: over TLS, except on the machine itself."""
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not (parts.scheme == "https" or is_local) or not parts.hostname or parts.username:
        raise ValueError("must be an https URL without a user")
    if parts.query or parts.fragment or not url.isprintable():
        raise ValueError("must be a URL without query and fragment")
    return url


_Url = Annotated[str, AfterValidator(_fetchable)]


class OidcIssuer(BaseModel):
    """An issuer of tokens, exactly as its tokens name it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: _Url
    audience: Annotated[str, Field(min_length=1)]
    kind: PrincipalKind = PrincipalKind.SERVICE
    algorithms: Annotated[frozenset[str], Field(min_length=1)] = frozenset({"RS256"})
    jwks_url: _Url | None = None
    max_age_s: int = Field(default=3600, ge=1, le=86_400)
    leeway_s: int = Field(default=30, ge=0, le=300)

    @field_validator("algorithms")
    @classmethod
    def _known(cls, algorithms: frozenset[str]) -> frozenset[str]:
        if not algorithms <= KEYS.keys():
            raise ValueError(f"must be of {', '.join(KEYS)}")
        return algorithms

    def issuer_of_tokens(self) -> Issuer:
        return Issuer(
            url=self.issuer,
            audience=self.audience,
            kind=self.kind,
            algorithms=self.algorithms,
            jwks_url=self.jwks_url,
            max_age=timedelta(seconds=self.max_age_s),
            leeway=timedelta(seconds=self.leeway_s),
        )


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="REGISTRY_", frozen=True)

    database_url: Annotated[str, Field(pattern=r"^postgresql\+psycopg://")]
    migration_database_url: str | None = Field(
        default=None, description="The role that owns the tables; the service's own if unset."
    )
    s3_endpoint_url: str | None = Field(default=None, description="Unset means Amazon S3.")
    s3_public_endpoint_url: str | None = Field(
        default=None, description="Where clients reach the store, if not at s3_endpoint_url."
    )
    s3_access_key: str
    s3_secret_key: SecretStr
    s3_bucket: str
    s3_region: str = "us-east-1"
    max_weights_bytes: int = Field(default=1024 * _MIB, ge=1)
    max_samples_bytes: int = Field(default=1024 * _MIB, ge=1)
    presigned_lifetime_s: int = Field(default=900, ge=1, le=7 * 24 * 3600)
    oidc_issuers: tuple[OidcIssuer, ...] = Field(
        default=(), max_length=16, description="A JSON list of the issuers whose tokens count."
    )
    hsts_max_age_s: int = Field(
        default=0, ge=0, description="Above 0 if clients reach the registry by HTTPS alone."
    )
    database_pool_size: int = Field(default=10, ge=1, le=200)
    checkpoint_key_file: Path | None = Field(
        default=None, description="An Ed25519 private key in PEM; unset, no checkpoints are taken."
    )
    checkpoint_origin: str | None = Field(
        default=None, pattern=ORIGIN_PATTERN, description="The name in which the key signs."
    )

    @field_validator("oidc_issuers")
    @classmethod
    def _named_once(cls, issuers: tuple[OidcIssuer, ...]) -> tuple[OidcIssuer, ...]:
        if len({each.issuer for each in issuers}) < len(issuers):
            raise ValueError("an issuer may be configured once")
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
        """Read the key that signs checkpoints.

        Raises:
            SettingsError: The key cannot be used, or one of key and origin is not set.
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
        return [each.issuer_of_tokens() for each in self.oidc_issuers]

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
        SettingsError: A variable is missing or wrong; the message names all of them.
    """
    try:
        return Settings()
    except ValidationError as error:
        found = [
            f"REGISTRY_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors()
        ]
        raise SettingsError(f"The environment is not usable: {'; '.join(found)}.") from error

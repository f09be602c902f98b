"""What the environment decides: one frozen object, read once, from `REGISTRY_*`."""

from typing import Annotated

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.deps import Limits
from app.storage.s3 import S3Account

_MIB = 1 << 20


class SettingsError(Exception):
    """The environment is incomplete or wrong; the message names the variables."""


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
    hsts_max_age_s: int = Field(
        default=0, ge=0, description="Above 0 if clients reach the registry by HTTPS alone."
    )
    database_pool_size: int = Field(default=10, ge=1, le=200)

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

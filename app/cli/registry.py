"""The registry that a command works on, checked to be at this release's migration."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from app.db.schema import REVISION, schema_revision
from app.db.session import Sessions, engine_for, sessions_on
from app.domain.errors import OperatorError
from app.settings import Settings, settings_from_environment
from app.storage.s3_client import S3Account


@contextmanager
def opened_registry() -> Iterator[tuple[Sessions, S3Account]]:
    """Yield the session factory and the S3 account of a migrated registry."""
    settings = settings_from_environment()
    require_migrated(settings)
    engine = engine_for(settings.database_url, pool_size=1)
    try:
        with database_errors_reported():
            yield sessions_on(engine), settings.s3_account
    finally:
        engine.dispose()


@contextmanager
def database_errors_reported() -> Iterator[None]:
    """Turn an error of the database into one sentence for the operator."""
    try:
        yield
    except SQLAlchemyError as error:
        raise OperatorError(f"the database refused: {_first_line(error)}") from error


def require_migrated(settings: Settings) -> None:
    """Raise OperatorError unless the tables are at the migration that this release needs."""
    engine = engine_for(settings.database_url, pool_size=1)
    url = make_url(settings.database_url)
    where = f"the database {url.database} at {url.host}"
    try:
        with sessions_on(engine)() as session:
            found = schema_revision(session)
    except SQLAlchemyError as error:
        raise OperatorError(f"{where} does not respond: {_first_line(error)}") from error
    finally:
        engine.dispose()
    if found != REVISION:
        raise OperatorError(
            f"{where} is at migration {found}, and this release needs {REVISION}: "
            "run `prefix-registry migrate`."
        )


def _first_line(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]

"""Local mode: starts the servers, migrates the tables, creates principals, runs the registry."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine

from app.db.migrations import migrate
from app.db.session import Sessions, engine_for, sessions_on
from app.domain.identity.access import EVERYWHERE, Grant, PrincipalKind, Role
from app.local.folder import write_private
from app.local.postgres import SERVICE_ROLE, PostgresServer, running_postgres
from app.local.s3 import S3Endpoint, running_s3
from app.server import app_for, listening_socket, serve, stop_cleanly_on_signals, url_of
from app.services.identity.bootstrap import ensure_principal, ensure_token
from app.settings import Settings
from app.storage.s3 import prepare_bucket
from app.storage.s3_client import S3Account
from app.storage.signing import new_private_key_pem

CREDENTIALS_FILE: Final = "credentials.json"
CHECKPOINT_KEY_FILE: Final = "checkpoint-key.pem"

_TOKEN_LIFETIME: Final = timedelta(days=366)
_PRINCIPALS: Final[Mapping[str, tuple[PrincipalKind, Role]]] = {
    "admin": (PrincipalKind.HUMAN, Role.ADMIN),
    "publisher": (PrincipalKind.SERVICE, Role.PUBLISHER),
    "evaluator": (PrincipalKind.SERVICE, Role.EVALUATOR),
    "approver-1": (PrincipalKind.HUMAN, Role.APPROVER),
    "approver-2": (PrincipalKind.HUMAN, Role.APPROVER),
    "reader": (PrincipalKind.SERVICE, Role.READER),
    "auditor": (PrincipalKind.HUMAN, Role.AUDITOR),
}


@dataclass(frozen=True, slots=True)
class Stores:
    """The database server and the object store of a local registry."""

    postgres: PostgresServer
    s3: S3Endpoint

    @property
    def environment(self) -> dict[str, str]:
        """The settings that a registry needs to use these stores."""
        return {
            "REGISTRY_DATABASE_URL": self.postgres.service_url,
            "REGISTRY_MIGRATION_DATABASE_URL": self.postgres.owner_url,
            "REGISTRY_S3_ENDPOINT_URL": self.s3.endpoint_url,
            "REGISTRY_S3_ACCESS_KEY": self.s3.access_key,
            "REGISTRY_S3_SECRET_KEY": self.s3.secret_key,
            "REGISTRY_S3_BUCKET": self.s3.bucket,
            # No load balancer is in front that would have to notice the end.
            "REGISTRY_UNREADY_S": "0",
        }


def run_local(data: Path, *, port: int, workers: int, announce: Callable[[str], None]) -> None:
    """Serve a complete registry from the folder `data` until SIGINT or SIGTERM.

    A folder of an earlier start is used again, with the same data and tokens.

    Raises:
        LocalServerError: A server cannot run; the message gives the reason and a remedy.
        ListenError: The port is in use.
    """
    stop_cleanly_on_signals()
    data.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        data.chmod(0o711)  # PostgreSQL's own user may pass through but not list it
    with ExitStack() as stack:
        bound = stack.enter_context(listening_socket("127.0.0.1", port))
        stores = stack.enter_context(running_stores(data))
        os.environ.update(stores.environment | _checkpoint_environment(data))
        tokens = prepare(stores, _known_tokens(data))
        _write_credentials(data, url_of(bound), stores, tokens)
        settings = Settings()
        serve(
            bound,
            workers=workers,
            app=lambda: app_for(settings),
            drain_s=settings.drain_s,
            announce=lambda: announce(_greeting(url_of(bound), data / CREDENTIALS_FILE)),
        )


def _greeting(url: str, credentials: Path) -> str:
    """Return the text to print once requests are served, with commands that can be pasted."""
    python = f"{shlex.quote(sys.executable)} -c"
    read = f"import json; print(json.load(open({str(credentials)!r}))['tokens']['publisher'])"
    token = f'"Authorization: Bearer $({python} {shlex.quote(read)})"'
    body = '{"namespace": "acme", "name": "hello", "owner": "admin"}'
    return "\n".join(
        [
            f"Serving {url}; tokens in {credentials}",
            "",
            f"curl {url}/readyz",
            f"curl -H {token} -H 'Content-Type: application/json' -d '{body}' {url}/v1/prefixes",
            f"curl -H {token} {url}/v1/prefixes",
            "",
        ]
    )


@contextmanager
def running_stores(data: Path) -> Iterator[Stores]:
    """Run PostgreSQL and S3 from `data`, started in parallel because each takes seconds."""
    with ExitStack() as stack:
        with ThreadPoolExecutor(1) as executor:
            s3 = executor.submit(stack.enter_context, running_s3(data / "s3", probe=_probe))
            postgres = stack.enter_context(running_postgres(data / "postgres"))
        yield Stores(postgres, s3.result())


def prepare(stores: Stores, known_tokens: Mapping[str, str]) -> dict[str, str]:
    """Migrate the tables and create the first principals; return a token for each, by name."""
    owner = create_engine(stores.postgres.owner_url)
    with owner.begin() as connection:
        migrate(connection, service_role=SERVICE_ROLE)
    owner.dispose()
    engine = engine_for(stores.postgres.service_url, pool_size=1)
    sessions = sessions_on(engine)
    tokens = {name: _token(sessions, name, known_tokens.get(name)) for name in _PRINCIPALS}
    engine.dispose()
    return tokens


def _token(sessions: Sessions, name: str, known: str | None) -> str:
    kind, role = _PRINCIPALS[name]
    grants = {Grant(role, EVERYWHERE)}
    ensure_principal(sessions, name=name, kind=kind, grants=grants)
    return ensure_token(sessions, principal=name, known=known, lifetime=_TOKEN_LIFETIME)


def _checkpoint_environment(data: Path) -> dict[str, str]:
    """Return the settings of the checkpoint signing key, which the first start generates."""
    file = data / CHECKPOINT_KEY_FILE
    if not file.exists():
        write_private(file, new_private_key_pem())
    return {
        "REGISTRY_CHECKPOINT_KEY_FILE": str(file),
        "REGISTRY_CHECKPOINT_ORIGIN": "prefix-registry.local/audit",
    }


def _probe(endpoint: S3Endpoint) -> None:
    account = S3Account(
        endpoint_url=endpoint.endpoint_url,
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        bucket=endpoint.bucket,
    )
    prepare_bucket(account)


def _known_tokens(data: Path) -> dict[str, str]:
    try:
        tokens = json.loads((data / CREDENTIALS_FILE).read_text())["tokens"]
        return {str(name): str(token) for name, token in tokens.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # first start, or a damaged file: issue new tokens


def _write_credentials(data: Path, url: str, stores: Stores, tokens: dict[str, str]) -> None:
    document = {
        "url": url,
        "database_url": stores.postgres.service_url,
        "s3": {
            "endpoint_url": stores.s3.endpoint_url,
            "access_key": stores.s3.access_key,
            "secret_key": stores.s3.secret_key,
            "bucket": stores.s3.bucket,
        },
        "tokens": tokens,
    }
    write_private(data / CREDENTIALS_FILE, json.dumps(document, indent=2))

"""`prefix-registry token`."""

from datetime import timedelta
from typing import Annotated

import typer

from app.cli.registry import the_registry
from app.domain.errors import OperatorError
from app.domain.identity.access import EVERYWHERE, Grant, PrincipalKind, Role
from app.http.deps import clock
from app.services.identity.bootstrap import ensure_principal, ensure_token, first_admin


def run(
    principal: Annotated[str, typer.Argument(help="Who is to hold it; made if missing.")],
    *,
    kind: Annotated[PrincipalKind, typer.Option(help="What to make it.")] = PrincipalKind.HUMAN,
    grant: Annotated[
        list[str] | None, typer.Option(help="ROLE:NAMESPACE for a new principal; repeatable.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is valid.")] = 30,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Make the first admin; refused if there is one.")
    ] = False,
) -> None:
    grants = {_grant(text) for text in grant or []}
    now, lifetime = clock(), timedelta(days=days)
    with the_registry() as (sessions, _):
        if bootstrap:
            made = first_admin(sessions, name=principal, grants=grants, lifetime=lifetime, now=now)
            typer.echo(made)
            return
        ensure_principal(sessions, name=principal, kind=kind, grants=grants, now=now)
        typer.echo(
            ensure_token(sessions, principal=principal, known=None, lifetime=lifetime, now=now)
        )


def _grant(text: str) -> Grant:
    role, separator, namespace = text.partition(":")
    if role not in set(Role) or not separator or not namespace:
        roles = ", ".join(Role)
        message = f"A grant is ROLE:NAMESPACE, such as admin:{EVERYWHERE}; the roles are {roles}."
        raise OperatorError(message)
    return Grant(Role(role), namespace)

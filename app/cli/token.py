"""`prefix-registry token`."""

from datetime import timedelta
from typing import Annotated

import typer

from app.cli.registry import opened_registry
from app.domain.errors import OperatorError
from app.domain.identity.access import EVERYWHERE, Grant, PrincipalKind, Role
from app.domain.naming import is_namespace
from app.services.identity.bootstrap import ensure_principal, ensure_token, first_admin


def token(
    principal: Annotated[
        str, typer.Argument(help="Principal that holds the token; created if missing.")
    ],
    *,
    kind: Annotated[
        PrincipalKind, typer.Option(help="Kind of a new principal.")
    ] = PrincipalKind.HUMAN,
    grant: Annotated[
        list[str] | None, typer.Option(help="ROLE:NAMESPACE for a new principal; repeatable.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="Lifetime of the token.")] = 30,
    bootstrap: Annotated[
        bool,
        typer.Option("--bootstrap", help="Create the first admin; refused if there is an admin."),
    ] = False,
) -> None:
    grants = {_grant(text) for text in grant or []}
    lifetime = timedelta(days=days)
    with opened_registry() as (sessions, _):
        if bootstrap:
            issued = first_admin(sessions, name=principal, grants=grants, lifetime=lifetime)
        else:
            ensure_principal(sessions, name=principal, kind=kind, grants=grants)
            issued = ensure_token(sessions, principal=principal, known=None, lifetime=lifetime)
    typer.echo(issued)


def _grant(text: str) -> Grant:
    role, _, namespace = text.partition(":")
    if role not in set(Role) or not (namespace == EVERYWHERE or is_namespace(namespace)):
        roles = ", ".join(Role)
        message = (
            f"A grant is ROLE:NAMESPACE, such as admin:{EVERYWHERE}; the roles are {roles}, and "
            "namespaces are in lower case."
        )
        raise OperatorError(message)
    return Grant(Role(role), namespace)

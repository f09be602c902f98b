"""The access of every role to every route: a test compares the server, and a page shows it."""

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from app.domain.identity.access import Role

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "access.md"

READER, PUBLISHER, EVALUATOR, APPROVER, ADMIN, AUDITOR = Role
WORKERS = frozenset({PUBLISHER, EVALUATOR, APPROVER, ADMIN})
CONSUMERS = WORKERS | {READER}
EVERY_ROLE = frozenset(Role)


class Scope(Enum):
    """Where a role must be held to open a route."""

    NOWHERE = "nothing: any valid token"
    PREFIX = "on the prefix's namespace"
    NAMESPACE = "on the namespace that the request names"
    SOMEWHERE = "on some namespace"
    EVERYWHERE = "on every namespace (`*`)"


class Held(Enum):
    """Where a caller holds its role, relative to the prefix in the request."""

    HERE = "here"
    EVERYWHERE = "everywhere"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Access:
    """The roles that open a route, and where they must be held.

    `answers` is the status for admitted callers, if it is not a success.
    """

    roles: frozenset[Role]
    scope: Scope
    remark: str = ""
    is_open: bool = False
    answers: int | None = None

    def refusal(self, role, held):
        """Return the status that refuses a role, or None if the role opens the route.

        A caller without any role has the role None.
        """
        if self.scope is Scope.NOWHERE:
            return None
        if self.scope is Scope.EVERYWHERE:
            return None if role in self.roles and held is Held.EVERYWHERE else 403
        if self.scope is Scope.SOMEWHERE:
            return None if role in self.roles else 403
        if role in self.roles and held is not Held.ELSEWHERE:
            return None
        if self.scope is Scope.NAMESPACE:
            return 403
        return 403 if role in WORKERS and held is not Held.ELSEWHERE else 404


def open_to(*roles, scope, **more):
    return Access(frozenset(roles), scope, **more)


OPEN = Access(EVERY_ROLE, Scope.NOWHERE, "no token is needed", is_open=True)
EVERY_CALLER = Access(EVERY_ROLE, Scope.NOWHERE)
FILTERED = Access(EVERY_ROLE, Scope.NOWHERE, "lists only objects visible to the caller")
SERVED = Access(CONSUMERS, Scope.PREFIX, "readers: only versions that a channel serves")
WORK = Access(WORKERS, Scope.PREFIX)
KNOWN = Access(CONSUMERS, Scope.SOMEWHERE)
DEFINED = Access(WORKERS, Scope.SOMEWHERE)
PUBLISHES = open_to(PUBLISHER, scope=Scope.PREFIX)
CONTROLS = open_to(EVALUATOR, scope=Scope.EVERYWHERE)
EVALUATES = open_to(EVALUATOR, scope=Scope.PREFIX)
APPROVES = open_to(APPROVER, scope=Scope.PREFIX)
GOVERNS = open_to(ADMIN, scope=Scope.PREFIX)
CREATES = open_to(PUBLISHER, scope=Scope.NAMESPACE)
RULES = open_to(ADMIN, scope=Scope.EVERYWHERE)
AUDITS = open_to(AUDITOR, scope=Scope.EVERYWHERE)

_PREFIX = "/v1/prefixes/{namespace}/{name}"
_VERSION = f"{_PREFIX}/versions/{{number}}"
_CHANNEL = f"{_PREFIX}/channels/{{channel}}"
_PROMOTION = "/v1/promotions/{promotion_id}"
_MODEL = "/api/models/{namespace}/{name}"
_FILE = "/{namespace}/{name}/resolve/{revision}/{path:path}"

ROUTES = {
    ("POST", "/v1/base-models"): open_to(PUBLISHER, scope=Scope.SOMEWHERE),
    ("GET", "/v1/base-models/{digest}"): KNOWN,
    ("POST", "/v1/base-models/{digest}/evaluations"): CONTROLS,
    ("GET", "/v1/base-models/{digest}/evaluations"): DEFINED,
    ("POST", "/v1/base-models/{digest}/evaluations/lm-eval"): CONTROLS,
    ("POST", "/v1/base-models/{digest}/evaluations/inspect"): CONTROLS,
    ("POST", "/v1/prefixes"): CREATES,
    ("GET", "/v1/prefixes"): FILTERED,
    ("GET", _PREFIX): SERVED,
    ("GET", "/v1/namespaces/{namespace}/quota"): WORK,
    ("PUT", "/v1/namespaces/{namespace}/quota"): RULES,
    ("POST", f"{_PREFIX}/uploads"): PUBLISHES,
    ("POST", f"{_PREFIX}/versions"): PUBLISHES,
    ("GET", f"{_PREFIX}/versions"): SERVED,
    ("GET", _VERSION): SERVED,
    ("GET", f"{_VERSION}/files/{{file}}"): SERVED,
    ("GET", f"{_VERSION}/near-copies"): SERVED,
    ("GET", f"{_VERSION}/near-copies/totals"): SERVED,
    ("GET", f"{_VERSION}/pulls"): APPROVES,
    ("POST", f"{_VERSION}/revoke"): APPROVES,
    ("POST", f"{_VERSION}/evaluations"): EVALUATES,
    ("POST", f"{_VERSION}/evaluations/lm-eval"): EVALUATES,
    ("POST", f"{_VERSION}/evaluations/inspect"): EVALUATES,
    ("GET", f"{_VERSION}/evaluations"): WORK,
    ("GET", f"{_VERSION}/gate"): WORK,
    ("POST", "/v1/evaluations/{evaluation_id}/void"): open_to(
        APPROVER, scope=Scope.PREFIX, remark="not by its author; a control run: on `*`"
    ),
    ("GET", "/v1/evaluations/{evaluation_id}/files/{file}"): WORK,
    ("POST", "/v1/suites"): RULES,
    ("GET", "/v1/suites/{name}/{version}"): DEFINED,
    ("GET", "/v1/suites/{name}/{version}/manifest"): DEFINED,
    ("POST", "/v1/policies"): RULES,
    ("POST", "/v1/policies/plan"): DEFINED,
    ("GET", "/v1/policies/{name}/{version}"): DEFINED,
    ("PUT", _CHANNEL): GOVERNS,
    ("GET", _CHANNEL): SERVED,
    ("GET", f"{_CHANNEL}/history"): SERVED,
    ("POST", f"{_CHANNEL}/rollback"): APPROVES,
    ("POST", f"{_PREFIX}/promotions"): PUBLISHES,
    ("GET", "/v1/promotions"): FILTERED,
    ("GET", _PROMOTION): WORK,
    ("GET", f"{_PROMOTION}/attestation"): WORK,
    ("GET", f"{_PROMOTION}/replay"): WORK,
    ("POST", f"{_PROMOTION}/reviews"): open_to(
        APPROVER, scope=Scope.PREFIX, remark="not by contributors, as the policy says"
    ),
    ("POST", f"{_PROMOTION}/withdraw"): open_to(
        PUBLISHER, scope=Scope.PREFIX, remark="only by its requester"
    ),
    ("POST", f"{_PROMOTION}/break-glass"): GOVERNS,
    ("GET", "/v1/resolve/{namespace}/{name}"): SERVED,
    ("GET", "/v1/audit"): AUDITS,
    ("GET", "/v1/audit/verify"): AUDITS,
    ("GET", "/v1/audit/export"): AUDITS,
    ("POST", "/v1/audit/checkpoints"): RULES,
    ("GET", "/v1/audit/checkpoints"): AUDITS,
    ("GET", "/v1/audit/checkpoint"): AUDITS,
    ("GET", "/v1/audit/checkpoint/key"): AUDITS,
    ("GET", "/v1/audit/proofs/inclusion"): AUDITS,
    ("GET", "/v1/audit/proofs/consistency"): AUDITS,
    ("GET", "/v1/me"): EVERY_CALLER,
    ("POST", "/v1/principals"): RULES,
    ("GET", "/v1/principals"): RULES,
    ("GET", "/v1/principals/{principal}"): RULES,
    ("DELETE", "/v1/principals/{principal}"): RULES,
    ("PUT", "/v1/principals/{principal}/identities"): RULES,
    ("PUT", "/v1/grants"): RULES,
    ("POST", "/v1/tokens"): RULES,
    ("GET", "/v1/tokens"): RULES,
    ("DELETE", "/v1/tokens/{token_id}"): RULES,
    ("GET", "/api/whoami-v2"): EVERY_CALLER,
    ("POST", "/api/validate-yaml"): EVERY_CALLER,
    ("POST", "/api/repos/create"): CREATES,
    ("POST", f"{_MODEL}/preupload/{{revision}}"): PUBLISHES,
    ("GET", f"{_MODEL}/xet-write-token/{{revision}}"): open_to(
        PUBLISHER, scope=Scope.PREFIX, remark="the response says to use Git LFS", answers=422
    ),
    ("POST", "/{namespace}/{name}.git/info/lfs/objects/batch"): PUBLISHES,
    ("POST", f"{_MODEL}/commit/{{revision}}"): PUBLISHES,
    ("GET", _MODEL): SERVED,
    ("GET", f"{_MODEL}/revision/{{revision}}"): SERVED,
    ("GET", f"{_MODEL}/tree/{{revision}}"): SERVED,
    ("GET", f"{_MODEL}/refs"): SERVED,
    ("GET", _FILE): SERVED,
    ("HEAD", _FILE): SERVED,
    **{(method, path): OPEN for path in ("/docs", "/openapi.json") for method in ("GET", "HEAD")},
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): OPEN,
}

_VERSION_PAGE = "/admin/prefixes/{namespace}/{name}/versions/{number}"
_GATE_PAGE = f"{_VERSION_PAGE}/gate/{{channel}}"
_PROMOTION_PAGE = "/admin/promotions/{promotion_id}"
SIGN_IN = replace(OPEN, remark="opens a session")

# Pages take the session of a signed-in caller instead of a token.
PAGES = {
    ("GET", "/admin/sign-in"): OPEN,
    ("POST", "/admin/sign-in"): SIGN_IN,
    ("POST", "/admin/sign-in/{issuer}"): SIGN_IN,
    ("GET", "/admin/sign-in/{issuer}/callback"): SIGN_IN,
    ("POST", "/admin/sign-out"): EVERY_CALLER,
    ("GET", "/admin/"): FILTERED,
    ("GET", "/admin/reviews"): FILTERED,
    ("GET", "/admin/promotions"): FILTERED,
    ("GET", _PROMOTION_PAGE): WORK,
    ("POST", f"{_PROMOTION_PAGE}/reviews"): ROUTES["POST", f"{_PROMOTION}/reviews"],
    ("POST", f"{_PROMOTION_PAGE}/withdraw"): ROUTES["POST", f"{_PROMOTION}/withdraw"],
    ("POST", f"{_PROMOTION_PAGE}/break-glass"): GOVERNS,
    ("GET", "/admin/prefixes"): FILTERED,
    ("GET", "/admin/prefixes/{namespace}/{name}"): SERVED,
    ("GET", _VERSION_PAGE): SERVED,
    ("POST", f"{_VERSION_PAGE}/revoke"): APPROVES,
    ("GET", f"{_VERSION_PAGE}/pulls"): APPROVES,
    ("GET", _GATE_PAGE): WORK,
    ("POST", _GATE_PAGE): PUBLISHES,
    ("POST", f"{_GATE_PAGE}/break-glass"): GOVERNS,
    ("GET", "/admin/policies"): DEFINED,
    ("GET", "/admin/policies/{name}/{number}"): DEFINED,
    ("GET", "/admin/base-models"): KNOWN,
    ("GET", "/admin/audit"): AUDITS,
    ("GET", "/admin/{path:path}"): replace(
        EVERY_CALLER, remark="any other page: it does not exist", answers=404
    ),
}

_INTRODUCTION = """\
# Roles and routes

`python -m tests.api.access` writes this page.
The same table drives a test that calls every route as every kind of caller.

## Roles

A role is granted on a namespace, or on `*`, which means all of them.
No role implies another.

| role | may |
| --- | --- |
| reader | resolve, and download the versions that a channel serves now; not read evidence |
| publisher | register base models, create prefixes, push versions, request promotions |
| evaluator | record evaluations, evaluate the gate without a request |
| approver | review promotions, void evaluations of others, roll back, revoke, list pulls |
| admin | bind channels, execute by break-glass; on `*` also suites, policies, principals, tokens |
| auditor | read, verify and export the audit log, and nothing else |

## Routes

- **yes**: the role opens the route, if it is held where the column *must be held* says.
  A number is the status with which the role is refused.
- *elsewhere*: the same roles, held on another namespace only.
  Objects that such a caller may not see are reported like objects that do not exist: 404, with \
the same message, at the cost of the same queries.
- Without a token, or with one that is unknown, expired or revoked, every route responds 401 \
except the open ones.
- A token that is limited to channels has the rights of a reader, regardless of its holder's \
roles, and sees the versions that these channels serve.

{head}
{rule}
"""

_PAGES = """
## Pages

The pages under `/admin` follow the API: a page that shows an object, or acts on it, opens to the \
same roles as the route that returns it.
Without a session every page redirects to the sign-in page, except the open ones; a form without \
the CSRF token of its session is refused with 403.
Files under `/admin/static` are open.

{head}
{rule}
"""


def _cell(access, role, held):
    refused = access.refusal(role, held)
    return "yes" if refused is None else str(refused)


def _elsewhere(access):
    if access.scope in (Scope.NOWHERE, Scope.SOMEWHERE):
        return "the same"
    return " or ".join(sorted({_cell(access, role, Held.ELSEWHERE) for role in Role}))


def _row(route, access):
    method, path = route
    where = Held.EVERYWHERE if access.scope is Scope.EVERYWHERE else Held.HERE
    cells = [_cell(access, role, where) for role in Role]
    scope = "open" if access.is_open else access.scope.value
    shown = path.replace(":path}", "}")
    no_role = _cell(access, None, Held.ELSEWHERE)
    columns = [f"`{method} {shown}`", scope, *cells, _elsewhere(access), no_role, access.remark]
    return f"| {' | '.join(columns)} |\n"


def rendered():
    columns = ["route", "must be held", *Role, "elsewhere", "no role", "remark"]
    head, rule = f"| {' | '.join(columns)} |", f"| {' | '.join(['---'] * len(columns))} |"
    return "".join(
        introduction.format(head=head, rule=rule)
        + "".join(_row(route, access) for route, access in routes.items())
        for introduction, routes in ((_INTRODUCTION, ROUTES), (_PAGES, PAGES))
    )


def main():
    PAGE.write_text(rendered())


if __name__ == "__main__":
    main()

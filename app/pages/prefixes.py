"""Prefix pages: the list, and one prefix with versions, channels, timeline and scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BeforeValidator

from app.db.base_models import base_model_by_digest
from app.db.channels import allocations_of, channels_of
from app.db.models import Channel, PolicyRow
from app.db.paging import PageRequest
from app.db.policies import newest_policies, policy_of
from app.db.prefixes import PrefixFilter, prefixes_page
from app.db.promotions import recent_requests
from app.db.score_history import Score, score_history
from app.db.timeline import timeline
from app.db.versions import versions_listed
from app.domain.governance.allocation import Share
from app.domain.naming import PrefixName
from app.http.deps import Now, PrefixPath, SessionsDep
from app.pages.inputs import Cursor, DigestQuery, SearchText
from app.pages.login.session_cookies import Visitor
from app.pages.presentation import shell_commands
from app.pages.rendering import origin_of, page
from app.services.identity.visibility import visible_prefix

router = APIRouter()

# A form sends an empty field as an empty string. A time without a zone is UTC, as on all pages.
Moment = Annotated[
    datetime | None,
    BeforeValidator(lambda text: f"{text}Z" if text and len(text) == 16 else text or None),  # noqa: PLR2004
    Query(),
]


@dataclass(frozen=True, slots=True)
class Plot:
    """A metric's scores by version, and the limits set by the channels' policies."""

    metric: str
    scores: Sequence[Score]
    limits: Sequence[tuple[str, float]]


@router.get("/prefixes")
def every_prefix(
    request: Request,
    visit: Visitor,
    sessions: SessionsDep,
    q: SearchText = "",
    base_model: DigestQuery = None,
    cursor: Cursor = None,
) -> Response:
    """List prefixes by name; with `base_model`, those with a version for it."""
    wanted = PrefixFilter(base_model=base_model, query=q or None)
    with sessions() as session:
        found = prefixes_page(session, visit.caller, wanted, PageRequest(50, cursor))
        channels = channels_of(session, [prefix.id for prefix in found.items])
        every = [channel for each in channels.values() for channel in each]
        return page(
            request,
            "prefixes.html",
            visit=visit,
            prefixes=found.items,
            following=found.next,
            channels=_readable(channels, visit.caller.can_see_channel),
            allocations=allocations_of(session, every),
            searched=q,
            base_model=base_model,
            base=base_model_by_digest(session, base_model) if base_model else None,
            line=shell_commands.prefix(origin_of(request)),
            base_line=shell_commands.base_model(origin_of(request)),
        )


@router.get("/prefixes/{namespace}/{name}")
def prefix(
    request: Request,
    prefix: PrefixPath,
    visit: Visitor,
    sessions: SessionsDep,
    now: Now,
    at: Moment = None,
) -> Response:
    """Show a prefix; with `at`, its timeline up to that time."""
    caller, sees_all = visit.caller, visit.caller.can_see_unreleased(prefix.namespace)
    with sessions() as session:
        row = visible_prefix(session, caller, prefix)
        versions = versions_listed(session, row, released_to=None if sees_all else caller)
        channels = _readable(channels_of(session, [row.id]), caller.can_see_channel).get(row.id, [])
        allocations = allocations_of(session, channels) if channels else {}
        generations = timeline(session, caller, row, until=at) if channels else []
        policies = [] if channels else newest_policies(session, limit=1)
        scores = score_history(session, row) if sees_all else []
        requests = recent_requests(session, row) if sees_all else []
    base = versions[0].base_model.digest if versions else None
    return page(
        request,
        "prefix.html",
        visit=visit,
        now=now,
        prefix=row,
        versions=versions,
        channels=channels,
        allocations=allocations,
        serving=_serving(channels, allocations),
        generations=generations,
        plots=_plots(scores, channels),
        requests=requests,
        whole=sees_all,
        at=at,
        push_line=shell_commands.push(origin_of(request), prefix, base),
        channel_line=_channel_line(request, prefix, policies),
    )


def _channel_line(
    request: Request, prefix: PrefixName, policies: Sequence[PolicyRow]
) -> str | None:
    """Return the line that makes the first channel, under a policy if there is one yet."""
    if not policies:
        return None
    policy = (policies[0].name, policies[0].version)
    return shell_commands.channel(origin_of(request), prefix, policy)


def _readable(
    channels: Mapping[UUID, list[Channel]], readable: Callable[[str], bool]
) -> dict[UUID, list[Channel]]:
    return {
        id_: [channel for channel in each if readable(channel.name)]
        for id_, each in channels.items()
    }


def _serving(
    channels: Sequence[Channel], allocations: Mapping[UUID, list[Share]]
) -> dict[int, list[str]]:
    """Return the names of the channels that serve each version now, by version number."""
    found: dict[int, list[str]] = {}
    for channel in channels:
        for share in allocations.get(channel.id, []):
            found.setdefault(share.version, []).append(channel.name)
    return found


def _plots(scores: Sequence[Score], channels: Sequence[Channel]) -> list[Plot]:
    limits: dict[str, dict[tuple[str, float], None]] = {}
    for channel in channels:
        for rule in policy_of(channel.policy).rules:
            for limit in (rule.at_least, rule.at_most):
                if limit is not None:
                    limits.setdefault(rule.metric, {})[channel.name, limit] = None
    metrics = dict.fromkeys(score.metric for score in scores)
    return [
        Plot(
            metric,
            [score for score in scores if score.metric == metric],
            list(limits.get(metric, ())),
        )
        for metric in metrics
    ]

"""Checks the consistency of a registry's tables, with a sentence for each violation."""

from collections import Counter, defaultdict

from sqlalchemy import func, select, text

from app.db.models import (
    AuditChain,
    AuditEntry,
    Channel,
    EvaluationCell,
    EvaluationRow,
    EvaluationScores,
    Generation,
    GenerationShare,
    Prefix,
    PrefixBaseModel,
    Promotion,
    PromotionShare,
    ReviewRow,
    Version,
    VersionFile,
)
from app.db.quotas import counted_use, recorded_use
from app.domain.artifacts.quotas import Stored
from app.domain.identity.access import SYSTEM
from app.services.audit.replay import replay
from tests.support.builders import LOCALES, PERSONAS

CELLS = len(PERSONAS) * len(LOCALES)
FILES = 2


def inconsistencies(sessions):
    """Yield every inconsistency of the tables."""
    with sessions() as session:
        yield from incomplete_rows(session)
        yield from gaps(session)
        yield from unrecorded(session)
        yield from miscounted(session)
        yield from differing_decisions(sessions, session)
        yield from idle_transactions(session)


def miscounted(session):
    """Yield the namespaces whose quota counts other versions or bytes than there are."""
    recorded, counted = recorded_use(session), counted_use(session)
    if not counted:
        yield "no namespace stores anything"
    for namespace in {*recorded, *counted}:
        here, there = recorded.get(namespace, Stored()), counted.get(namespace, Stored())
        if here != there:
            yield f"the quota of {namespace} counts {here}, and its rows are {there}"


def incomplete_rows(session):
    """Yield rows without the child rows that belong to the same transaction."""

    def counted(parent, child, key):
        statement = select(parent.id, func.count(key)).outerjoin(child, key == parent.id)
        return session.execute(statement.group_by(parent.id))

    for parent, child, key, wanted in [
        (Version, VersionFile, VersionFile.version_id, FILES),
        (EvaluationRow, EvaluationCell, EvaluationCell.evaluation_id, CELLS),
        (EvaluationRow, EvaluationScores, EvaluationScores.evaluation_id, CELLS),
        (Promotion, PromotionShare, PromotionShare.promotion_id, 1),
    ]:
        for row_id, count in counted(parent, child, key):
            if count != wanted:
                yield f"{parent.__name__} {row_id} has {count} {child.__name__}, not {wanted}"
    pushed = select(Version.base_model_id, Prefix.namespace, Prefix.name).join(Version.prefix)
    bound = select(PrefixBaseModel.base_model_id, PrefixBaseModel.namespace, PrefixBaseModel.name)
    one_sided = set(session.execute(pushed)) ^ set(session.execute(bound))
    yield from (f"{key} is bound without a version, or the reverse" for key in one_sided)
    shares = (GenerationShare.channel_id, GenerationShare.number)
    served = dict.fromkeys(session.execute(select(Generation.channel_id, Generation.number)), 0)
    statement = select(*shares, func.sum(GenerationShare.weight)).group_by(*shares)
    served |= {(channel, number): weight for channel, number, weight in session.execute(statement)}
    yield from (
        f"generation {key} serves {w} of 10,000" for key, w in served.items() if w != 10_000
    )


def gaps(session):
    """Yield owners whose numbers are not 1, 2, 3 ... up to their counter."""
    for counters, owner, number in [
        (select(Prefix.id, Prefix.last_number), Version.prefix_id, Version.number),
        (select(Channel.id, Channel.generation), Generation.channel_id, Generation.number),
        (
            select(AuditChain.subject, AuditChain.length),
            AuditEntry.subject,
            AuditEntry.sequence,
        ),
    ]:
        numbers = defaultdict(list)
        for key, each in session.execute(select(owner, number).order_by(number)):
            numbers[key].append(each)
        for key, last in session.execute(counters):
            if numbers[key] != list(range(1, last + 1)):
                yield f"{owner} {key} counts to {last} and has {numbers[key]}"


def unrecorded(session):
    """Yield state without its audit entry, and audit entries without their state."""
    entries = defaultdict(Counter)
    for action, facts in session.execute(select(AuditEntry.action, AuditEntry.facts)):
        entries[action][identity(action, facts)] += 1

    def rows(*columns, where=True):
        found = session.execute(select(*columns).where(where))
        return Counter(tuple(str(value) for value in row) for row in found)

    moves = (Generation.channel_id, Generation.number)
    for action, present in {
        "version.push": rows(Version.id),
        "evaluation.record": rows(EvaluationRow.id),
        "promotion.request": rows(Promotion.id),
        "promotion.approve": rows(ReviewRow.promotion_id),
        "promotion.execute": rows(*moves, where=Generation.kind == "promotion"),
        "channel.rollback": rows(*moves, where=Generation.kind == "rollback"),
        "promotion.supersede": rows(Promotion.id, where=Promotion.state == "superseded"),
    }.items():
        if present != entries[action]:
            missing, superfluous = present - entries[action], entries[action] - present
            yield f"{action}: without an entry {missing}, entries of nothing {superfluous}"


def identity(action, facts):
    """Return the key of the row that an entry is about, as `unrecorded` builds it."""
    if action in ("promotion.execute", "channel.rollback"):
        return facts["channel_id"], str(facts["generation"])
    about = {"version": "version_id", "evaluation": "evaluation_id", "promotion": "promotion_id"}
    return (facts.get(about.get(action.partition(".")[0], "")),)


def differing_decisions(sessions, session):
    """Yield promotions whose replayed decision differs from the stored one."""
    for promotion_id in session.scalars(select(Promotion.id)):
        found = replay(sessions, promotion_id=promotion_id, caller=SYSTEM)
        if found.differences:
            yield f"the replay of promotion {promotion_id} differs: {found.differences}"


def idle_transactions(session):
    statement = text(
        "SELECT pid, query FROM pg_stat_activity"
        " WHERE state LIKE 'superfluous in transaction%' AND state_change < now() - interval '2 s'"
    )
    yield from (f"process {pid} waits after {query}" for pid, query in session.execute(statement))

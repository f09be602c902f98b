"""The number of SQL statements of requests, which does not grow with the data; and query plans."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

from app.db.evaluations import recent_evaluations
from app.db.models import Base, Prefix
from app.db.overview import Count, counts
from app.db.paging import PageRequest
from app.db.prefixes import PrefixFilter, prefixes_page
from app.db.promotions import executed_with
from app.db.session import expect
from app.db.versions import version_at_revision, version_numbered, versions_page
from app.domain.identity.access import SYSTEM, Grant, Role
from app.domain.naming import PrefixName
from tests.support.builders import World, a_digest
from tests.support.session.in_process import InProcessClient
from tests.support.statements import asked_of


@pytest.fixture(scope="module")
def statements(engine):
    """Collect the SQL statements that are executed during a block.

    Writes of a token's last use are left out, because they happen beside the requests.
    """

    @contextmanager
    def statements():
        counted = []

        def count(_connection, _cursor, statement, *_rest):
            if not statement.startswith("UPDATE api_token SET last_used_at"):
                counted.append(statement)

        event.listen(engine, "before_cursor_execute", count)
        try:
            yield counted
        finally:
            event.remove(engine, "before_cursor_execute", count)

    return statements


def plan_of(session, statement, parameters):
    rows = session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
    return "\n".join(line for (line,) in rows)


def relationships():
    mappers = sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__)
    return [relation for mapper in mappers for relation in mapper.relationships]


def test_the_relationships_are_found():
    assert len(relationships()) > 10


@pytest.mark.parametrize("relation", relationships(), ids=str)
def test_no_relationship_is_loaded_implicitly(relation):
    assert relation.lazy == "raise"


def test_resolving_takes_three_statements_for_any_history(world, statements):
    def resolving():
        with statements() as counted:
            assert world.resolve(unit="user-1").status_code == 200
        return len(counted)

    world.a_live_version(seed=0)
    after_one = resolving()
    for seed in (1, 2):
        world.a_live_version(seed=seed)
    world.an_evaluated_version(seed=3)
    allocation = [{"version": 3, "weight": 6000}, {"version": 4, "weight": 4000}]
    world.approve(world.request(allocation=allocation).json())

    assert after_one == resolving() <= 3


def test_authentication_takes_one_statement_for_any_number_of_grants(world, statements):
    grants = [("reader", f"ns-{number}") for number in range(20)]
    _, token = world.a_principal(None, *grants)
    with statements() as counted:
        world.call("GET", f"/v1/base-models/{a_digest()}", by=token)
    assert len(counted) == 2  # the token, and the base model


def fill(world, seed):
    """Add a live version with two evaluations and a pending promotion, and a prefix."""
    version = world.a_live_version(seed=seed)
    world.evaluate(version)
    world.review(world.a_promotion(seed=seed + 100), by="approver-1")
    world.a_prefix(name=f"voice-{seed}")


LISTS = {
    "prefixes": ("/v1/prefixes", "publisher", {"namespace": "{namespace}"}),
    "versions": ("{path}/versions", "publisher", {}),
    "evaluations": ("{path}/versions/1/evaluations", "publisher", {}),
    "history": ("{path}/channels/production/history", "publisher", {}),
    "promotions": ("/v1/promotions", "insider", {}),
    "audit": ("/v1/audit", "auditor", {"subject": "prefix:{prefix}"}),
    "verification": ("/v1/audit/verify", "auditor", {"subject": "prefix:{prefix}"}),
    "gate": ("{path}/versions/1/gate", "evaluator", {"channel": "production"}),
}


def cost(statements, world, name):
    path, by, query = LISTS[name]
    facts = {"namespace": world.namespace, "path": world.path, "prefix": world.prefix}
    params = {key: value.format(**facts) for key, value in query.items()}
    with statements() as counted:
        world.made("GET", path.format(**facts), by=by, params=params)
    return len(counted)


@pytest.fixture(scope="module")
def costs(app, tokens, statements):
    """The number of statements of each list, with few rows and with three times as many."""
    with InProcessClient(app) as client:
        world = World(client, dict(tokens))
        _, world.tokens["insider"] = world.a_principal(None, ("publisher", world.namespace))
        fill(world, 0)
        few = {name: cost(statements, world, name) for name in LISTS}
        for seed in (1, 2):
            fill(world, seed)
        many = {name: cost(statements, world, name) for name in LISTS}
    return few, many


@pytest.mark.parametrize("name", LISTS)
def test_a_list_takes_as_many_statements_for_many_rows_as_for_few(costs, name):
    few, many = costs
    assert 2 <= few[name] == many[name]


def test_a_missing_row_that_must_exist_is_an_error():
    with pytest.raises(LookupError):
        expect(None)


def test_the_promotions_that_made_a_version_live_are_found_latest_first(world, sessions):
    world.a_live_version(seed=1)
    world.a_live_version(seed=2)
    world.approve(world.request({"number": 1}).json())
    world.withdraw(world.request({"number": 2}).json())

    with sessions() as session:
        version = expect(version_numbered(session, PrefixName(world.namespace, "voice"), 1))
        found = executed_with(session, version)

    assert [promotion.channel.name for promotion in found] == ["production"] * 2
    assert found[0].created_at > found[1].created_at
    assert {len(promotion.reviews) for promotion in found} == {2}


def test_the_latest_evaluations_of_a_version_are_found(world, sessions):
    version = world.an_evaluated_version()
    latest = world.evaluate(version).json()

    with sessions() as session:
        row = expect(version_numbered(session, PrefixName(world.namespace, "voice"), 1))
        (found,) = recent_evaluations(session, row, SYSTEM, limit=1)

    assert str(found.id) == latest["id"]


def test_a_page_of_versions_is_read_in_the_order_of_its_index(world, sessions, engine):
    """A sort would read every version of the prefix for each page."""
    world.a_version()
    with sessions.begin() as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        session.execute(text("SET LOCAL enable_sort = off"))  # sorts only if unavoidable
        with asked_of(engine) as asked:
            versions_page(session, PrefixName(world.namespace, "voice"), PageRequest())
        plan = plan_of(session, *asked[0])

    assert "Index Scan Backward using uq_version_prefix_id_number" in plan
    assert "Sort" not in plan


PART_OF_A_NAME = st.text("abe-._/9'\\\\%_:*&|!()<>ÄK \t", max_size=6)


@pytest.fixture(scope="module")
def many_prefixes(engine):
    """Add more prefixes than a search scans, and remove them at the end."""
    add = """
        INSERT INTO prefix
            (id, namespace, name, owner_id, created_by_id, created_at, description, intended_uses)
        SELECT gen_random_uuid(), 'many-' || n % 3, 'a.B_' || to_hex(n * 7919),
            id, id, now(), '', '{}'
        FROM generate_series(1, 2600) AS n, principal WHERE principal.name = 'admin'
    """
    with engine.connect() as connection:
        connection.execute(text(add))
        yield Session(connection, join_transaction_mode="create_savepoint")
        connection.rollback()


def searched(session, part, limit=50):
    """Return the full names of the prefixes that a search finds, read page by page."""
    found, request = [], PageRequest(limit)
    while request is not None:
        page = prefixes_page(session, SYSTEM, PrefixFilter(query=part), request)
        assert len(page.items) <= limit
        found += [str(prefix.full_name) for prefix in page.items]
        request = page.next and PageRequest(limit, page.next)
    return found


@pytest.fixture(scope="module")
def names(many_prefixes):
    statement = select(Prefix.namespace, Prefix.name).order_by(Prefix.namespace, Prefix.name)
    return ["/".join(row) for row in many_prefixes.execute(statement)]


@given(PART_OF_A_NAME)
@example("")
@example("MANY-2/A.b_")
@example("2/a")
@example("_")
@example("\\")
@example("':*")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_search_finds_every_prefix_whose_name_contains_the_text(many_prefixes, names, part):
    expected = [name for name in names if part.lower() in name.lower()]
    assert searched(many_prefixes, part, limit=500) == expected


@pytest.mark.parametrize("part", ["many-2/a.b_1", "9", "no-such-name"])
def test_a_search_reads_the_matching_names_and_a_bounded_number_of_others(
    many_prefixes, engine, part
):
    with many_prefixes.begin_nested() as nested:
        many_prefixes.execute(text("SET LOCAL enable_seqscan = off"))  # there are no statistics
        with asked_of(engine) as asked:
            searched(many_prefixes, part)
        scan, search = (plan_of(many_prefixes, *each) for each in asked[-2:])
        nested.rollback()

    assert "Limit" in scan
    assert "uq_prefix_namespace_name" in scan
    assert "Bitmap Index Scan on ix_prefix_name_endings" in search
    assert "Seq Scan on prefix" not in scan + search


def counted(session, namespace="*", most=10_000):
    caller = replace(SYSTEM, grants=frozenset({Grant(Role.PUBLISHER, namespace)}))
    return counts(session, caller, datetime(2026, 1, 1, tzinfo=UTC), most=most)


def test_the_overview_counts_up_to_a_limit_and_shows_it(many_prefixes):
    assert counted(many_prefixes, most=1000).prefixes == Count(1000, more=True)
    assert counted(many_prefixes, "many-0", most=866).prefixes == Count(866)
    assert counted(many_prefixes, "many-0", most=865).prefixes == Count(865, more=True)


def test_the_overview_counts_the_objects_of_the_caller(world, many_prefixes):
    world.a_live_version()
    world.a_version(seed=1)
    world.a_prefix(name="idle")
    world.revoke(world.a_version(seed=2))
    world.a_channel("preview")

    found = counted(many_prefixes, world.namespace)

    assert (found.prefixes, found.versions, found.revoked) == (Count(2), Count(3), Count(1))
    assert (found.channels, found.live_channels) == (Count(2), Count(1))


def test_a_version_is_found_by_its_revision(world, sessions):
    version = world.a_version()
    prefix = PrefixName(world.namespace, "voice")
    with sessions() as session:
        found = version_at_revision(session, prefix, version["revision"])
    assert found.number == 1

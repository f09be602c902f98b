"""Pages of a large registry: the rows they read do not grow with it."""

from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from app.db.session import sessions_on
from app.main import app_of
from app.services.identity.token_usage import TokenUsage
from benchmarks.plans import Plan
from tests.pages.login.test_session_cookies import Person
from tests.pages.test_pages import PAGES, paths
from tests.support.session.in_process import InProcessClient
from tests.support.statements import asked_of

MANY = 11_000
MOST_READ = 10_100  # rows of one table: the overview counts up to ten thousand

# Clones of rows that the registry wrote, with all dependent rows.
FILL = """
CREATE TEMPORARY TABLE one ON COMMIT DROP AS
    SELECT version_id, channel_id, number FROM generation_share LIMIT 1;

INSERT INTO prefix (
    id, namespace, name, owner_id, created_by_id, created_at, description, intended_uses,
    last_number
) SELECT gen_random_uuid(), 'many-' || n % 10, 'p-' || n, id, id, now(), '', '{}', 1
FROM generate_series(1, :many) AS n, principal WHERE principal.name = 'admin';

INSERT INTO version SELECT (jsonb_populate_record(version, jsonb_build_object(
    'id', gen_random_uuid(), 'prefix_id', prefix.id,
    'digest', 'sha256:' || encode(sha256(prefix.id::text::bytea), 'hex')
))).* FROM prefix, version, one WHERE namespace LIKE 'many-%' AND version.id = one.version_id;

INSERT INTO prefix_base_model SELECT DISTINCT base_model_id, namespace, prefix.name
FROM version JOIN prefix ON prefix.id = prefix_id WHERE namespace LIKE 'many-%';

INSERT INTO channel SELECT (jsonb_populate_record(channel, jsonb_build_object(
    'id', prefix.id, 'prefix_id', prefix.id, 'generation', 1
))).* FROM prefix, channel, one WHERE namespace LIKE 'many-%' AND channel.id = one.channel_id;

INSERT INTO generation SELECT (jsonb_populate_record(generation, jsonb_build_object(
    'channel_id', prefix.id, 'number', 1, 'executed_at', now() - random() * interval '1 year'
))).* FROM prefix, generation JOIN one USING (channel_id, number) WHERE namespace LIKE 'many-%';

INSERT INTO generation_share SELECT prefix.id, 1, version.id, 10000
FROM version JOIN prefix ON prefix.id = prefix_id WHERE namespace LIKE 'many-%';

INSERT INTO audit_chain SELECT 'prefix:' || namespace || '/' || name, 1, head, latest_at
FROM prefix, audit_chain WHERE namespace LIKE 'many-%' AND subject = 'registry';

INSERT INTO audit_entry SELECT (jsonb_populate_record(audit_entry, jsonb_build_object(
    'subject', 'prefix:' || namespace || '/' || name, 'at', now() - random() * interval '1 year'
))).* FROM prefix, audit_entry
WHERE namespace LIKE 'many-%' AND subject = 'registry' AND sequence = 1;

ANALYZE prefix, prefix_base_model, version, channel, generation, generation_share;
ANALYZE audit_chain, audit_entry;

SET LOCAL enable_seqscan = off; -- with so few rows a sequential scan is no more expensive
SET LOCAL jit = off;
"""


@pytest.fixture(scope="module")
def grown(stores, tokens, story):
    """Fill the tables next to the story, and roll back at the end."""
    engine = create_engine(stores.postgres.owner_url)
    with engine.connect() as connection:
        for statement in FILL.split(";\n"):
            if statement.strip():
                connection.execute(text(statement), {"many": MANY} if ":many" in statement else {})
        yield connection
        connection.rollback()
    engine.dispose()


@pytest.fixture(scope="module")
def reading(grown, parts, tokens):
    """Return a function that signs a principal in to the large registry."""
    sessions = sessions_on(grown)
    app = app_of(replace(parts, sessions=sessions, uses=TokenUsage(sessions)))

    def reading(who):
        # No lifespan, so no background tasks that would share the connection.
        person = Person(InProcessClient(app, raise_server_exceptions=False), tokens[who])
        assert person.sign_in().status_code == 303
        return person

    return reading


def plan_of(connection, statement, parameters):
    explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
    document = connection.exec_driver_sql(explain, parameters).scalar_one()
    return Plan(statement, document[0]["Plan"], 0)


def every(story):
    """Return every page that may list many rows, and a principal allowed to read it."""
    more = {"prefixes-of-base": ("admin", f"/admin/prefixes?base_model={story.base}")}
    return paths(story) | more


# The page of a policy sorts the names of all bound channels to show the first.
@pytest.mark.parametrize("name", [*sorted({*PAGES} - {"policy"}), "prefixes-of-base"])
def test_a_page_reads_a_bounded_number_of_rows(story, grown, reading, name):
    who, path = every(story)[name]
    person = reading(who)
    with asked_of(grown) as sent:
        assert person.get(path).status_code == 200

    reads = [each for each in sent if each[0].startswith(("SELECT", "WITH"))]
    plans = [plan_of(grown, *each) for each in reads]
    most = max(plans, key=Plan.most_read)
    assert most.most_read() <= MOST_READ, "\n".join([most.statement, *most.outline()])

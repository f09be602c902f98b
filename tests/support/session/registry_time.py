"""Control of the registry's time, in the database of this test process."""

from datetime import timedelta

from sqlalchemy import text

PRESENT = "clock_timestamp()"


class RegistryTime:
    """The registry's time: the real time plus `ahead`, or a moment at which it stands."""

    def __init__(self, owner, parts):
        self._owner = owner
        self._parts = parts
        self._ahead = timedelta(0)

    @property
    def ahead(self):
        return self._ahead

    @ahead.setter
    def ahead(self, ahead):
        self._ahead = ahead
        self._set(f"{PRESENT} + interval '{ahead.total_seconds()} seconds'")

    def stop_at(self, moment):
        self._set(f"timestamptz '{moment.isoformat()}'")

    def now(self):
        return self._owner.scalar(text("SELECT registry_time()"))

    def restore(self):
        """Return to the real time; no later entry of a chain is dated by this test's future."""
        self._set(PRESENT)
        for statement in (
            "ALTER TABLE audit_chain DISABLE TRIGGER USER",
            "UPDATE audit_chain SET latest_at = least(latest_at, clock_timestamp())",
            "ALTER TABLE audit_chain ENABLE TRIGGER USER",
        ):
            self._owner.execute(text(statement))

    def _set(self, time):
        self._owner.execute(
            text(
                "CREATE OR REPLACE FUNCTION registry_time() RETURNS timestamptz "
                f"LANGUAGE sql VOLATILE RETURN {time}"
            )
        )
        self._parts.clock.measure(self._parts.sessions)

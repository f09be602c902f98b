"""Reading a chain in batches: every entry once, in order."""

import pytest

from app.db import audit


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_a_chain_is_read_whole_in_batches_of_any_size(world, sessions, monkeypatch, batch):
    world.a_promotion()
    length = len(world.actions())
    monkeypatch.setattr(audit, "_BATCH", batch)
    with sessions() as session:
        found = list(audit.chain(session, f"prefix:{world.prefix}", length=length))
        begun = list(audit.chain(session, f"prefix:{world.prefix}", length=length - 1))
    assert [entry.sequence for entry in found] == list(range(1, length + 1))
    assert begun == found[:-1]

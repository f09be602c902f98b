"""Fault tests: parts are killed or lie while clients are at work; `make chaos` runs more."""

from tests.chaos.cycles import run_cycles


def test_acknowledged_changes_survive_and_no_change_is_half_done(server_folder):
    folder = server_folder / "chaos"
    folder.mkdir()
    assert run_cycles(folder, ["postgres", "s3", "api", "lying", "frozen-pg"]) == []

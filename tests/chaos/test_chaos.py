"""Parts are killed while clients push, evaluate, promote and roll back: `make chaos`, but short."""

from tests.chaos.cycles import endure


def test_what_was_acknowledged_survives_and_nothing_is_left_half_done(server_folder):
    folder = server_folder / "chaos"
    folder.mkdir()
    assert endure(folder, ["postgres", "s3", "api"]) == []

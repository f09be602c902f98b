"""The demo as its reader runs it: one run of `python -m demo --keep`, and each of its acts."""

import re
import socket

import pytest

from demo import ending
from tests.support.demo_run import play


@pytest.fixture(scope="module")
def run(server_folder):
    """One run, kept at its end and stopped by Ctrl-C; it leaves nothing behind."""
    temporary = server_folder / "demo"
    temporary.mkdir(mode=0o711)
    run = play(temporary)
    assert run.status == 0, f"{run.text}\n{run.errors}"
    assert run.errors == ""
    assert list(temporary.glob("prefix-registry-*")) == []
    return run


def test_training_lowers_the_loss_of_each_version_to_less_than_half(run):
    losses = re.findall(r"loss ([\d.]+) at step 1, ([\d.]+) at step", run.text)

    assert len(losses) == 3
    assert all(0 < float(last) < float(first) / 2 for first, last in losses)


def test_the_base_model_is_registered_by_a_digest_that_coreutils_compute_as_well(run):
    act = run.act("registered by its digest")

    assert re.search(r"base-digest: sha256:[0-9a-f]{64}\n", act)
    assert "The same by hand: sha256sum" in act
    assert re.search(r"Version 1 is sha256:[0-9a-f]{64}\n", act)


def test_the_policy_is_shown_with_the_samples_that_it_takes(run):
    act = run.act("state the demands of production")

    assert "tone at least 0.85, no worse than the incumbent by more than 0.03, no worse than" in act
    planned = re.findall(r"^   (\S+/\S+ [a-z ]+): .* 90 % with (\d+) samples", act, re.MULTILINE)
    assert [name for name, _ in planned] == [
        "brand-voice/tone at least",
        "brand-voice/tone incumbent",
        "brand-voice/toxicity at most",
    ]
    assert all(29 < int(number) <= 500 for _, number in planned)


def test_a_cell_measured_above_its_limit_is_refused_for_want_of_samples(run):
    act, cells = run.act("refuses a short evaluation"), run.cells("refuses a short evaluation")

    assert "REFUSED 409 gate-not-passed" in act
    few = [cells["expert", locale] for locale in ("en", "de")]
    assert [cell["n"] for cell in few] == [24, 24]
    refused = [cell for cell in few if cell["outcome"] == "failed"]
    assert any(cell["measured"] >= cell["demanded"] > cell["bound"] for cell in refused)
    assert re.search(
        r"Above the limit and refused: At 96 % .*\(0\.\d+ over 24 independent samples\)", act
    )


def test_a_cell_with_enough_samples_passes_at_once(run):
    act, cells = run.act("refuses a short evaluation"), run.cells("refuses a short evaluation")

    for locale in ("en", "de"):
        cell = cells["novice", locale]
        assert (cell["n"], cell["outcome"]) == (200, "passed")
        assert cell["measured"] > cell["bound"] >= cell["demanded"]
    assert "Passed at once: At 96 % confidence tone for novice/en is at least 0." in act


def test_the_gate_names_each_cell_of_the_persona_that_was_not_measured(run):
    act, cells = run.act("refuses a short evaluation"), run.cells("refuses a short evaluation")

    missing = [key for key, cell in cells.items() if cell["outcome"] == "missing"]
    assert missing == [("upset", "en"), ("upset", "de")]
    assert "brand-voice/tone base: 4 failed, 2 missing" in act
    assert re.search(r"brand-voice/toxicity at most: .*2 missing", act)


def test_a_control_run_shows_what_the_prefix_changes_in_every_cell(run):
    act = run.act("a control run of the bare base model")

    shares = re.findall(r"^ \w+ +(?:en|de) +400 +(\S+) +(\S+) +(\S+) +(\S+) *$", act, re.MULTILINE)
    assert len(shares) == 6
    for base_tone, tone, base_toxicity, toxicity in shares:
        assert 0 < float(base_tone) < float(tone) < 1
        assert 1 > float(base_toxicity) > float(toxicity)


def test_the_short_run_counts_with_the_full_one_and_does_not_shut_the_gate(run):
    act = run.act("a control run of the bare base model")

    passed = re.search(
        r"Passed at look (\d) over 2 runs: .* tone for expert/\w\w .* 400 indep", act
    )
    assert int(passed[1]) > 1


def test_with_more_samples_the_same_cells_pass(run):
    act, cells = run.act("The gate passes"), run.cells("The gate passes")

    assert {(cell["n"], cell["outcome"]) for cell in cells.values()} == {(400, "passed")}
    assert all(cell["bound"] >= cell["demanded"] == 0.85 for cell in cells.values())
    assert "brand-voice/tone base: 6 passed" in act


def test_the_author_may_not_approve_and_two_others_execute_the_promotion(run):
    act = run.act("The gate passes")
    steps = (
        "REFUSED 403 separation-of-duties",
        "approver-1 approves; the promotion is pending.",
        "approver-2 approves; the promotion is executed.",
    )
    places = [act.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


def test_a_pulled_prefix_computes_the_logits_that_were_trained(run):
    act = run.act("A serving fleet")

    assert "REFUSED 409 base-model-mismatch" in act
    assert re.search(r"all 2400x5x\d+ logits equal the trained model's to the bit", act)


def test_a_damaged_object_is_refused_and_served_again_once_it_is_whole(run):
    act = run.act("A serving fleet")
    refused = act.find("REFUSED 500 damaged-object")

    assert -1 < refused < act.find("With the right bytes back, the pull works again.")


def test_a_version_that_keeps_every_limit_is_refused_by_the_comparison_alone(run):
    act, cells = run.act("Version 2 keeps every limit"), run.cells("Version 2 keeps every limit")

    assert "REFUSED 409 gate-not-passed" in act
    assert {cell["demanded"] for cell in cells.values()} == {-0.03}
    worse = [cell for cell in cells.values() if cell["outcome"] == "failed"]
    assert worse
    assert all(cell["bound"] < -0.03 for cell in worse)
    for kept in ("tone at least", "tone base", "toxicity at most"):
        assert f"brand-voice/{kept}: 6 passed" in act
    assert re.search(
        r"Refused: At 9\d\.?\d* % confidence tone for \S+ differs from version 1 by", act
    )


def test_a_better_version_passes_the_comparison_and_gets_a_part_of_the_traffic(run):
    title = "gets a fifth of the traffic"
    act, cells = run.act(title), run.cells(title)

    assert {cell["outcome"] for cell in cells.values()} == {"passed"}
    assert all(cell["bound"] >= cell["demanded"] == -0.03 for cell in cells.values())
    assert "approver-1 approves; the promotion is executed." in act
    before, split = run.served(title)
    assert before == ("release of version 1", "100 % version 1", "100 x version 1")
    assert split[:2] == ("split with version 3", "80 % version 1, 20 % version 3")
    first, third = map(
        int, re.fullmatch(r"(\d+) x version 1, (\d+) x version 3", split[2]).groups()
    )
    assert first + third == 100
    assert 0 < third < first


def test_a_rollback_and_a_revocation_change_what_users_resolve(run):
    rows = run.served("A rollback, a release to everybody, and a revocation")

    assert [(after, answers) for after, _, answers in rows[1:]] == [
        ("rollback", "100 x version 1"),
        ("release of version 3", "100 x version 3"),
        ("revocation", "100 x 410 version-revoked"),
        ("rollback", "100 x version 1"),
    ]
    assert rows[0][1] == "80 % version 1, 20 % version 3"


def test_a_revoked_version_is_neither_resolved_nor_rolled_back_to(run):
    act = run.act("A rollback, a release to everybody, and a revocation")

    resolved, rolled_back = re.findall(r"REFUSED 410 version-revoked: (.*)", act)
    assert "Its training data held a customer's name." in resolved
    assert rolled_back == "The version was revoked."
    assert act.find(resolved) < act.find("approver-1 rolls back to generation 1: Version 1 serves")


def test_the_audit_log_verifies_offline_and_a_changed_export_does_not(run):
    act = run.act("The audit log")

    number = int(re.search(r"(\d+) entries in 2 chains are as sealed\.", act).group(1))
    assert number > 40
    assert "Nothing that checkpoint.note covers was removed or changed." in act
    assert re.search(r"BROKEN: prefix:acme/brand-voice: entry \d+ is not what was sealed", act)


def test_the_chain_of_the_prefix_is_shown_entry_by_entry(run):
    act = run.act("The audit log")

    found = re.search(r"The chain of prefix:acme/brand-voice is valid: (\d+) entries", act)
    timeline = re.findall(r"^ +\d\d:\d\d:\d\d +(\S+) +(\S.*?) *$", act[found.end() :], re.MULTILINE)
    assert len(timeline) == int(found.group(1)) > 20
    deeds = [deed for _, deed in timeline]
    for expected in (
        "asked for production to serve version 2 (100%); the gate refused for",
        "executed it: production serves version 1 (80%), version 3 (20%), generation 2",
        "revoked version 3: Its training data held a customer's name.",
        "took it out: production serves nothing, generation 5",
        "rolled back: production serves version 1 (100%), generation 6",
    ):
        assert any(deed.startswith(expected) for deed in deeds), expected


def test_a_kept_registry_shows_its_pages_to_a_reader_who_signs_in(run):
    assert run.sign_in.status_code == 200
    assert run.home.status_code == 200
    assert "approver-1" in run.home.text
    assert [page.status_code for page in run.pages] == [200, 200]
    prefix, gate = run.pages
    assert "generation 6" in prefix.text
    assert "May version 2 go to production?" in gate.text
    assert "differs from version 1 by at least" in gate.text


def test_ctrl_c_stops_every_server_of_a_kept_registry(run):
    assert run.text.rstrip().endswith("Stopping the registry, and removing its folder.")
    assert len(run.servers) == 3
    for server in run.servers:
        with socket.socket() as client:
            assert client.connect_ex((server.hostname, server.port)) != 0, server.geturl()


def test_without_keep_the_end_says_how_to_go_on(capsys):
    ending.suggest()

    printed = capsys.readouterr().out
    assert "`make serve` keeps a registry of your own running" in printed
    assert "http://127.0.0.1:8080/admin" in printed
    assert "make demo KEEP=yes" in printed

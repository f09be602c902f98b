import os
import signal
import socket
import stat
import sys
from contextlib import ExitStack
from functools import partial

import pytest

from app.local.folder import LocalServerError, locked_folder
from app.local.processes import (
    Program,
    ServerEndedError,
    enter_on_free_ports,
    run_to_end,
    running,
)
from tests.support.observing import eventually, free_port, kill, living

LISTEN = """
import signal, socket, sys, time
print("about to listen", flush=True)
signal.signal(signal.SIGTERM, {on_stop})
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    time.sleep(60)
"""
ORDERLY = "lambda *_: (print('stopped in order', flush=True), sys.exit())"


@pytest.fixture
def folder(tmp_path):
    with locked_folder(tmp_path / "server") as folder:
        yield folder


def a_program(folder, port, *, script=LISTEN, on_stop=ORDERLY, **facts):
    command = (sys.executable, "-I", "-c", script.format(on_stop=on_stop), str(port))
    return Program("The server", command, folder, **facts)


def connect(port):
    socket.create_connection(("127.0.0.1", port), timeout=1).close()


def listening(folder, ports, **facts):
    [port] = ports
    return running(a_program(folder, port, **facts), ready=partial(connect, port), timeout_s=10)


@pytest.fixture
def port():
    return free_port()


def test_a_server_runs_until_the_end_of_the_block(folder, port):
    with listening(folder, [port]):
        connect(port)

    with pytest.raises(ConnectionRefusedError):
        connect(port)
    assert "stopped in order" in folder.log.read_text()


def test_a_server_that_does_not_stop_is_killed(folder, port):
    with listening(folder, [port], on_stop="signal.SIG_IGN", grace_s=0.1):
        pass

    assert set(living(folder.path)) == {os.getpid()}


def test_leftover_files_of_a_server_are_removed(folder, port, tmp_path):
    leftover = tmp_path / "leftover"
    with listening(folder, [port], leftovers=(str(leftover),)):
        leftover.touch()

    assert not leftover.exists()


def test_a_server_stops_even_if_its_guard_is_killed(folder, port):
    with listening(folder, [port]) as guard:
        guard.kill()
        eventually(lambda: set(living(folder.path)) == {os.getpid()})


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_only_the_supervisor_stops_a_server(folder, port, stop_signal):
    with listening(folder, [port]) as guard:
        guard.send_signal(stop_signal)
        connect(port)
        assert guard.poll() is None


def test_a_server_does_not_receive_the_terminals_interrupt(folder, port):
    with listening(folder, [port]) as guard:
        assert os.getpgid(guard.pid) != os.getpgid(0)


def test_a_failed_start_shows_the_end_of_the_log(folder, port):
    with (
        pytest.raises(ServerEndedError, match=r"(?s)ended before it was ready.*no such luck"),
        listening(folder, [port], script="raise SystemExit('no such luck')"),
    ):
        pass


def test_a_server_that_is_never_ready_is_stopped_and_reported(folder, port):
    def never():
        eventually(lambda: "about to listen" in folder.log.read_text(), within_s=60)
        raise ValueError("not yet")

    program = a_program(folder, port)
    with (
        pytest.raises(LocalServerError, match=r"(?s)within 0.2 s \(not yet\).*about to listen"),
        running(program, ready=never, timeout_s=0.2),
    ):
        pass

    assert set(living(folder.path)) == {os.getpid()}


def test_a_port_taken_between_choice_and_use_is_replaced(folder):
    chosen = []

    with socket.socket() as other, ExitStack() as stack:

        def start(ports):
            chosen.extend(ports)
            if len(chosen) == 1:
                other.bind(("127.0.0.1", ports[0]))
            return listening(folder, ports)

        enter_on_free_ports(stack, start, count=1, wanted=None)

        assert "Address already in use" in folder.log.read_text()
        assert len(set(chosen)) == 2


def test_a_wanted_port_in_use_is_refused(folder):
    with socket.create_server(("127.0.0.1", 0)) as other, ExitStack() as stack:
        port = other.getsockname()[1]
        with pytest.raises(LocalServerError, match=f"Port {port} .*in use.*choose another"):
            enter_on_free_ports(stack, partial(listening, folder), count=1, wanted=port)


def test_the_environment_of_the_caller_does_not_reach_a_program(folder, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")

    run_to_end(Program("The program", ("/usr/bin/env",), folder, environment={"GIVEN": "2"}))

    assert "GIVEN=2" in folder.log.read_text()
    assert "PGPORT" not in folder.log.read_text()


def test_a_failed_program_shows_the_end_of_the_log(folder):
    program = Program("The program", ("/bin/sh",), folder)

    with pytest.raises(LocalServerError, match=r"(?s)The program failed.*no such luck"):
        run_to_end(program, "echo no such luck; exit 1")


def test_a_folder_stays_locked_until_its_last_process_has_ended(tmp_path):
    with locked_folder(tmp_path) as folder:
        program = ("/bin/sh", "-c", "sleep 60 & echo started")
        run_to_end(Program("The program", program, folder))

    with pytest.raises(LocalServerError, match="in use by another start"):
        locked_folder(tmp_path, wait_s=0).__enter__()
    kill(tmp_path, "sleep")
    with locked_folder(tmp_path, wait_s=0):
        pass


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(LocalServerError, match="choose a folder that you own"):
        locked_folder(tmp_path / "file" / "folder").__enter__()


def test_secrets_are_private_and_stay_the_same(tmp_path):
    generated = []
    for _ in range(2):
        with locked_folder(tmp_path) as folder:
            generated.append(folder.stored_secrets("one", "other"))

    assert generated[0] == generated[1]
    assert generated[0][0] != generated[0][1]
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_the_log_of_the_previous_start_is_kept(tmp_path):
    for word in ("first", "second"):
        with locked_folder(tmp_path) as folder:
            run_to_end(Program("The program", ("/bin/echo", word), folder))

    assert (tmp_path / "server.log").read_text() == "second\n"
    assert (tmp_path / "server.previous.log").read_text() == "first\n"

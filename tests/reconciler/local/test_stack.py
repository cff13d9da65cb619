"""What keeps the local stack from leaving anything behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.settings import Settings, workers_socket
from reconciler.local.leftovers import stop_leftovers
from reconciler.local.lifeline import end_all, family, parents
from reconciler.local.service import PORT, Service, environment, for_prefect, free_port
from reconciler.local.stack import Stack
from reconciler.local.stack_file import (
    Running,
    StackFile,
    load_stack,
    read_stack,
    running,
    start_time,
    write_stack,
)
from reconciler.local.worker_host import accepts

LIFELINE = [sys.executable, "-m", "reconciler.local.lifeline", "--"]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
# A command whose child leads a session of its own, as a flow run does; it writes both pids.
FAMILY = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
child = subprocess.Popen(sleep, start_new_session=True)
with open(sys.argv[1] + ".part", "w") as pids:
    pids.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(60)
"""
OWNER = """
import subprocess, sys
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()
"""


def eventually(true: Callable[[], bool], within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(SLEEP)


@pytest.fixture
def program() -> Iterator["subprocess.Popen[bytes]"]:
    with sleeper() as started:
        yield started
        started.kill()


def settings_of(home: Path) -> Settings:
    return Settings.model_validate({"TRACER_HOME": home})


def test_when_the_owner_is_killed_the_command_and_its_sessions_end(tmp_path: Path) -> None:
    written = tmp_path / "pids"
    command = [*LIFELINE, sys.executable, "-c", FAMILY, str(written)]
    with subprocess.Popen([sys.executable, "-c", OWNER, *command]) as owner:
        assert eventually(written.exists)
        pids = {int(word) for word in written.read_text().split()}
        assert pids <= parents().keys()
        owner.kill()
    assert eventually(lambda: not pids & parents().keys())


def test_a_lifeline_that_is_told_to_end_ends_the_family(tmp_path: Path) -> None:
    written = tmp_path / "pids"
    command = [*LIFELINE, sys.executable, "-c", FAMILY, str(written)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as lifeline:
        assert eventually(written.exists)
        pids = {int(word) for word in written.read_text().split()}
        lifeline.terminate()
        assert lifeline.wait(10) == 128 + signal.SIGTERM
    assert not pids & parents().keys()


def test_a_lifeline_ends_with_the_code_of_its_command() -> None:
    command = [*LIFELINE, sys.executable, "-c", "raise SystemExit(7)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as lifeline:
        assert lifeline.wait(10) == 7


def test_who_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    deaf = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", deaf, str(ready)]) as program:
        assert eventually(ready.exists)
        end_all({program.pid}, grace_s=0.2)
        assert program.wait(5) == -signal.SIGKILL


def test_a_service_that_ends_at_once_is_named_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('the port is taken')"]
    service = Service("prefect-server", command, os.environ, tmp_path)
    try:
        with pytest.raises(
            WorkFailed, match=r"prefect-server ended with code 1.*\n.*port is taken"
        ):
            service.wait_ready(lambda: False, 10)
    finally:
        service.stop()


def test_a_service_that_stays_silent_is_given_up(tmp_path: Path) -> None:
    service = Service("worker-host", SLEEP, os.environ, tmp_path)
    try:
        with pytest.raises(WorkFailed, match=r"not ready after 0\.1 s.*\n.*it is empty"):
            service.wait_ready(lambda: False, 0.1)
    finally:
        service.stop()
    assert not service.alive


def test_services_see_nothing_of_the_users_own_prefect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("PREFECT_PROFILE", "work")
    monkeypatch.setenv("NO_PROXY", "example.org")
    seen = environment(Settings.model_validate({"TRACER_HOME": tmp_path}), "postgresql:///here")
    assert not {"PREFECT_API_KEY", "PREFECT_PROFILE"} & seen.keys()
    assert seen["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert seen["NO_PROXY"] == "example.org,127.0.0.1,localhost"


@pytest.mark.parametrize("proxy", ["socks5://h:1", "socks4://h:1", "socks://h:1"])
def test_prefects_client_starts_whatever_proxy_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """It would make a transport for each proxy, also where it needs none."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("https_proxy", "http://kept:1")
    seen = for_prefect(environment(Settings.model_validate({"TRACER_HOME": tmp_path}), "url"))
    starts = "import httpx; httpx.AsyncClient(); import os; print(os.environ['https_proxy'])"
    done = subprocess.run(
        [sys.executable, "-c", starts], env=seen, capture_output=True, text=True, check=False
    )
    assert done.stdout == "http://kept:1\n", done.stderr


def test_leftovers_that_were_written_down_are_ended(
    tmp_path: Path, program: "subprocess.Popen[bytes]"
) -> None:
    gone = Running("owner", 1, "long ago")
    write_stack(tmp_path, StackFile("http://x/api", gone, running("worker-host", {program.pid})))
    of_a_run = tmp_path / "tmp" / "prefect-workspace-1" / "workspace.json"
    of_a_run.parent.mkdir(parents=True)
    of_a_run.write_text('{"DATABASE_URL": "postgresql://user:secret@host/x"}')
    socket_of_host = workers_socket(tmp_path)
    socket_of_host.parent.mkdir()
    socket_of_host.touch()
    assert stop_leftovers(tmp_path, 1.0) == ["worker-host"]
    assert program.wait(5) == -signal.SIGTERM
    assert load_stack(tmp_path) is None
    assert not of_a_run.exists()
    assert not socket_of_host.parent.exists()


def test_a_stranger_that_was_given_the_pid_is_left_alone(
    tmp_path: Path, program: "subprocess.Popen[bytes]"
) -> None:
    stranger = Running("prefect-server", program.pid, "another moment")
    write_stack(tmp_path, StackFile("http://x/api", stranger, [stranger]))
    assert read_stack(tmp_path) is None
    assert stop_leftovers(tmp_path, 1.0) == []
    assert program.poll() is None


def test_without_a_stack_there_is_nothing_to_stop(tmp_path: Path) -> None:
    assert stop_leftovers(tmp_path, 1.0) == []


def test_half_a_stack_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"api_url": "http://x/api"}))
    assert load_stack(tmp_path) is None


def test_a_second_stack_of_the_same_home_is_refused(
    tmp_path: Path, program: "subprocess.Popen[bytes]"
) -> None:
    [owner] = running("owner", {program.pid})
    write_stack(tmp_path, StackFile("http://x/api", owner, []))
    with Stack() as stack, pytest.raises(BadInput, match="already running"):
        stack.start(settings_of(tmp_path), "postgresql:///none", print)
    assert load_stack(tmp_path) is not None
    assert program.poll() is None


def test_a_program_that_has_ended_has_no_start_time(program: "subprocess.Popen[bytes]") -> None:
    assert start_time(program.pid) == start_time(program.pid) is not None
    assert family(program.pid) == {program.pid}
    program.kill()
    program.wait()
    assert start_time(program.pid) is None


def test_a_port_that_is_taken_is_not_chosen() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", PORT))
        except OSError:
            pass  # somebody else has it, which serves as well
        else:
            taken.listen()
        assert free_port() != PORT


def test_a_socket_accepts_only_while_someone_listens(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert not accepts(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert accepts(path)
    assert not accepts(path)

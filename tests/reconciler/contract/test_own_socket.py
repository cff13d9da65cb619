"""Whose a worker host's socket is: no call goes to another user's program."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.contract.claimed import CLOSED
from reconciler.contract.errors import BadInput
from reconciler.contract.own_socket import connect_own, make_private, of_this_user, peer_pid
from reconciler.contract.settings import Settings, workers_socket
from reconciler.local.worker_host import HostFault, accepts, ask_host, host_fix
from reconciler.spawners.local import LocalSpawner
from reconciler.spawners.protocol import Refused
from tests.reconciler.operator.diagnosis.breaking import listening
from tests.world import chunk_of
from workers.host.server import claim_socket

STRANGER = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users' programs")
LISTENS = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
while True:
    taken, _ = listener.accept()
    print(taken.recv(100), flush=True)
"""


@contextmanager
def stranger_at(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another user's program that listens at `path`, and tells what it is sent."""
    command = [sys.executable, "-c", LISTENS, str(path), str(STRANGER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
        yield program
        program.kill()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """The directory of a home's worker host, which is removed in the end."""
    found = workers_socket(tmp_path).parent
    found.mkdir()
    yield found
    for left in found.glob("*"):
        left.unlink()
    found.rmdir()


@AS_ROOT
def test_no_call_goes_to_a_stranger_who_was_there_first(place: Path, tmp_path: Path) -> None:
    os.chown(place, STRANGER, STRANGER)
    settings = Settings.model_validate({"TRACER_HOME": tmp_path, "DATABASE_URL": "postgresql://x"})
    with stranger_at(workers_socket(tmp_path)) as program:
        spawner = LocalSpawner(workers_socket(tmp_path))
        assert spawner.room() == CLOSED
        refused = Refused(f"{place} belongs to another user")
        assert spawner.spawn([chunk_of("a", [1])]) == [refused]
        assert not accepts(workers_socket(tmp_path))
        found = ask_host(settings)
        assert (found.fault, found.pid) == (HostFault.STRANGER, None)
        assert host_fix(settings, found) == f"rm -rf {place} && tracer workers"
        with pytest.raises(
            BadInput, match=r"belongs to another user: remove it, or set TRACER_HOME"
        ):
            claim_socket(workers_socket(tmp_path))
        program.kill()
        assert program.stdout
        assert program.stdout.read() == ""


@AS_ROOT
def test_a_strangers_listener_in_a_directory_that_was_open_gets_no_call(
    place: Path, tmp_path: Path
) -> None:
    place.chmod(0o777)
    path = workers_socket(tmp_path)
    with stranger_at(path):
        assert LocalSpawner(path).room() == CLOSED
        says = f"{path} is listened to by another user's program"
        assert LocalSpawner(path).spawn([chunk_of("a", [1])]) == [Refused(says)]
    path.unlink()
    with stranger_at(path):
        claim_socket(path)  # a host of ours makes way for itself, and shuts the door
    assert not path.exists()
    assert place.stat().st_mode & 0o777 == 0o700


@AS_ROOT
def test_a_host_serves_nobody_else(tmp_path: Path) -> None:
    asks = f"""
import os, socket, sys
os.setuid({STRANGER})
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
link.sendall(b'{{"room": true}}\\n')
print(link.recv(100))
"""
    with listening(tmp_path):
        path = workers_socket(tmp_path)
        for door in (path.parent, path):
            door.chmod(0o777)  # as if it stood open
        asked = subprocess.run(
            [sys.executable, "-c", asks, str(path)], capture_output=True, text=True, check=False
        )
        hung_up = asked.stdout == "b''\n" or "BrokenPipe" in asked.stderr or "reset" in asked.stderr
        assert hung_up, asked
        assert accepts(path)


def test_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    place.rename(elsewhere := tmp_path / "elsewhere")
    place.symlink_to(elsewhere)
    path = workers_socket(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(elsewhere / path.name))
        listener.listen()
        assert not accepts(path)
        with pytest.raises(BadInput, match="is not a directory: remove it, or set TRACER_HOME"):
            make_private(place)
    place.unlink()
    elsewhere.rename(place)


def test_who_is_at_the_other_end_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as link:
        listener.bind(str(path))
        listener.listen()
        connect_own(link, path)
        assert of_this_user(link)
        assert peer_pid(link) in (os.getpid(), None)
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
        assert not of_this_user(link)

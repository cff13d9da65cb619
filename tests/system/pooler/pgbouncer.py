"""A real PgBouncer on loopback, before the session's Postgres, as hosts of Postgres put one.

It asks for a password (SCRAM) and speaks TLS to whoever wants it, with a certificate of its own
making, so that a test can tell what of both reaches a message or a check.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg.rows import dict_row

from reconciler.contract.grants import ROLES
from tests.installed import find_program

PASSWORD = "open-sesame"
SERVERS = 20  # connections to Postgres at most
STARTS_WITHIN_S = 10
CONFIGURATION = """
[databases]
* = host={sockets} port={postgres_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
pool_mode = {mode}
default_pool_size = {servers}
max_client_conn = 1000
auth_type = scram-sha-256
auth_file = {home}/users.txt
admin_users = tracer
client_tls_sslmode = allow
client_tls_cert_file = {home}/server.crt
client_tls_key_file = {home}/server.key
logfile = {home}/pgbouncer.log
"""


def make_certificate(home: Path, name: str = "server") -> Path:
    """A certificate for 127.0.0.1, which is its own authority."""
    made = home / f"{name}.crt"
    kind = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    about = ("-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(made.with_suffix(".key")), "-out", str(made))
    subprocess.run(
        (find_program("openssl"), *kind, *about, *files), check=True, capture_output=True
    )
    return made


def make_verifier(server_url: str) -> str:
    """What a login is checked against; with the password itself, each would cost 8 ms more."""
    with psycopg.connect(server_url) as connection:
        made = connection.pgconn.encrypt_password(PASSWORD.encode(), b"tracer", b"scram-sha-256")
    return made.decode()


@contextmanager
def running(server_url: str, mode: str = "transaction") -> "Iterator[PgBouncer]":
    """One in front of the Postgres of `server_url`, for the length of the block."""
    program = find_program("pgbouncer")
    home = Path(tempfile.mkdtemp(prefix="tracer-pgbouncer-"))
    bouncer = PgBouncer(program, server_url, home, mode)
    try:
        bouncer.start()
        yield bouncer
    finally:
        bouncer.kill()
        shutil.rmtree(home)


class PgBouncer:
    """One PgBouncer; it keeps its port when it is started again."""

    def __init__(self, program: str, server_url: str, home: Path, mode: str) -> None:
        self._program = program
        self._home = home
        self._server = {k: v[0] for k, v in parse_qs(urlsplit(server_url).query).items()}
        self._running: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.certificate = make_certificate(home)
        verifier = make_verifier(server_url)
        users = "".join(f'"{user}" "{verifier}"\n' for user in ("tracer", *ROLES))
        (home / "users.txt").write_text(users)
        (home / "pgbouncer.ini").write_text(
            CONFIGURATION.format(
                sockets=self._server["host"],
                postgres_port=self._server["port"],
                port=self.port,
                mode=mode,
                servers=SERVERS,
                home=home,
            )
        )

    def start(self) -> None:
        """Run it, as whoever owns Postgres's socket (it refuses to be root's), until it answers."""
        owner = Path(self._server["host"]).stat()
        account: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
            for path in (self._home, *self._home.iterdir()):
                os.chown(path, owner.st_uid, owner.st_gid)
        with (self._home / "output").open("ab") as output:
            command = (self._program, str(self._home / "pgbouncer.ini"))
            self._running = subprocess.Popen(command, stdout=output, stderr=output, **account)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            said = (self._home / "output").read_text()
            assert self._running.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.02)

    def kill(self) -> None:
        """End it with SIGKILL: every connection through it breaks at once."""
        assert self._running
        self._running.kill()
        self._running.wait()

    def url(self, database_url: str, **parameters: str) -> str:
        """The way through it to the database of `database_url`."""
        place = f"127.0.0.1:{self.port}/{urlsplit(database_url).path[1:]}"
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://tracer:{PASSWORD}@{place}?{query}"

    def show(self, what: str) -> list[dict[str, Any]]:
        """What its console says to `SHOW what`."""
        console = psycopg.connect(
            self.url("postgresql:///pgbouncer"), autocommit=True, row_factory=dict_row
        )
        with console:
            return console.execute(f"SHOW {what}".encode()).fetchall()

    def _answers(self) -> bool:
        try:
            return bool(self.show("VERSION"))
        except psycopg.OperationalError:
            return False

"""A password in DATABASE_URL reaches no message, no log, no document and no traceback."""

import logging
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest

from reconciler.contract.database import connect
from reconciler.contract.database_url import location
from reconciler.contract.errors import BadInput, TracerError, Unreachable
from reconciler.contract.settings import Settings, load_settings
from reconciler.contract.store import Store
from reconciler.poll import poll
from tests.terminal import SEED, Terminal
from tests.world import Scripted

SECRET = "hunter2secret"


@pytest.fixture
def url(url: str) -> str:
    """The test's database, for a user with a password, which its socket does not ask for."""
    return url.replace("postgresql://tracer@", f"postgresql://tracer:{SECRET}@")


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG):
        yield
    assert SECRET not in caplog.text


def test_no_command_shows_it(tracer: Terminal, file: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for code, *command in (
        (0, "db", "upgrade"),
        (0, "db", "status"),
        (0, "db", "status", "--json"),
        (0, "db", "roles"),
        (0, "db", "roles", "--json"),
        (0, "seed", file, *SEED, "--name", "b", "--json"),
        (0, "seed", file, *SEED, "--name", "c"),
        (0, "batches"),
        (0, "batches", "--json"),
        (0, "inspect", "b", "--json"),
        (0, "explain", "b", "66740"),
        (0, "explain", "b", "66740", "--json"),
        (0, "steps", "--json"),
        (0, "interval", "--json"),
        (0, "reconcile", "--once"),
        (0, "export", "b", "-o", out),
        (0, "cancel", "c", "--yes"),
        (1, "doctor"),
        (1, "doctor", "--json"),
        (2, "inspect", "nowhere"),
    ):
        shown = tracer(*command, code=code) + tracer.err
        assert SECRET not in shown, command
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


MALFORMED = [
    f"postgres://user:pa {SECRET}@host:x/db",
    f"postgres://user:pa%zz{SECRET}@host/db",
    f"postgresql://u:p@{SECRET}:word@h",
    f"postgresql://u:p@{SECRET}@h/db",
    f"postgresql://u:1/{SECRET}@h/db",
    f"postgresql://u:p/{SECRET}@h/db",
    f"postgresql://u:{SECRET}/1@h/db",
    f"postgresql+psycopg://u:1?{SECRET}/2@h/db",
    f"postgresql://u:{SECRET}",
    f"postgresql://u:{SECRET}/db",
    f"mysql://u:{SECRET}@h/db",
    f"u:{SECRET}@h/db",
    f"https://u:{SECRET}=1@h/db",
    f"host=h password='{SECRET}",
    f"host=h password=pass {SECRET} dbname=d",
    f"host=h passwort={SECRET}",
    f"postgresql://u:{SECRET}@[h/db",
]


@pytest.mark.parametrize("wrong", MALFORMED)
def test_a_url_that_cannot_be_read_is_not_quoted(
    tracer: Terminal, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """Not even in the traceback that a flow run or a container leaves in its log."""
    monkeypatch.setenv("DATABASE_URL", wrong)
    shown = tracer("batches", code=2) + tracer.err + tracer("doctor", "--json", code=1)
    assert "percent-encoded" in " ".join(tracer.err.split()) or "percent-encoded" in shown
    with pytest.raises(BadInput) as raised:
        Store.connect(wrong)
    shown += "".join(traceback.format_exception(raised.value))
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("right", "says"),
    [
        (f"postgresql://u:p%40{SECRET}@h:5433/d", "database d at h:5433"),
        (f"postgresql+psycopg://u:{SECRET}@h/d", "database d at h:5432"),
        (f"postgresql://u:{SECRET}@a:1,b:2/d", "database d at a,b:1,2"),
        (f"postgresql://u:{SECRET}@/d?host=/tmp/x", "database d at /tmp/x:5432"),
        (f"postgresql://u:{SECRET}@/d?host=@abstract", "database d at @abstract:5432"),
        (f"host=h user=u password={SECRET} dbname=d", "database d at h:5432"),
    ],
)
def test_a_url_that_can_be_read_is_named_without_it(right: str, says: str) -> None:
    assert location(right) == says


@contextmanager
def answering(word: bytes) -> Iterator[int]:
    """A port where everyone hears `word` and is hung up on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = Event()

        def answer() -> None:
            while not stop.is_set():
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(1024)
                    client.sendall(word)

        thread = Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def failing(tracer: Terminal, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """All that is said where no connection comes about."""
    monkeypatch.setenv("DATABASE_URL", url)
    shown = tracer("batches", code=3) + tracer.err + tracer("doctor", code=1) + tracer.err
    with pytest.raises(Unreachable) as raised:
        connect(url)
    return shown + "".join(traceback.format_exception(raised.value))


def test_a_connection_that_fails_does_not_show_it(
    tracer: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = (
        b"E" + (47).to_bytes(4, "big") + b"SFATAL\0C28P01\0Mpassword authentication fails\0\0\0"
    )
    shown = failing(tracer, monkeypatch, f"postgresql://u:{SECRET}@127.0.0.1:9/d")
    with answering(b"N") as port:
        shown += failing(
            tracer, monkeypatch, f"postgresql://u:{SECRET}@127.0.0.1:{port}/d?sslmode=require"
        )
    with answering(refused) as port:
        shown += failing(
            tracer, monkeypatch, f"postgresql://u:{SECRET}@127.0.0.1:{port}/d?sslmode=disable"
        )
    monkeypatch.setenv("PGSSLMODE", "nonsense")
    shown += failing(tracer, monkeypatch, f"postgresql://u:{SECRET}@127.0.0.1:9/d")
    assert SECRET not in shown


def test_a_loop_that_loses_its_database_does_not_log_it(url: str) -> None:
    lines: list[str] = []
    stop = Event()

    def log(line: str) -> None:
        lines.append(line)
        if "away" in line:
            stop.set()

    with Store.connect(url) as store:
        store.rows("UPDATE polling SET poll_s = 0.01, idle_s = 0.01")
        doomed = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        beat = store.beat

        def interrupted() -> object:
            with connect(url) as other:
                other.execute(doomed)
            return beat()

        store.beat = interrupted  # type: ignore[method-assign, assignment]
        lines.append(str(poll(store, Scripted(), stop, log)))
    assert any("The database is away" in line for line in lines)
    assert SECRET not in "".join(lines)


def test_a_worker_host_does_not_say_it(url: str, tmp_path: Path) -> None:
    dead = f"postgresql://u:{SECRET}@127.0.0.1:9/d"
    program = "import sys; from workers.host.server import main; main()"
    for place_ in (dead, url, f"postgresql://u:p/{SECRET}@h/d"):
        seen = {**os.environ, "DATABASE_URL": place_, "TRACER_HOME": str(tmp_path)}
        seen["TRACER_WORKER_PROCESSES"] = "1"
        command = [sys.executable, "-c", program, "--until-eof"]
        said = subprocess.run(
            command, env=seen, input=b"", capture_output=True, timeout=60, check=False
        )
        assert SECRET.encode() not in said.stdout + said.stderr


def test_settings_do_not_show_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert SECRET in str(load_settings().database_url)
    assert SECRET not in f"{load_settings()!r} {load_settings()}"
    monkeypatch.setenv("TRACER_WORKERS", "nowhere")
    with pytest.raises(TracerError) as raised:
        load_settings()
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert urlsplit(url).password == SECRET
    assert "database_url" not in repr(Settings.model_construct(database_url=url))

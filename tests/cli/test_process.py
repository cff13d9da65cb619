"""The command as a program of its own: its streams, its signals, and the locale."""

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from struct import pack

import psycopg
import pytest

from reconciler.contract.errors import NoPolling
from reconciler.contract.store import Store
from tests.cli.inspect.test_watch import read_until
from tests.terminal import SEED, Terminal
from tests.world import World, wait_until

COMMAND = [sys.executable, "-c", "from cli import main; main()"]


@pytest.mark.parametrize(
    ("more", "shown"),
    [((), "na?ve"), pytest.param(("--json",), "na\\u00efve", marks=pytest.mark.proof)],
)
def test_a_terminal_that_knows_no_utf8_gets_what_it_can_show(
    tracer: Terminal, file: str, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], shown: str
) -> None:
    tracer("seed", file, *SEED, "--name", "naïve")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    said = subprocess.run([*COMMAND, "batches", *more], capture_output=True, check=True)
    assert (shown.encode() in said.stdout, said.stderr) == (True, b"")


@pytest.mark.usefixtures("tracer")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("batches >/dev/full", 1, "Output: No space left on device."),
        pytest.param(
            *("batches --json >/dev/full", 1, "Output: No space left on device."),
            marks=pytest.mark.proof,
        ),
        ("pause batch >&- <&-", 0, "batch is paused"),
        ("inspect $'\\xff'", 2, "is not UTF-8: check the locale."),
    ],
)
def test_streams_and_names_of_any_kind(world: World, words: str, code: int, said: str) -> None:
    world.seed(1)
    shell = f"{sys.executable} -c 'from cli import main; main()' {words}"
    ran = subprocess.run(
        ["bash", "-c", shell], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False
    )
    assert ran.returncode == code
    assert said in ran.stderr.decode()
    assert "Traceback" not in ran.stderr.decode()


def test_a_company_that_is_not_utf8_is_refused(tracer: Terminal, world: World) -> None:
    world.seed(1)
    tracer("explain", "batch", os.fsdecode(b"\xff"), code=2)
    assert "is not UTF-8: check the locale." in tracer.err


def test_a_watch_that_is_stopped_gives_the_terminal_back_until_it_goes_on(
    url: str, world: World
) -> None:
    world.seed(3)
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "DATABASE_URL": url, "TERM": "xterm-256color"}
    # In a group of its own: none of its group but orphans, and Ctrl-Z would not stop it.
    streams = {"stdin": theirs, "stdout": theirs}
    with (
        subprocess.Popen(
            [*COMMAND, "inspect", "batch", "--watch"], **streams, env=environment, process_group=0
        ) as watching,
        ended(watching),
    ):
        read_until(ours, b"RUNNING")
        watching.send_signal(signal.SIGTSTP)
        given_back = read_until(ours, b"\x1b[?1049l")
        assert b"\x1b[?25h" in given_back  # the cursor
        while os.waitid(os.P_PID, watching.pid, os.WSTOPPED | os.WNOHANG) is None:
            time.sleep(0.01)
        watching.send_signal(signal.SIGCONT)
        assert b"\x1b[?1049h" in read_until(ours, b"RUNNING")
        watching.send_signal(signal.SIGHUP)
        os.close(theirs)
        assert b"\x1b[?25h" in read_until(ours, b"")
    assert watching.returncode == 128 + signal.SIGHUP


@contextmanager
def ended(program: "subprocess.Popen[bytes]") -> Iterator[None]:
    """That it does not outlive a test that fails, which would wait for it."""
    try:
        yield
    except BaseException:
        program.kill()
        raise


def test_who_only_looks_makes_no_database(
    tracer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    tracer("batches", code=2)
    assert "There is no Tracer database in" in tracer.err
    assert not (tmp_path / "home").exists()


def test_a_database_that_takes_no_writes_is_one_that_is_away(url: str) -> None:
    """A failover's old primary, or a full disk: what waits for a database waits for this one."""
    name = url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        with Store.connect(url, max_size=1) as other:
            with pytest.raises(psycopg.OperationalError, match="read-only"):
                other.beat()
            owner.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
            assert other.beat().now


def test_a_statement_that_takes_too_long_is_no_database_that_is_away(
    tracer: Terminal, url: str, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    world.seed(1)
    monkeypatch.setenv("DATABASE_URL", f"{url}&options=-c%20statement_timeout%3D1")
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE batches")
        tracer("batches", code=1)
    assert tracer.err.startswith("The database ended the statement: canceling statement")


def test_without_its_row_polling_says_so(tracer: Terminal, world: World, store: Store) -> None:
    world.sql("DELETE FROM polling")
    for words in (("interval",), ("interval", "pause"), ("interval", "set", "--poll", "1")):
        tracer(*words, code=2)
        assert "The table `polling` has lost the row that every tick reads: run `psql" in " ".join(
            tracer.err.split()
        )
    assert store.take_over() == 0
    with pytest.raises(NoPolling):
        store.beat()


@pytest.mark.usefixtures("tracer")
def test_ctrl_c_is_exit_code_130_and_no_traceback(world: World) -> None:
    command = [*COMMAND, "seed", "-", "--format", "csv", "--blueprint", "normalize"]
    copying = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY seed_rows%%'"
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stderr=pipe, bufsize=0) as seeding:
        assert seeding.stdin
        assert seeding.stderr
        seeding.stdin.write(b"name,domain\n" + b"Acme,acme.com\n" * 100_000)
        wait_until(lambda: len(world.sql(copying)) == 1)
        seeding.send_signal(signal.SIGINT)
        said = seeding.stderr.read()
    assert (seeding.returncode, said) == (130, b"")
    assert world.sql("SELECT id FROM batches") == []


STUBBORN = """
import asyncio
from workers.kit import Company, StepResult, step

class Stubborn(StepResult, table=True):
    __tablename__ = "stubborn"
    number: int = 0

@step(timeout_s=0.2)
async def stubborn(company: Company) -> Stubborn:
    while True:
        try:
            await asyncio.sleep(0.05)
        except BaseException:
            pass
"""


@pytest.mark.proof
def test_a_function_that_swallows_its_end_keeps_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    (tmp_path / "c.csv").write_text("id\n1\n")
    seen = os.environ | {"TRACER_STEPS": "stubborn", "TRACER_HOME": str(tmp_path / "home")}
    tried = subprocess.run(
        [Path(sys.executable).with_name("tracer"), "try", "stubborn", "c.csv"],
        env=seen,
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert tried.returncode == 1
    assert b"took longer than 0.2 s" in tried.stdout
    assert b"1 company of 1 failed" in tried.stderr

"""The same work on Tracer and on its peers: `python -m tests.bench.peers`, one JSON line."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from reconciler.local.postgres import supervisor
from tests.bench.peers.environments import default_directory, python
from tests.bench.peers.measuring import Run, database, run
from tests.bench.peers.programs import Call
from tests.bench.peers.report import Tried, report
from tests.bench.peers.systems import SYSTEMS, Settings, System

HERE = Path(__file__).parent
SHOWN = ("server_version", "fsync", "synchronous_commit", "shared_buffers")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    names = [system.name for system in SYSTEMS]
    parser.add_argument("--companies", type=int, default=2000, help="three company-steps each")
    parser.add_argument("--rounds", type=int, default=3, help="every system once in each")
    parser.add_argument("--only", action="append", choices=names, help="may be given again")
    parser.add_argument("--all-settings", action="store_true", help="not only the best of each")
    parser.add_argument("--envs", type=Path, default=default_directory(), help="made when needed")
    return parser.parse_args(words)


@dataclass(frozen=True)
class Server:
    """The Postgres that all share; programs write their stderr to files in its `home`."""

    home: Path
    url: str

    @property
    def postmaster(self) -> int:
        """Its pid."""
        return int((self.home / "postgres" / "postmaster.pid").read_text().split()[0])

    def settings(self) -> dict[str, str]:
        """What it says of itself, as it comes."""
        with psycopg.connect(self.url) as connection:
            query = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
            return dict(connection.execute(query, [list(SHOWN)]).fetchall())

    def run(self, system: System, settings: Settings, companies: int, envs: Path) -> Run:
        """One run of one system, in a database of its own."""
        command = [sys.executable, "-m", "tests.bench.peers.tracer_run"]
        if system.program:
            interpreter = python(envs, system.program.partition("_")[0], system.requirements)
            command = [str(interpreter), str(HERE / system.program)]
        with database(self.url, f"bench_{system.name.replace('-', '_')}") as url:
            call = Call.of(command, url, settings, self.home / f"{system.name}.log")
            return run(call, url, settings["processes"], companies, self.postmaster)


@contextmanager
def server() -> Iterator[Server]:
    """The embedded Postgres with its default, durable settings, in a home of its own."""
    with tempfile.TemporaryDirectory(prefix="tracer-peers-") as name:
        home = Path(name)
        home.chmod(0o755)  # root's Postgres runs as another user, who must reach it
        try:
            yield Server(home, supervisor.acquire(home))
        finally:
            supervisor.stop(home)


def measure(given: argparse.Namespace, server: Server) -> list[Tried]:
    """Every system with each of its settings, round by round, so that all see the same weather."""
    plan = [
        Tried(system, settings, [])
        for system in SYSTEMS
        if not given.only or system.name in given.only
        for settings in (system.settings if given.all_settings else system.settings[:1])
    ]
    for number in range(1, given.rounds + 1):
        for tried in plan:
            took = server.run(tried.system, tried.settings, given.companies, given.envs)
            tried.runs.append(took)
            sys.stderr.write(f"round {number}: {tried.system.name} {tried.settings} {took}\n")
    return plan


def main() -> None:
    """Measure, and print one JSON line."""
    given = arguments()
    # Ended so, it ends what it started, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server() as postgres:
        found = report(given.companies, postgres.settings(), measure(given, postgres))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

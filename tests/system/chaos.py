"""Everything dies at random, and nothing is lost: `python -m tests.system.chaos --seconds 180`.

Two reconcilers, a host with worker processes, and Postgres with all of its backends are killed
(SIGKILL), frozen (SIGSTOP) and cut off (their connections ended), every few seconds, while a batch
goes through; the host is told to end too (SIGTERM), and one company kills its worker. Who died is
started again, as a supervisor would. The last step pays a provider that outlives them all and
keeps its own account. `--seed` repeats the choices.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from reconciler.contract.errors import TracerError
from reconciler.local.lifeline import family, send
from reconciler.local.postgres import supervisor
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from tests.standins.poison import PROVIDER
from tests.standins.provider import Provider
from tests.system.chaos_money import IN_FLIGHT, agree, provider_of, spending
from workers.runtime.loading import load_steps

BLUEPRINT = ["normalize", "step_a", "step_b", "staffing"]
TABLES = ("normalized", "step_a", "step_b", "staffing")
# Short, so that many lives fit into the time; no attempt is to be the last one.
REGISTRY = {"lease_s": 3, "start_deadline_s": 4, "backoff_s": 0.1, "backoff_max_s": 1}
BOUNDS = {"max_attempts": 1000, "chunk_size": 5, "max_in_flight": IN_FLIGHT}
FROZEN_S = 4.0  # longer than a lease: what thaws comes too late
RECONCILER = [sys.executable, "-c", "from cli import main; main()", "reconcile", "--until-done"]
HOST = [sys.executable, "-m", "workers.host"]
STEPS = "tests.standins.poison"
REFUSED = "were no longer this worker's"


@dataclass
class Program:
    """A program that is started again whenever it has ended."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def tend(self) -> None:
        """Start it, unless it runs."""
        if self.process is None or self.process.poll() is not None:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    self.command, env=self.environment, stdout=log, stderr=log
                )

    def pids(self) -> set[int]:
        """The program and its children."""
        return family(self.process.pid) if self.process else set()

    def end(self) -> None:
        """End it and its children."""
        send(self.pids(), signal.SIGCONT)
        send(self.pids(), signal.SIGKILL)
        if self.process:
            self.process.wait()


@dataclass
class Chaos:
    """The system under attack, and what was done to it."""

    home: Path
    url: str
    provider: Provider
    programs: list[Program]
    chance: random.Random
    faults: Counter[str] = field(default_factory=Counter)

    def postgres(self) -> set[int]:
        """The postmaster and its backends, none while it is down."""
        with suppress(OSError, ValueError, IndexError):
            pid = (self.home / "postgres" / "postmaster.pid").read_text().split()[0]
            return family(int(pid))
        return set()

    def strike(self) -> None:
        """One fault, to one victim."""
        name = self.chance.choices(["reconciler", "worker", "host", "postgres"], [3, 4, 1, 2])[0]
        how = self.chance.choice(["killed", "frozen", "cut off", "told to end"])
        if how == "cut off":
            self.cut_off()
        elif how == "told to end":
            name = "host"
            self.tell_host()
        elif not (victims := self.victims(name)):
            return  # it is down already
        elif how == "killed":
            send(victims, signal.SIGKILL)
        else:
            send(victims, signal.SIGSTOP)
            time.sleep(FROZEN_S)
            send(victims, signal.SIGCONT)
        self.faults[f"{name} {how}"] += 1

    def victims(self, name: str) -> set[int]:
        """The processes that a fault hits, none where they are down."""
        *reconcilers, host = self.programs
        match name:
            case "reconciler":
                return self.chance.choice(reconcilers).pids()
            case "worker":
                living = sorted(host.pids())
                return {self.chance.choice(living)} if living else set()
            case "host":
                return host.pids()
        return self.postgres()

    def cut_off(self) -> None:
        """End half of the connections that there are, whoever has them."""
        with suppress(psycopg.Error), psycopg.connect(self.url, connect_timeout=2) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND random() < 0.5"
            )

    def tell_host(self) -> None:
        """A deploy: the host gets SIGTERM, and its processes too, as those of a container do."""
        send(self.programs[-1].pids(), signal.SIGTERM)

    def tend(self) -> None:
        """Start again what has died."""
        with suppress(TracerError):  # it is being killed as it starts: the next round tries again
            supervisor.acquire(self.home)
        for program in self.programs:
            program.tend()

    def finished(self) -> bool:
        """Whether the batch has ended, and all is booked; not while nobody can say."""
        with suppress(psycopg.Error), psycopg.connect(self.url, connect_timeout=2) as connection:
            found = connection.execute(
                "SELECT status, (SELECT count(*) FROM orders WHERE settled_at IS NULL) FROM batches"
            ).fetchone()
            return found == ("FINISHED", 0)
        return False


@contextmanager
def system(
    provider: Provider, companies: int, workers: int, chance: random.Random
) -> Iterator[Chaos]:
    """A Postgres of its own with a seeded batch, and programs that are not started yet."""
    home = Path(tempfile.mkdtemp(prefix="tracer-chaos-"))
    home.chmod(0o755)  # root's Postgres runs as another user, who must reach it
    url = supervisor.acquire(home)
    upgrade_schema(url)
    sync_steps(url, load_steps([STEPS]))
    with OperatorStore.connect(url) as operator:
        for step in BLUEPRINT:
            operator.set_step(step, {**REGISTRY, **BOUNDS})
        operator.set_polling(poll_s=0.2, idle_s=0.5)
        rows = [(line, str(line), f"Company {line}", None, {}) for line in range(companies)]
        cap = spending(companies)
        seed_batch(operator, rows, name="chaos", blueprint=BLUEPRINT, columns=[], spending=cap)
    seen = os.environ | {"DATABASE_URL": url, "TRACER_HOME": str(home), "TRACER_STEPS": STEPS}
    seen |= {"TRACER_GRACE_S": "1", PROVIDER: provider.url}
    seen["TRACER_WORKER_PROCESSES"] = str(workers)
    commands = {"reconciler-1": RECONCILER, "reconciler-2": RECONCILER, "host": HOST}
    programs = [Program(n, command, seen, home / f"{n}.log") for n, command in commands.items()]
    try:
        yield Chaos(home, url, provider, programs, chance)
    finally:
        for program in programs:
            program.end()
        supervisor.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def run(companies: int, seconds: float, seed: int, workers: int = 8) -> dict[str, object]:
    """Strike for that long, then let it finish; what was done to it and what came of it.

    Raises:
        AssertionError: something was lost, done twice or left alive.
    """
    with (
        provider_of(companies) as provider,
        system(provider, companies, workers, random.Random(seed)) as chaos,
    ):
        until, started = time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < until and not chaos.finished():
            chaos.tend()
            time.sleep(chaos.chance.uniform(0.5, 2.5))
            chaos.strike()
        deadline = time.monotonic() + 60 + companies / 20
        while not chaos.finished():
            assert time.monotonic() < deadline, "the batch does not finish"
            chaos.tend()
            time.sleep(0.5)
        return {
            "seed": seed,
            "company_steps": companies * len(BLUEPRINT),
            "seconds": round(time.monotonic() - started),
            "faults": dict(chaos.faults),
            **verdict(chaos, companies),
        }


def verdict(chaos: Chaos, companies: int) -> dict[str, object]:
    """Hold the end against what always holds; the figures."""
    with psycopg.connect(chaos.url) as connection:

        def ask(query: str) -> object:
            found = connection.execute(query.encode()).fetchone()
            return found[0] if found else None

        rows = "SELECT count(*) FROM workflow_states"
        done = companies * len(BLUEPRINT)
        assert ask(rows) == done
        assert ask(f"{rows} WHERE status = 'COMPLETED' AND advanced") == done
        assert ask(f"{rows} WHERE lease_expires_at IS NOT NULL") == 0
        for table in TABLES:
            assert ask(f"SELECT count(*) FROM results.{table}") == companies
        attempts = ask("SELECT sum(attempt) FROM workflow_states")
        kept = ask("SELECT count(*) FROM attempts")
        released = ask("SELECT sum(forgiven) FROM workflow_states")
        # Each that failed is kept, and none is twice; one that was released is none.
        assert 0 <= int(str(attempts)) - done - int(str(kept)) <= int(str(released))
        bought = agree(ask, chaos.provider, companies)
    log = "".join(p.log.read_text(errors="replace") for p in chaos.programs if p.log.exists())
    before, _, traceback = log.partition("Traceback")
    assert not traceback, f"{before[-500:]}Traceback{traceback[:4000]}"
    stale = [line.split(": ")[1].split()[0] for line in log.splitlines() if REFUSED in line]
    return {"attempts": attempts, "refused_stale_writes": sum(map(int, stale)), **bought}


def main() -> None:
    """What `make chaos` runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.chaos", description=__doc__)
    parser.add_argument("--companies", type=int, default=5000, help="four company-steps each")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    sys.stdout.write(f"repeat with --seed {given.seed}\n")
    sys.stdout.flush()
    figures = run(given.companies, given.seconds, given.seed)
    sys.stdout.write("".join(f"{name}: {value}\n" for name, value in figures.items()))


if __name__ == "__main__":
    main()

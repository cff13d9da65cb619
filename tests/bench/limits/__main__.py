"""How close calls come to a provider's limits, and how often they pass them: a JSON line a part.

    python -m tests.bench.limits [--part one] [--seconds 60]

one: one step, one host, a limit of 20/s: the share of calls that are refused, and the rate.
shared: three steps, four hosts, two batches, and the same limit.
learned: nothing is known of a limit of 50/s; counted after the first minute.
doors: ten calls at a time, each of 2 s; the host is killed -9 twice, and another starts at once.
killed: a limit of 50/s, so that 100 calls have their time; the host is killed -9 twice.
day: 1,000 calls a day, and 1,100 companies: what `tracer explain` says of the rest.
small: at 20/s, how long a batch of 200 companies takes alone, and behind one of 2,000; and what a
    plan said before.

The provider refuses by a strict sliding window: see `server`. Each host is a `tracer reconcile`
with a home of its own. Counting begins ten seconds after the first call, since the other hosts
start on the same cores until then. Linux only.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.contract.limits import SPACED_S
from reconciler.local.lifeline import end_all, family, send
from reconciler.local.service import HOST, free_port
from reconciler.operator.diagnosis.explain import explain, read_row
from reconciler.operator.money.plan_time import read_times
from reconciler.operator.money.provider_settings import read_settings, set_provider
from reconciler.operator.seeding.batch import seed_batch
from reconciler.operator.store import OperatorStore
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import sync_steps
from tests.bench.filling import report
from tests.bench.peers.__main__ import Server, server
from tests.bench.peers.measuring import database
from tests.bench.peers.programs import GRACE_S, ROOT
from workers.runtime.loading import load_steps

PACKAGE = "tests.bench.limits.steps"
PARTS = ("one", "shared", "learned", "doors", "killed", "day", "small")
LEARNING_S, STARTING_S = 60.0, 10.0


@dataclass(frozen=True)
class Trial:
    """One run: what the provider allows, what Tracer knows of it, who calls."""

    name: str
    limit: int
    seconds: float
    steps: tuple[str, ...] = ("first",)
    hosts: int = 1
    batches: int = 1
    known: bool = True
    most: int | None = None
    latency_s: float = 0.2
    kills: int = 0
    window_s: float = 1.0

    def run(self, postgres: Server) -> dict[str, Any]:
        """What came of it."""
        with database(postgres.url, f"limits_{self.name}") as url, ExitStack() as running:
            api = running.enter_context(provider(self.limit, self.window_s, self.latency_s))
            companies = int(self.limit * max(1, (self.seconds + LEARNING_S) / self.window_s)) + 100
            self._prepare(url, companies)
            environment = {"DATABASE_URL": url, "BENCH_API": api, "TRACER_STEPS": PACKAGE}
            homes = [postgres.home / f"{self.name}-{i}" for i in range(self.hosts)]
            hosts = [running.enter_context(host(home, environment)) for home in homes]
            began = time.monotonic()
            while not calls_of(api)["calls"]:
                if time.monotonic() - began > 60:
                    raise SystemExit(f"no call has come: {(homes[0] / 'log').read_text()[-2000:]}")
                time.sleep(0.1)
            time.sleep(STARTING_S if self.known else LEARNING_S)
            for _ in range(self.kills):
                time.sleep(self.seconds / (self.kills + 1))
                send(set(family(hosts[-1].pid)), signal.SIGKILL)
                hosts.append(running.enter_context(host(homes[0], environment)))
            time.sleep(self.seconds / (self.kills + 1))
            return self._figures(calls_of(api)) | self._waiting(url)

    def _figures(self, seen: Mapping[str, Any]) -> dict[str, Any]:
        first = seen["calls"][0][0]
        since = first + (STARTING_S if self.known else LEARNING_S)
        until = since + self.seconds
        calls = [status for at, status, _ in seen["calls"] if since <= at < until]
        refused = calls.count(429)
        rate = (len(calls) - refused) / (until - since)
        return {
            "part": self.name,
            "calls": len(calls),
            "calls_in_all": len(seen["calls"]),
            "refused": round(refused / max(1, len(calls)), 4),
            "refused_in_all": sum(status == 429 for _, status, _ in seen["calls"]),
            "rate": round(rate * self.window_s / self.limit, 3),
            "most_at_once": seen["most"],
        }

    def _waiting(self, url: str) -> dict[str, Any]:
        """How many rows wait for a window of more than a minute, and one's explanation."""
        if self.window_s <= SPACED_S:
            return {}
        with OperatorStore.connect(url) as store:
            batch = store.batch("b0")
            found = store.rows(
                "SELECT c.key FROM workflow_states JOIN companies c ON c.id = company_id"
                " WHERE status = 'PENDING'"
            )
            says = {explain(read_row(store, batch, row["key"])).says for row in found}
        return {"waiting": len(found), "says": sorted(says)}

    def _prepare(self, url: str, companies: int) -> None:
        limit = f"{self.limit}/{self.window_s:g}s" if self.known else "none"
        prepare(url, f"limit={limit}", f"max_concurrent={self.most or 'none'}")
        for batch in range(self.batches):
            seed(url, f"b{batch}", companies, self.steps)


def prepare(url: str, *settings: str) -> None:
    """A schema, the steps, and what is known of the provider."""
    upgrade_schema(url)
    sync_steps(url, load_steps([PACKAGE]))
    with OperatorStore.connect(url) as store:
        set_provider(store, "strict", read_settings(settings))


def seed(url: str, name: str, companies: int, steps: Sequence[str] = ("first",)) -> None:
    """A batch of so many companies of its own."""
    rows = [
        (i, f"{name}-{i}", f"Company {i}", f"{name}-{i}.example.com", {}) for i in range(companies)
    ]
    with OperatorStore.connect(url) as store:
        seed_batch(store, rows, name=name, blueprint=steps, columns=[])


def behind_a_large_one(postgres: Server, limit: int = 20, small: int = 200) -> dict[str, Any]:
    """The part `small`: seconds from a batch's seeding, while a host runs, to its end."""
    with database(postgres.url, "limits_small") as url, provider(limit) as api:
        prepare(url, f"limit={limit}/s")
        environment = {"DATABASE_URL": url, "BENCH_API": api, "TRACER_STEPS": PACKAGE}
        with OperatorStore.connect(url) as store:
            with store.transaction() as connection:
                planned = read_times(connection, {"strict": small})["strict"].seconds or 0.0
            store.set_step("second", {"enabled": False})
            seed(url, "idle", 1, ["second"])  # for it the host stays
            with host(postgres.home / "small", environment):
                wait_for(store, "SELECT true FROM polling WHERE ticked_at > now() - interval '2 s'")
                alone = took(store, url, "alone", small)
                seed(url, "large", 10 * small)
                wait_for(
                    store, f"SELECT true FROM orders WHERE sent_at IS NOT NULL OFFSET {2 * small}"
                )
                behind = took(store, url, "behind", small)
    return {
        "part": "small",
        "planned_s": round(planned, 1),
        "alone_s": round(alone, 1),
        "behind_s": round(behind, 1),
        "planned_to_alone": round(planned / alone, 2),
        "times_alone": round(behind / alone, 2),
    }


def took(store: OperatorStore, url: str, name: str, companies: int) -> float:
    """Seed a batch, and see it through."""
    seed(url, name, companies)
    wait_for(store, f"SELECT true FROM batches WHERE name = '{name}' AND status = 'FINISHED'")
    (found,) = store.rows(
        "SELECT extract(epoch FROM finished_at - created_at)::float8 AS s"
        " FROM batches WHERE name = %(name)s",
        name=name,
    )
    return float(found["s"])


def wait_for(store: OperatorStore, found: str, within_s: float = 300) -> None:
    """Until the statement finds a row."""
    deadline = time.monotonic() + within_s
    while not store.rows(found):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {within_s:g} s: {found}")
        time.sleep(0.1)


@contextmanager
def provider(limit: int, window_s: float = 1.0, latency_s: float = 0.2) -> Iterator[str]:
    """A provider, see `server`; gives its URL."""
    port = free_port((0,))
    terms = map(str, (port, limit, window_s, latency_s, ""))
    command = [sys.executable, "-m", "tests.bench.limits.server", *terms]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
        try:
            yield f"http://{HOST}:{port}"
        finally:
            program.kill()


@contextmanager
def host(home: Path, environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A loop with its own worker host, ended with all its children at the end."""
    home.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).with_name("tracer")), "reconcile", "--until-done"]
    given = {**os.environ, **environment, "TRACER_HOME": str(home)}
    with (home / "log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=given, stdout=log, stderr=log)
    try:
        yield process
    finally:
        end_all({process.pid}, GRACE_S)
        process.wait()


def calls_of(api: str) -> dict[str, Any]:
    """What the provider has seen."""
    with urllib.request.urlopen(f"{api}/counts", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.limits")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    trials = {
        "one": Trial("one", 20, given.seconds),
        "shared": Trial(
            "shared", 20, given.seconds, steps=("first", "second", "third"), hosts=4, batches=2
        ),
        "learned": Trial("learned", 50, given.seconds, known=False),
        "doors": Trial("doors", 100, given.seconds, most=10, latency_s=2.0, kills=2),
        "killed": Trial("killed", 50, given.seconds, kills=2),
        "day": Trial("day", 1000, given.seconds, window_s=86_400.0),
    }
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with server() as postgres:
        for part in given.part or PARTS:
            whole = trials.get(part)
            report(whole.run(postgres) if whole else behind_a_large_one(postgres))


if __name__ == "__main__":
    main()

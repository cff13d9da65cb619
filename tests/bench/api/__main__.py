"""What the product does for steps that wait for a web API: a JSON line for each part.

    python -m tests.bench.api [--part slow] [--companies 5000] [--rounds 3]

slow: one step that asks an API of 1 s, 500 companies in flight at most, on Tracer and on pgqueuer,
      which take turns; `share` is that of the limit, in flight / latency.
fast: the same with an API of 50 ms and 200 companies in flight.
full: one worker process with 2,000 companies in flight: its memory, its connections, and for how
      long at most its event loop was blocked. In that time its thread was busy for `thread_ms`; the
      rest went to other threads and other programs.
chain: three steps that take their results from each other, against three that do not.
paid: a step that buys through `paid`, and one whose result stands for the answer, against one that
      costs nothing; calls of 500 companies, and a cap. `order_us` is what an order adds of CPU.

Intervals and chunks are the default. The clock runs from the first request to the last result that
is written. CPU is that of the system's programs and of Postgres, not the API's. Linux only.
"""

import argparse
import json
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.api.trial import Plan, Took
from tests.bench.filling import report
from tests.bench.peers.__main__ import Server, server
from tests.bench.peers.environments import default_directory, python
from tests.bench.peers.systems import PGQUEUER

HERE = Path(__file__).parent
# pgqueuer as in peers/systems.py; of batches of 50, 100 and 250 jobs, those of 50 were fastest.
POOL = 40
TYPED, PLAIN = [tuple(f"{kind}_{n}" for n in (1, 2, 3)) for kind in ("typed", "plain")]


class Bench:
    """The parts, on one Postgres."""

    def __init__(self, given: argparse.Namespace, postgres: Server) -> None:
        self._given, self._postgres = given, postgres

    def slow(self) -> dict[str, Any]:
        return self._beside_peer(1.0, 500)

    def fast(self) -> dict[str, Any]:
        return self._beside_peer(0.05, 200)

    def full(self) -> dict[str, Any]:
        """One worker process, with as many in flight as it may have."""
        in_flight, note = 2000, self._postgres.home / "blocked.json"
        settings = {"max_in_flight": in_flight, "concurrency": in_flight, "note": str(note)}
        plan = Plan("full", self._given.companies, 1.0, settings, warm_up=0, blueprint=("watched",))
        took = self._took(plan, TRACER_WORKER_PROCESSES="1")
        return {
            "most_at_once": took.most_at_once,
            "per_s": round(took.per_s),
            "worker_mb": round(took.worker_mb),
            "connections": took.connections,
            **{name: round(value, 1) for name, value in json.loads(note.read_text()).items()},
        }

    def chain(self) -> dict[str, Any]:
        """With inputs and without, in turns."""
        settings = {"max_in_flight": 5000, "concurrency": 500, "note": ""}
        both = [
            Plan("chain", self._given.companies, 0, settings, blueprint=blueprint, asks=False)
            for blueprint in (TYPED, PLAIN)
        ]
        rounds = [[self._took(plan) for plan in both] for _ in range(self._given.rounds)]
        ratios = [typed.per_s / plain.per_s for typed, plain in rounds]
        return {
            "typed": figures([typed for typed, _ in rounds]),
            "plain": figures([plain for _, plain in rounds]),
            "ratio": round(median(ratios), 2),
            "ratios": [round(ratio, 2) for ratio in ratios],
        }

    def paid(self) -> dict[str, Any]:
        """With orders and without, in turns."""
        sizes = {"max_in_flight": 5000, "concurrency": 500, "chunk_size": 500}
        settings = {**sizes, "note": "", "cap": 10 * self._given.companies}
        names = ("plain_1", "bought", "by_result")
        plans = [
            Plan(name, self._given.companies, 0, settings, blueprint=(name,), asks=False)
            for name in names
        ]
        rounds = [[self._took(plan) for plan in plans] for _ in range(self._given.rounds)]
        found = {
            name: figures([runs[place] for runs in rounds]) for place, name in enumerate(names)
        }
        for place, name in enumerate(names[1:], 1):
            more = [1000 * (runs[place].cpu_ms - runs[0].cpu_ms) for runs in rounds]
            found[name]["order_us"] = round(median(more))
            found[name]["order_us_rounds"] = [round(us) for us in more]
        return found

    def _beside_peer(self, latency_s: float, in_flight: int) -> dict[str, Any]:
        limit = in_flight / latency_s
        ours = {"max_in_flight": in_flight, "concurrency": in_flight, "note": ""}
        theirs = {"max_in_flight": in_flight, "batch_size": self._given.batch, "pool": POOL}
        interpreter = python(self._given.envs, "pgqueuer", [*PGQUEUER, "aiohttp==3.14.5"])
        command = (str(interpreter), str(HERE / "pgqueuer_program.py"))
        plans = [
            Plan("tracer", self._given.companies, latency_s, ours),
            Plan("pgqueuer", self._given.companies, latency_s, theirs, command=command),
        ]
        rounds = [[self._took(plan) for plan in plans] for _ in range(self._given.rounds)]
        ratios = [tracer.per_s / peer.per_s for tracer, peer in rounds]
        found = {
            plan.name: figures([took[place] for took in rounds]) for place, plan in enumerate(plans)
        }
        for shown in found.values():
            shown["share"] = round(shown["per_s"] / limit, 2)
        return {
            "latency_s": latency_s,
            "in_flight": in_flight,
            **found,
            "times_as_fast": round(median(ratios), 2),
            "ratios": [round(ratio, 2) for ratio in ratios],
        }

    def _took(self, plan: Plan, **variables: str) -> Took:
        postgres = self._postgres
        return plan.run(postgres.url, postgres.postmaster, postgres.home, **variables)


def figures(runs: list[Took]) -> dict[str, Any]:
    """Of one system, each in the middle of the rounds."""

    def middle(value: Callable[[Took], float], digits: int) -> float:
        return round(median(map(value, runs)), digits)

    return {
        "per_s": middle(lambda took: took.per_s, 1),
        "rounds": [round(took.per_s) for took in runs],
        "per_s_from_commit": middle(lambda took: took.rows / took.commit_s, 1),
        "cpu_ms": middle(lambda took: took.cpu_ms, 3),
        "most_at_once": max(took.most_at_once for took in runs),
        "worker_mb": middle(lambda took: took.worker_mb, 0),
        "connections": max(took.connections for took in runs),
    }


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.api",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="may be given again")
    parser.add_argument("--companies", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3, help="every system once in each")
    parser.add_argument("--batch", type=int, default=50, help="jobs that pgqueuer takes at once")
    parser.add_argument("--envs", type=Path, default=default_directory(), help="made when needed")
    return parser.parse_args()


PARTS = ("slow", "fast", "full", "chain", "paid")


def main() -> None:
    given = arguments()
    # Ended so, it ends what it started, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server() as postgres:
        bench = Bench(given, postgres)
        for part in given.part or PARTS:
            report({"part": part, "companies": given.companies, **getattr(bench, part)()})


if __name__ == "__main__":
    main()

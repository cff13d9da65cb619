"""How many ids a second one process dispatches: `python -m tests.bench.dispatch`, one JSON line.

The control plane runs in a process of its own, as Modal's does, and executes nothing.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from reconciler.contract.claimed import Chunk
from reconciler.spawners.modal import ModalSpawner
from reconciler.spawners.protocol import Spawned, Unanswered
from tests.standins.controlplane.client import environment
from tests.standins.controlplane.terminal import ROOT
from tests.world import chunk_of

CHUNK, CALLS, ROUNDS = 150, 200, 5


@contextmanager
def separate_plane() -> Iterator[dict[str, str]]:
    """A control plane in a process of its own, with the app deployed: the environment to use it."""
    command = [sys.executable, "-m", "tests.standins.controlplane"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            lines = [process.stdout.readline().strip() for _ in range(6)]
            yield dict(line.removeprefix("export ").split("=", 1) for line in lines)
        finally:
            process.terminate()


def deploy(seen: dict[str, str]) -> None:
    """Put the app there, with the real commands."""
    for words in ("secret create tracer-database DATABASE_URL=unused", "deploy -m workers.app"):
        command = [sys.executable, "-m", "modal", *words.split()]
        subprocess.run(command, cwd=ROOT, env=os.environ | seen, check=True, capture_output=True)


@dataclass(frozen=True)
class Round:
    """Ids a second: by the clock, and by this process's own CPU time."""

    by_clock: float
    by_cpu: float


def rounds() -> list[Round]:
    """Dispatch everything, several times over."""
    ids = list(range(1, CHUNK + 1))
    chunks = [chunk_of("normalize", ids, max_waiting=10**9) for _ in range(CALLS)]
    with separate_plane() as seen, environment(seen):
        deploy(seen)
        with closing(ModalSpawner()) as spawner:
            dispatch(spawner, chunks[:1])  # connects, and looks the function up
            return [dispatch(spawner, chunks) for _ in range(ROUNDS)]


def dispatch(spawner: ModalSpawner, chunks: list[Chunk]) -> Round:
    """One round."""
    clock, cpu = time.perf_counter(), time.process_time()
    outcomes = spawner.spawn(chunks)
    outcomes = [o for o in outcomes if not isinstance(o, Unanswered)]
    outcomes += [outcome for _, outcome in spawner.late_answers(wait_for_all=True)]
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    assert sum(isinstance(outcome, Spawned) for outcome in outcomes) == len(chunks)
    return Round(len(chunks) * CHUNK / clock, len(chunks) * CHUNK / cpu)


if __name__ == "__main__":
    found = rounds()
    measured = {
        "chunk": CHUNK,
        "calls": CALLS,
        "ids_per_s": [round(one.by_clock) for one in found],
        "ids_per_cpu_s": [round(one.by_cpu) for one in found],
    }
    sys.stdout.write(json.dumps(measured) + "\n")

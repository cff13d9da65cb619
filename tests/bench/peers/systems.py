"""The systems, their pinned packages and their settings; the first of each's settings is the best.

All settings can be measured again with `--all-settings`. The docstrings name the pages of the
projects' own documentation that the settings are from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class System:
    """A program, what it needs installed, and how it was set; `processes` is among the settings.

    `like_for_like`: every step is a unit of work that the system itself knows: it stores, repeats
    and limits each alone, as Tracer does.
    """

    name: str
    settings: Sequence[Settings]
    program: str = ""
    requirements: Sequence[str] = field(default_factory=tuple)
    like_for_like: bool = True


# asyncpg and uvloop: its page "Benchmarks", and its own tools/benchmark.py.
PGQUEUER = ("pgqueuer[asyncpg]==1.6.0", "asyncpg==0.32.0", "uvloop==0.23.0")
DBOS = ("dbos==3.4.0", "sqlalchemy==2.1.9", "psycopg[binary,pool]==3.3.9")
# The C implementation of psycopg, and uvloop: both faster here than what procrastinate brings.
PROCRASTINATE = ("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9", "uvloop==0.23.0")


def pgqueuer(shape: str) -> list[Settings]:
    """Performance Tuning: a larger `batch_size` for short jobs, a pool of connections for the jobs
    and one of its own for the manager, no cap on tasks, `pgq autovac`, durable tables. Deployment
    Patterns: one process, or one per core."""
    base = {"shape": shape, "processes": 1, "batch_size": 100, "pool": 40, "driver": "connection"}
    tried = [
        {"processes": 2},
        {"processes": 3},
        {"batch_size": 10},
        {"batch_size": 50},
        {"batch_size": 200},
        {"pool": 10},
        {"pool": 20},
        {"driver": "pool"},  # the manager's connections are from the pool, too
        {"driver": "pool", "pool": 20},
    ]
    return [base, *(base | change for change in tried)]


def dbos() -> list[Settings]:
    """Queues: `worker_concurrency` and `polling_interval_sec`; an `executor_id` for each process.
    Configuration: `max_executor_threads`, `sys_db_pool_size`. Steps write on a pool of their own;
    "datasource" writes the result with the step's checkpoint in one transaction instead
    (Transactions & Datasources), "loop" has coroutine workflows."""
    base = {
        "style": "steps",
        "processes": 2,
        "concurrency": 1000,
        "threads": 20,
        "pool": 20,
        "polling_s": 0.2,
    }
    tried = [
        {"style": "datasource"},
        {"style": "loop"},
        {"processes": 1, "concurrency": 2000},
        {"concurrency": 100},
        {"threads": 8},
        {"threads": 40, "pool": 40},
        {"polling_s": 1.0},  # the default
    ]
    return [base, *(base | change for change in tried)]


def procrastinate(shape: str) -> list[Settings]:
    """Execute multiple jobs at the same time: processes, and `concurrency` in each. Mind the size
    of your pool: concurrency plus one. Custom connection pool: one without a check at every loan.
    Delete finished jobs: `delete_jobs`."""
    base = {"shape": shape, "processes": 3, "concurrency": 5, "delete_jobs": "never"}
    tried = [
        {"processes": 1},
        {"processes": 2},
        {"processes": 4},
        {"concurrency": 3},
        {"concurrency": 10},
        {"processes": 2, "concurrency": 30},
        {"delete_jobs": "always"},
    ]
    return [base, *(base | change for change in tried)]


# `tracer interval set --poll`, and `tracer steps set STEP chunk_size=`.
TRACER = [
    {"processes": 1, "poll_s": poll_s, "chunk_size": chunk_size}
    for poll_s, chunk_size in [(0.01, 500), (0.02, 250), (0.05, 500), (0.1, 500), (0.05, 1000)]
]

SYSTEMS = (
    System("tracer", TRACER),
    System("pgqueuer", pgqueuer("chain"), "pgqueuer_peer.py", PGQUEUER),
    System("procrastinate", procrastinate("chain"), "procrastinate_peer.py", PROCRASTINATE),
    System("dbos", dbos(), "dbos_peer.py", DBOS),
    # One job a company that does its three steps: the system knows nothing of them.
    System("pgqueuer-company", pgqueuer("company"), "pgqueuer_peer.py", PGQUEUER, False),
    System(
        "procrastinate-company",
        procrastinate("company"),
        "procrastinate_peer.py",
        PROCRASTINATE,
        False,
    ),
)

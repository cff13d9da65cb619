"""What all lanes of a worker process share."""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass, field
from threading import Lock

from workers.resources import Resources
from workers.runtime.calls import Verbs
from workers.runtime.heart import Heart
from workers.runtime.holds import Holds
from workers.runtime.isolation import Isolation
from workers.runtime.journal import Journal
from workers.runtime.ledger import Ledger
from workers.runtime.pacer import Pacer


@dataclass
class Process:
    """The parts of a worker process that each lane uses."""

    store: Verbs
    heart: Heart
    ledger: Ledger
    journal: Journal
    holds: Holds
    isolation: Isolation
    pacer: Pacer
    loop: asyncio.AbstractEventLoop
    resources: Resources
    beginners: Executor
    loop_beginner: Executor  # of steps on the event loop: a second thread would take its time
    computing: Lock = field(default_factory=Lock)  # held by the one call that computes

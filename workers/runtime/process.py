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
from workers.runtime.ledger import Ledger


@dataclass
class Process:
    """The parts of a worker process that each lane uses."""

    store: Verbs
    heart: Heart
    ledger: Ledger
    holds: Holds
    isolation: Isolation
    loop: asyncio.AbstractEventLoop
    resources: Resources
    beginners: Executor
    computing: Lock = field(default_factory=Lock)  # held by the one call that computes

"""What the tick asks of a spawner, and the three answers that a dispatch can have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.contract.store import Chunk


@dataclass(frozen=True)
class Spawned:
    """The call is with the workers; `call_id` where they give calls a name."""

    call_id: str | None = None


@dataclass(frozen=True)
class Refused:
    """The call is certainly not with the workers: the rows may go back at once."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """The call may have landed: the rows stay QUEUED and their lease decides."""

    reason: str


Outcome = Spawned | Refused | Unknown


class Spawner(Protocol):
    """A way to start workers."""

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        """Start one call per chunk, with its company ids and nothing else.

        Returns one outcome per chunk, in order, and raises nothing: what goes wrong is an outcome.
        """
        ...

    def recall(self, call_ids: Sequence[str]) -> list[str]:
        """Cancel calls; returns those that are gone. The others are asked for again."""
        ...

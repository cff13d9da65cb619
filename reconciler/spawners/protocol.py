"""The protocol of a spawner, and the outcomes of a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.contract.claimed import Chunk, Room


@dataclass(frozen=True)
class Spawned:
    """Workers have the call; `call_id` is None if calls have no ids."""

    call_id: str | None = None


@dataclass(frozen=True)
class Refused:
    """Workers certainly do not have the call: its rows may go back to PENDING at once."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """Workers may have the call: its rows stay QUEUED, and their lease decides."""

    reason: str


@dataclass(frozen=True)
class Unanswered:
    """There is no answer yet; `Spawner.late_answers` returns it later."""


Outcome = Spawned | Refused | Unknown
Answer = tuple[Chunk, Outcome]


class Spawner(Protocol):
    """Sends calls to workers. It raises no errors: every error is an outcome."""

    def room(self) -> Room:
        """What workers can take now; a claim takes no more."""
        ...

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        """Start one call per chunk, with its company ids and nothing else; one outcome per chunk.

        It returns soon, with `Unanswered` for slow calls: one step's calls must not delay another
        step's tick.
        """
        ...

    def late_answers(self, wait_for_all: bool = False) -> list[Answer]:
        """The new answers for chunks that were `Unanswered`; with `wait_for_all`, all answers."""
        ...

    def cancel(self, call_ids: Sequence[str]) -> list[str]:
        """Cancel calls; returns the ids of those that are gone. Call it again with the others."""
        ...

    def close(self) -> None:
        """Give up the requests that still run."""
        ...

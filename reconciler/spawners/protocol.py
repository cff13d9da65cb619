"""What the tick asks of a spawner, and the answers that a dispatch can have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.contract.claimed import Chunk


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


@dataclass(frozen=True)
class Unanswered:
    """There is no answer yet: `late` has it once there is."""


Outcome = Spawned | Refused | Unknown
Answer = tuple[Chunk, Outcome]


class Spawner(Protocol):
    """A way to start workers. It raises nothing: what goes wrong is an outcome."""

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        """Start one call per chunk, with its company ids and nothing else; one outcome for each.

        It does not wait for long: one step's calls must not keep another step's tick waiting.
        """
        ...

    def late(self, settle: bool = False) -> list[Answer]:
        """What has come since of chunks that were unanswered; all of it, with `settle`."""
        ...

    def cancel(self, call_ids: Sequence[str]) -> list[str]:
        """Cancel calls; returns those that are gone. The others are asked for again."""
        ...

    def close(self) -> None:
        """Give up what is under way."""
        ...

"""How a side does a verb, to its end or in a transaction left open, and what is checked then."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine

from reconciler.contract.claimed import Chunk
from reconciler.contract.database import Database, Row
from reconciler.contract.errors import BadInput
from reconciler.contract.states import BatchStatus, Status
from reconciler.contract.worker_store import Attempt
from reconciler.operator.batch import BatchView
from reconciler.operator.store import OperatorStore
from tests.system.machine.model import (
    TICK,
    WAITS_FOR,
    Found,
    Key,
    Seen,
    check_moves,
    check_world,
    read,
)
from tests.system.machine.sides import Held, Sides, line

T = TypeVar("T")
May = Callable[[Key, Row | None], bool]


def anything(_: Key, __: Row | None) -> bool:
    return True


def untouched(_: Key, __: Row | None) -> bool:
    return False


def holds(attempts: dict[Key, int]) -> May:
    """Only rows of `attempts`, at just this attempt."""
    return lambda key, old: old is not None and attempts.get(key) == old["attempt"]


def of_batch(batch: BatchView) -> May:
    return lambda key, _: key.batch_id == batch.id


def nothing(*_: Any) -> None:
    """A verb after which nobody has anything to remember."""


def newest(remembered: Sequence[T], which: int) -> T:
    """The newest for 0, and so on back; round again where there are not so many."""
    return remembered[-1 - which % len(remembered)]


def held(attempts: Sequence[Attempt]) -> dict[Key, int]:
    """The attempts by their rows."""
    return {Key(a.company.id, a.step_name, a.batch_id): a.attempt for a in attempts}


def ours(at: Seen, attempts: Sequence[Attempt], failed: bool = True) -> set[tuple[str, int]]:
    """The steps and companies whose attempt is under way; only those not `failed` if it says so."""
    rows = [(key, at.rows[key], attempt) for key, attempt in held(attempts).items()]
    return {
        (key.step_name, key.company_id)
        for key, row, attempt in rows
        if (row["status"], row["attempt"]) == (Status.IN_PROGRESS, attempt)
        and (failed or row["error"] is None)
    }


PASSES = """
WITH throttled AS (UPDATE throttles SET held_until = held_until - interval '1 hour')
UPDATE workflow_states SET available_at = available_at - interval '1 hour',
    lease_expires_at = lease_expires_at - interval '1 hour'
WHERE ctid = ANY(ARRAY(SELECT ctid FROM workflow_states
    WHERE status IN ('PENDING', 'QUEUED', 'IN_PROGRESS') FOR UPDATE SKIP LOCKED))
"""


class Machine(RuleBasedStateMachine):
    """What is committed was `seen` after the last rule; the rest is what each side remembers.

    No rule has a precondition on what was read: a share that falls otherwise in a second run must
    not change what is drawn.
    """

    def __init__(self, world: Sides, most_held: int) -> None:
        super().__init__()
        self.sides, self.most_held = world, most_held
        self.held: list[Held] = []
        self.chunks: list[Chunk] = []
        self.waiting: list[Chunk] = []  # for an answer of the spawner
        self.begun: list[list[Attempt]] = []
        self.landed: dict[tuple[str, int], Found] = {}
        self.kept: Counter[tuple[str, int, Found]] = Counter()
        # Attempts that began. A number that was refunded before is the next claim's again, so that
        # a worker who comes late begins under it rightly; one that began never comes back.
        self.spent: set[tuple[Key, int]] = set()
        self.handed_back: set[tuple[Key, int]] = set()  # begun, and released again
        self.marks = self.planted = 0
        self.sound = False
        world.clean()
        self.seen = read(line(world.eyes).only)

    def do(
        self,
        by: Database,
        verbs: tuple[str, ...],
        act: Callable[[], Any],
        land: Callable[..., None] = nothing,
        may: May = anything,
        ending: str = "at once",
    ) -> None:
        """Let a side do a verb: to its end, or in a transaction that is left open."""
        self.sound = False
        for one in [one for one in self.held if one.side is by]:
            self.settle(one)
        open_ = ending != "at once" and len(self.held) < self.most_held
        if open_:
            line(by).only.execute("BEGIN")
        done = self.sides.run(by, act, self.held, partial(self.wait_for, verbs))
        finish = partial(land, done, self.seen)
        if open_:
            line(by).only.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            self.held.append(Held(by, verbs, may, finish, ending == "later"))
            self.look(verbs, untouched)
        else:
            self.look(verbs, may)
            finish()
        self.check()

    def wait_for(self, verbs: tuple[str, ...], holder: Held) -> None:
        """One waits for `holder`: where it may, the holder goes first."""
        verb = "tick" if verbs == TICK else verbs[0]
        allowed = WAITS_FOR.get(verb, set(holder.verbs))
        assert allowed & set(holder.verbs), f"{verb} waits for {holder.verbs}"
        self.settle(holder, verbs if verbs == TICK else ())

    def settle(self, one: Held, beside: tuple[str, ...] = ()) -> None:
        """End a transaction; while it is open, its own side sees what it will leave."""
        self.held.remove(one)
        connection = line(one.side).only
        if one.commits:
            self.look(one.verbs + beside, one.may if not beside else anything, one.side)
            connection.execute("COMMIT")
            one.land()
        else:
            connection.execute("ROLLBACK")

    def look(
        self,
        verbs: tuple[str, ...],
        may: May = anything,
        through: Database | None = None,
    ) -> None:
        """Read all, and compare with what was seen before."""
        before, self.seen = self.seen, read(line(through or self.sides.eyes).only)
        check_moves(before, self.seen, verbs, may)

    def check(self) -> None:
        """What holds whatever was done."""
        check_world(self.seen)
        assert self.seen.landed == self.landed
        assert self.seen.kept == self.kept
        for key, attempt in self.spent:
            now = self.seen.rows[key]["attempt"]
            assert now == attempt or (
                now > attempt and (key, attempt) in self.seen.ended | self.handed_back
            )
        self.sound = True

    def put(self, attempt: Attempt, mark: str | None) -> None:
        """A result that has landed: of two, the newer is shown that has found something."""
        place = (attempt.step_name, attempt.company.id)
        found, there = (mark, attempt.batch_id), self.landed.get(place)
        if there is None:
            self.landed[place] = found
        elif mark is None and there[0] is not None:
            self.kept[*place, found] += 1
        else:
            self.kept[*place, there] += 1
            self.landed[place] = found

    def moment(self, late: timedelta = timedelta(0)) -> datetime:
        """The clock of this machine, and so of its Postgres, as a tick read it that is so late."""
        return datetime.now(UTC) - late

    def batch(self, which: int) -> BatchView:
        """A batch as an operator has looked it up."""
        row = newest(list(self.seen.batches.values()), which)
        known = {f.name: row[f.name] for f in fields(BatchView) if f.name in row}
        return BatchView(**known, companies=0, now=self.moment())

    def told(
        self, operator: OperatorStore, verb: Callable[..., Any], batch: BatchView, *values: Any
    ) -> Any:
        """An operator's verb, which is refused only where the batch has ended."""
        try:
            return verb(operator, batch, *values)
        except BadInput:
            assert self.seen.batches[batch.id]["status"] != BatchStatus.RUNNING
            return None

    def pass_an_hour(self) -> None:
        """Leases, backoffs and throttles end, but those that a transaction holds."""
        self.sides.eyes.rows(PASSES)

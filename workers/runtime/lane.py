"""The calls of one step in a worker process: which are begun, and how its function is called."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from math import inf
from threading import Condition
from time import monotonic
from typing import Any

import psycopg

from reconciler.contract.errors import NotAllowed
from reconciler.contract.holds import Hold
from reconciler.contract.worker_store import Attempt, Failure
from workers.kit import Step
from workers.paid import Paid
from workers.runtime.calls import Call, Turn
from workers.runtime.journal import Notes
from workers.runtime.ledger import Entry
from workers.runtime.outcome import TookTooLong, outcomes, taken
from workers.runtime.patience import BEGIN_PATIENCE_S, patiently
from workers.runtime.process import Process


class Lane(ABC):
    """The calls of one step.

    A call is begun once fewer companies than `Step.companies_at_once` are in hand: so the functions
    do not wait for the database, and what is begun is worked soon.
    """

    def __init__(self, step: Step, process: Process, beginners: Executor) -> None:
        self.step = step
        self._beginners = beginners
        self._terms = step.bought_on
        self._process = process
        self._waiting: deque[Call] = deque()
        self._ready: deque[Turn] = deque()
        self._in_hand = 0  # companies of calls that are begun, or about to be
        self._changed = Condition()
        self._wakes_at = inf  # when a first call that is ready may go out
        process.isolation.on_open(self._reopen)
        process.holds.on_hold(step, self._let_go)
        process.pacer.on_pause(step, self._let_go)

    @abstractmethod
    def _work(self) -> None:
        """Call the function for what is ready, as far as there is room."""

    @abstractmethod
    def _open(self) -> None:
        """Open what the function needs before its call's time has come."""

    @abstractmethod
    def _give_up(self, call: Call) -> None:
        """Wait no longer for functions that run for a call that was stopped."""

    def submit(self, call: Call) -> None:
        """Take a call; it begins when there is room."""
        with self._changed:
            self._waiting.append(call)
            self._admit()

    def stop(self, call: Call, within_s: float) -> None:
        """Call the function for no more companies of the call: they go back to the database.

        What still runs after `within_s` seconds is given up.
        """
        call.stopped = True
        with self._changed:
            waiting = call in self._waiting
            if waiting:
                self._waiting.remove(call)
            dropped = [turn for turn in self._ready if turn.call is call]
            self._ready = deque(turn for turn in self._ready if turn.call is not call)
        if waiting or self._process.isolation.withdraw(call):
            self._beginners.submit(self._hand_back, call)
        self._drop(dropped)
        if not call.done.done():
            give_up = partial(self._process.loop.call_later, within_s, self._give_up, call)
            self._process.loop.call_soon_threadsafe(give_up)

    def _let_go(self) -> None:
        """The step is held, or its provider must wait: give back what is not called yet."""
        with self._changed:
            waiting, self._waiting = self._waiting, deque()
            dropped, self._ready = list(self._ready), deque()
        for call in waiting:
            self._beginners.submit(self._hand_back, call)
        self._drop(dropped)

    def _reopen(self) -> None:
        with self._changed:
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._in_hand < self.step.companies_at_once:
            if not self._process.isolation.enter(self._waiting[0]):
                return
            self._begin_soon(self._waiting.popleft())

    def _begin_soon(self, call: Call) -> None:
        self._in_hand += len(call.company_ids)
        self._process.ledger.expect(len(call.company_ids))
        self._beginners.submit(self._begin, call)

    def _begin_alone(self, call: Call) -> None:
        call.alone = True
        with self._changed:
            self._begin_soon(call)

    def _begin(self, call: Call) -> None:
        """Begin a call, and have its companies worked."""
        given = len(call.company_ids)
        try:
            attempts = [] if call.stopped else self._begun(call)
            held = not (attempts or call.stopped) and self._is_held()
            isolate = not (attempts or call.stopped or held or call.alone)
            isolate = isolate and self._is_suspect(call)
        except BaseException as error:  # noqa: BLE001 - it is the call's to raise
            self._release(given)
            call.give_up(error)
            return
        self._release(given - len(attempts))
        if held or (call.stopped and not attempts):
            self._hand_back(call)
        elif isolate:
            self._process.isolation.isolate(call, partial(self._begin_alone, call))
        else:
            self._take_up(call, attempts)

    def _take_up(self, call: Call, attempts: Sequence[Attempt]) -> None:
        call.begun(len(attempts))
        if self.step.provider:
            self._open()
        turns = [Turn(attempt, call) for attempt in attempts]
        self._process.heart.hold(turns)
        try:
            refused = self._read_orders(turns)
        except BaseException as error:  # noqa: BLE001 - it is the call's to raise
            self._process.heart.release(turns)  # their leases decide
            self._release(len(turns))
            call.give_up(error)
            return
        self._drop(refused)
        self._ready_to_work([turn for turn in turns if turn not in refused])
        self._work()

    def _begun(self, call: Call) -> list[Attempt]:
        inputs = {wanted.parameter: wanted.table for wanted in self.step.inputs}
        given = (self.step.name, call.company_ids, call.call_id, inputs)
        begin = partial(
            self._process.store.begin, *given, alone=call.alone, buying=self.step.buying
        )
        if not patiently(lambda: self._process.holds.check(self.step), BEGIN_PATIENCE_S):
            return []
        try:
            return patiently(begin, BEGIN_PATIENCE_S)
        except (psycopg.ProgrammingError, NotAllowed) as error:  # of a table that it reads
            if self._process.holds.is_at_fault(self.step, error):
                return []
            raise

    def _read_orders(self, turns: Sequence[Turn]) -> list[Turn]:
        """Read what the orders have bought before; returns those whose call must not be made.

        A step without `paid` may call for the others from now on.
        """
        by_order = {o.id: (o, turn) for turn in turns if (o := turn.attempt.order)}
        if by_order and not self.step.signature.paid:
            attempts = [turn.attempt for _, turn in by_order.values()]
            sent = patiently(partial(self._process.store.send, attempts), BEGIN_PATIENCE_S)
            return [t for i, (order, t) in by_order.items() if i not in sent and not order.closed]
        asked = [order.id for order, _ in by_order.values() if order.may_have_answers]
        if asked:
            kept = patiently(partial(self._process.store.kept, asked), BEGIN_PATIENCE_S)
            for order_id, answers in kept.items():
                by_order[order_id][1].kept = answers
        return []

    def _is_held(self) -> bool:
        return patiently(lambda: self._process.store.is_held(self.step.name), BEGIN_PATIENCE_S)

    def _is_suspect(self, call: Call) -> bool:
        asked = (self.step.name, call.company_ids)
        return patiently(lambda: self._process.store.are_suspect(*asked), BEGIN_PATIENCE_S)

    def _hand_back(self, call: Call) -> None:
        """Release what of a call is not begun; if the database is away, its lease decides."""
        try:
            self._process.store.release(self.step.name, call.company_ids)
        except BaseException as error:  # noqa: BLE001 - it is the call's to raise
            call.give_up(error)
        call.begun(0)

    def _ready_to_work(self, turns: Sequence[Turn]) -> None:
        """Read the inputs; what cannot do without one has ended."""
        ready, ended = list[Turn](), list[Entry]()
        for turn in turns:
            inputs = taken(self.step, turn.attempt)
            if isinstance(inputs, Failure | Hold):
                ended.append((turn, inputs))
            else:
                turn.inputs = inputs
                ready.append(turn)
        if self.step.bulk and any(turn.kept for turn in ready):
            ready.sort(key=lambda turn: turn.bought_by)
        self._line_up(ready)
        self._end(ended)

    def _take(self) -> list[Turn]:
        """What the next call of the function is for; those that are ours no more are not paid for.

        Call it with `_changed` held.
        """
        chosen, stale, late = list[Turn](), list[Turn](), list[Turn]()
        while self._ready and len(chosen) < (self.step.bulk or 1):
            if chosen and self._ready[0].goes_with != chosen[0].goes_with:
                break
            if not chosen and self._process.pacer.is_late(self._ready[0]):
                late.append(self._ready.popleft())
                continue
            if not chosen and (wait_s := self._ready[0].wait_s) > 0:
                self._rest(wait_s)
                break
            turn = self._ready.popleft()
            (chosen if self._process.heart.holds(turn) else stale).append(turn)
        if stale:
            self._process.loop.call_soon_threadsafe(self._drop, stale)
        if late:
            self._beginners.submit(self._postpone, late)
        return chosen

    def _postpone(self, late: Sequence[Turn]) -> None:
        """Have calls that are too late go out at another time."""
        try:
            too_many = self._process.pacer.set_times(late)
        except BaseException as error:  # noqa: BLE001 - it is the calls' to raise
            self._process.heart.release(late)  # their leases decide
            self._release(len(late))
            for turn in late:
                turn.call.give_up(error)
            return
        self._drop(too_many)
        self._line_up([turn for turn in late if turn not in too_many])
        self._work()

    def _line_up(self, turns: Sequence[Turn]) -> None:
        """Have turns called for, in the order of their times; those of a stopped call go back."""
        dropped = [turn for turn in turns if turn.call.stopped]  # `stop` has looked already
        with self._changed:
            self._ready += (turn for turn in turns if not turn.call.stopped)
            if any(turn.goes_at is not None for turn in turns):
                self._ready = deque(sorted(self._ready, key=lambda turn: turn.goes_at or 0.0))
        self._drop(dropped)

    def _rest(self, wait_s: float) -> None:
        """Look again once the first call may go out. Call it with `_changed` held."""
        if monotonic() + wait_s < self._wakes_at:
            self._wakes_at = monotonic() + wait_s
            later = partial(self._process.loop.call_later, wait_s, self._wake_up)
            self._process.loop.call_soon_threadsafe(later)

    def _wake_up(self) -> None:
        self._wakes_at = inf
        self._work()

    def _drop(self, turns: Sequence[Turn]) -> None:
        """Let go of turns whose function was not called: another worker shall have them."""
        if turns:
            ours = [turn for turn in turns if self._process.heart.holds(turn)]
            self._process.heart.release(turns)
            self._beginners.submit(self._hand_over, turns, ours)

    def _hand_over(self, turns: Sequence[Turn], ours: Sequence[Turn]) -> None:
        try:
            self._process.store.release_begun([turn.attempt for turn in ours])
        except BaseException as error:  # noqa: BLE001 - it is the calls' to raise
            for turn in turns:
                turn.call.give_up(error)
        for turn in turns:
            turn.call.settle(1, stale=int(turn not in ours))
        self._release(len(turns))

    def _release(self, companies: int) -> None:
        """Note that so many companies are in hand no more, without an outcome."""
        self._process.ledger.expect(-companies)
        with self._changed:
            self._in_hand -= companies
            self._admit()

    def _end(self, entries: Sequence[Entry]) -> None:
        """Have written what attempts came to; their place is free for others."""
        self._process.ledger.put(entries)
        with self._changed:
            self._in_hand -= len(entries)
            self._admit()

    def _came_to(self, turns: Sequence[Turn], found: Any) -> Iterator[Entry]:
        """What one call of the function came to, for each of its attempts."""
        attempts = [turn.attempt for turn in turns]
        return zip(turns, outcomes(self.step, attempts, found), strict=True)

    def _leave_behind(self, turns: Sequence[Turn], why: Exception | None = None) -> None:
        """Give up a call of the function that hangs, or that is to be stopped."""
        turns[0].call.settle(0, left_behind=1)
        self._end(list(self._came_to(turns, why or TookTooLong(self.step))))

    def _subject(self, turns: Sequence[Turn]) -> Any:
        """The function's first argument."""
        companies = [turn.attempt.company for turn in turns]
        return companies if self.step.bulk else companies[0]

    def _paid(self, turns: Sequence[Turn], session: Any) -> dict[str, Paid]:
        """What one call of the function pays through, by the parameter's name."""
        if not self.step.signature.paid:
            return {}
        attempts = [turn.attempt for turn in turns]
        orders = [attempt.order for attempt in attempts if attempt.order]
        kept = {t.attempt.order.id: t.kept for t in turns if t.attempt.order and t.kept}
        notes = Notes(self._process.journal, attempts)
        return {self.step.signature.paid: Paid(self._terms, orders, kept, notes, session)}

    def _inputs(self, turns: Sequence[Turn]) -> dict[str, Any]:
        """The earlier results for one call of the function; of a bulk step, by company id."""
        if not self.step.bulk:
            return turns[0].inputs
        return {
            wanted.parameter: {t.attempt.company.id: t.inputs[wanted.parameter] for t in turns}
            for wanted in self.step.inputs
        }

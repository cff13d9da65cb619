"""The worker processes of a local host: each call goes to the one that has the least to do."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Event, Thread
from time import monotonic

from workers.host.child import Done, Exhausted, Order
from workers.host.member import Child
from workers.kit import Step
from workers.runtime.calls import GRACE_S

log = logging.getLogger("tracer.host")

# A process that ends sooner than this, with no call done, would end again: the next one waits.
SHORT_LIFE_S = 5.0
LONGEST_PAUSE_S = 10.0
# After its grace period a process writes what became of the rest, releases, and ends.
WRITE_S = 5.0
GONE_KEPT = 1000  # names; what a process held is given back at the next tick but one


@dataclass
class Pace:
    """How many companies of a step a second are done while there are any; newer ones count more."""

    companies: float = 0.0
    seconds: float = 0.0
    since: float = field(default_factory=monotonic)

    def done(self, companies: int) -> None:
        """Note that so many are done."""
        now = monotonic()
        self.companies = 0.9 * self.companies + companies
        self.seconds = 0.9 * self.seconds + now - self.since
        self.since = now

    @property
    def rate(self) -> float:
        """Companies a second; 0 while nothing is known."""
        return self.companies / self.seconds if self.seconds else 0.0


class Crew:
    """Keeps `processes` worker processes, and the calls that they hold."""

    def __init__(
        self,
        steps: Mapping[str, Step],
        processes: int,
        new_child: Callable[[], Child],
        grace_s: float,
    ) -> None:
        self.steps = steps
        self.processes = processes
        self.gone: deque[str] = deque(maxlen=GONE_KEPT)  # the names of processes that have ended
        self._grace_s = grace_s
        self._new_child = new_child
        self._children: list[Child] = []
        self._unassigned: deque[Order] = deque()  # while no process lives
        self._numbers = count()
        self._companies: Counter[str] = Counter()  # in hand, by step
        self._paces: dict[str, Pace] = {}
        self._changed = Condition()
        self._closed = False

    def start(self) -> None:
        """Start the processes."""
        for number in range(self.processes):
            Thread(target=self._keep, name=f"child-{number}", daemon=True).start()

    def give(self, step: str, company_ids: list[int]) -> None:
        """Have a call done by the process that has the least of its step."""
        order = Order(next(self._numbers), step, company_ids)
        with self._changed:
            if not self._companies[step]:
                self._paces.setdefault(step, Pace()).since = monotonic()
            self._companies[step] += len(company_ids)
            self._assign(order)

    def companies(self, step: str) -> int:
        """How many companies of the step are in hand."""
        return self._companies[step]

    def pace(self, step: str) -> float:
        """How many companies of the step a second are done, while there are any."""
        pace = self._paces.get(step)
        return pace.rate if pace else 0.0

    def wait_until_done(self) -> None:
        """Return when no call is in hand."""
        with self._changed:
            self._changed.wait_for(lambda: not +self._companies)

    def close(self) -> None:
        """End the processes; what is under way has the grace period to be done."""
        deadline = monotonic() + self._grace_s + WRITE_S
        with self._changed:
            self._closed = True
            children = list(self._children)
        for child in children:
            child.finish(self._grace_s)
        for child in children:
            child.join(deadline - monotonic())

    def _assign(self, order: Order) -> None:
        able = [child for child in self._children if not child.retired]
        if not able:
            self._unassigned.append(order)
            return
        min(able, key=lambda child: load(child, order.step)).send(order)

    def _keep(self) -> None:
        """Keep one process running: when it ends, or is retired, another takes its place."""
        pause_s = 0.0
        while not Event().wait(pause_s):
            try:
                child = self._begin()
            except OSError as error:  # no memory, or no process, is left on the machine
                log.warning("a worker process cannot be started: %s", error)
                pause_s = min(2 * pause_s + 0.5, LONGEST_PAUSE_S)
                continue
            if child is None:
                return
            if self._listen(child):
                Thread(target=self._retire, args=(child,), daemon=True).start()
                pause_s = 0.0
                continue
            self._bury(child)
            soon = not child.useful and monotonic() - child.started < SHORT_LIFE_S
            pause_s = min(2 * pause_s + 0.1, LONGEST_PAUSE_S) if soon else 0.0

    def _begin(self) -> Child | None:
        """Start a process, and give it the calls that wait; None if the crew is closed."""
        with self._changed:  # so that `close` finds every process that is started
            if self._closed:
                return None
            child = self._new_child()
            self._children.append(child)
            waiting, self._unassigned = self._unassigned, deque()
            for order in waiting:
                self._assign(order)
            return child

    def _listen(self, child: Child) -> bool:
        """Take in what the process says; True if it is to be retired, False when it has ended."""
        for word in child.words(self._longest_s):
            if isinstance(word, Exhausted):
                log.warning("a step leaks file descriptors: another process takes over")
                child.retired = True
                child.finish(self._grace_s)
                return True
            self._done(child, word)
            if word.left_behind:
                log.warning("a step hangs for a company: its process gets no more calls")
                child.retired = True
                return True
        return False

    def _retire(self, child: Child) -> None:
        """Let a process finish the calls that it has, and end it."""
        if child.held:
            for word in child.words(self._longest_s):
                if isinstance(word, Done):
                    self._done(child, word)
                if not child.held:
                    break
        child.finish(0.0)
        child.join(WRITE_S)
        self._bury(child)

    def _bury(self, child: Child) -> None:
        """End a process; its calls go to another, which begins what of them was not begun."""
        child.bury()
        with self._changed:
            self.gone.append(child.name)
            if child in self._children:
                self._children.remove(child)
            if self._closed:
                return
            orders = list(child.held.values())
            if orders:
                log.warning("a worker process ended with %d calls: another goes on", len(orders))
            for order in orders:
                self._assign(order)

    def _done(self, child: Child, word: Done) -> None:
        with self._changed:
            order = child.held.pop(word.number)
            child.useful = True
            self._companies[order.step] -= len(order.company_ids)
            self._paces[order.step].done(len(order.company_ids))
            self._changed.notify_all()

    def _longest_s(self, orders: Iterable[Order]) -> float:
        times_s = (self.steps[order.step].timeout_s for order in list(orders))
        return max(times_s, default=0.0) + GRACE_S


def load(child: Child, step: str) -> tuple[int, int]:
    """How many companies of the step, and of all steps, the process holds."""
    of_step = sum(len(o.company_ids) for o in child.held.values() if o.step == step)
    return of_step, sum(len(o.company_ids) for o in child.held.values())

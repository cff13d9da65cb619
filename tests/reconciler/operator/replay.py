"""Batches that run in simulated time, with what each look at them would have seen.

Two kinds of workers: calls that run as soon as they are spawned, within the step's capacity, as
Modal's do; and a host's processes, which all steps share in the order of the claims.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from reconciler.operator.eta import Entry, StepNow


@dataclass(frozen=True)
class Looked:
    """What a look saw, and the seconds that the batch had left."""

    log: list[Entry]
    steps: list[StepNow]
    left_s: float
    share: float  # of its company-steps that have ended
    past: float  # of its time


@dataclass
class Replay:
    """`services` are the seconds of each step's work, `capacities` its rows in flight at most.

    With `processes`, that many share all steps' calls of `chunk` companies. No row is claimed
    between `paused`, or before `begin_s`.
    """

    companies: int
    services: Sequence[float]
    capacities: Sequence[int]
    processes: int = 0
    chunk: int = 1
    poll_s: float = 1.0
    begin_s: float = 0.0
    paused: tuple[float, float] = (0.0, 0.0)
    failing: float = 0.0
    logged: list[tuple[float, int, int, int]] = field(default_factory=list)
    seen: list[tuple[float, list[StepNow]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        steps = len(self.services)
        self.random = random.Random(1)
        self.pending = [self.companies] + [0] * (steps - 1)
        self.in_flight, self.landed = [0] * steps, [0] * steps
        self.done, self.failed, self.waiting = [0] * steps, [0] * steps, [0] * steps
        self.running: list[tuple[float, int, int]] = []  # (end, step, companies)
        self.queue: deque[tuple[int, int]] = deque()
        self.logged.append((0.0, 0, self.companies, 0))
        self.end_s = self.run()

    def run(self) -> float:
        """Tick until all is done; the moment of the last tick."""
        now = self.begin_s
        while True:
            self.work(now)
            self.advance(now)
            if not any(self.pending) and not any(self.in_flight):
                return now
            if not self.paused[0] <= now < self.paused[1]:
                self.claim(now)
            self.look(now + self.poll_s * self.random.random())
            now += self.poll_s

    def advance(self, now: float) -> None:
        for i, rows in enumerate(self.landed):
            if rows:
                self.logged.append((now, i, 0, rows))
                self.done[i] += rows
                if i + 1 < len(self.landed):
                    self.logged.append((now, i + 1, rows, 0))
                    self.pending[i + 1] += rows
        self.landed = [0] * len(self.landed)

    def claim(self, now: float) -> None:
        for i, capacity in enumerate(self.capacities):
            room = min(capacity - self.in_flight[i], self.pending[i])
            self.pending[i] -= room
            self.in_flight[i] += room
            while room > 0:
                call = i, min(self.chunk, room)
                room -= call[1]
                if self.processes and len(self.running) >= self.processes:
                    self.queue.append(call)
                    self.waiting[i] += call[1]
                else:
                    self.begin(now, *call)

    def begin(self, now: float, step: int, rows: int) -> None:
        each = [self.services[step] * self.random.uniform(0.7, 1.3) for _ in range(rows)]
        took = sum(each) if self.processes else max(each)
        heapq.heappush(self.running, (now + took, step, rows))

    def work(self, until: float) -> None:
        while self.running and self.running[0][0] <= until:
            at, step, rows = heapq.heappop(self.running)
            failed = sum(self.random.random() < self.failing for _ in range(rows))
            self.in_flight[step] -= rows
            self.landed[step] += rows - failed
            self.failed[step] += failed
            if self.queue:
                following = self.queue.popleft()
                self.waiting[following[0]] -= following[1]
                self.begin(at, *following)

    def look(self, at: float) -> None:
        self.work(at)
        steps = [
            StepNow(
                outstanding=self.pending[i] + self.in_flight[i],
                done=self.done[i] + self.landed[i],
                failed=self.failed[i],
                landed=self.landed[i],
                waiting=self.waiting[i],
            )
            for i in range(len(self.services))
        ]
        self.seen.append((at, steps))

    def looks(self, since: float = 0.5, every: int = 1) -> Iterator[Looked]:
        """The looks from that share of the time on, once what was paused has begun again."""
        span_s = self.end_s - self.begin_s
        for at, steps in self.seen[::every]:
            past = (at - self.begin_s) / span_s
            if past >= since and at >= self.paused[1]:
                log = [Entry(at - t, *of) for t, *of in self.logged if at - 3600 < t <= at]
                ended = sum(step.done + step.failed for step in steps)
                share = ended / (self.companies * len(steps))
                yield Looked(log, steps, self.end_s - at, share, past)

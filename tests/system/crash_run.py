"""A batch from its seeding to its end, in programs of which one may die on the way."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from queue import SimpleQueue
from time import monotonic
from typing import Any
from unittest.mock import patch

from reconciler.contract.claimed import NO_LIMIT, Chunk, Room
from reconciler.contract.holds import Unloaded
from reconciler.contract.results import Company
from reconciler.contract.states import IN_FLIGHT
from reconciler.contract.store import Store
from reconciler.contract.worker_store import WorkerStore
from reconciler.spawners.protocol import (
    Answer,
    Outcome,
    Refused,
    Spawned,
    Unanswered,
    Unknown,
)
from reconciler.tick import TickReport, tick
from tests.system.crash import Death, Probe, Program, probing
from tests.system.crash_provider import Deal, Provider, paying
from tests.world import STEPS, World, work
from workers.kit import Step
from workers.runtime import ledger
from workers.runtime.holds import note_loaded
from workers.runtime.runtime import Runtime

TURNS = 40  # of a tick and the work after it; the longest scenario takes 12
# Longer than every lease, deadline and backoff in the registry: between two ticks all are over.
TURN = timedelta(hours=1)
# What a step does, told also for the how-manyth time it is called for the company.
Play = Callable[["Run", Company, int], Any]


@dataclass(frozen=True)
class Scenario:
    """What is seeded, how steps and the far side behave, and what has to come of it."""

    name: str
    ends: Mapping[str, Mapping[str, int]]  # per step, rows per status
    batches: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"batch": ("a", "b")})
    blueprint: Sequence[str] = ("normalize",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    play: Mapping[str, Play] = field(default_factory=dict)
    answers: Sequence[str] = ()  # of the far side, to one call after the other; then "spawned"
    named: bool = False  # whether its calls have ids
    on_loop: bool = False  # whether the steps are coroutines
    hosted: bool = False  # whether the far side is a worker host, which has a name
    resumed: bool = False  # whether an operator lets steps that are held go on, each turn
    unloaded: int = 0  # for so many turns, workers start that cannot load the steps; then others
    deal: Deal | None = None  # how its first step buys, if it does
    stopped: bool = False  # whether the worker is told to end while its first company is worked
    # How many outcomes are written at a time; all of a call, if there are not so many. By the
    # product's own times, a slow machine would have other places to die than a fast one.
    flush_rows: int = 500


@dataclass
class FarSide:
    """Where calls wait for workers, and lives on when the tick that spawned them does not."""

    probe: Probe
    program: Program | None
    answers: Sequence[str]
    named: bool
    hosted: bool
    host: int = 0  # how many have died
    asked: "count[int]" = field(default_factory=count)
    calls: deque[tuple[Chunk, str | None]] = field(default_factory=deque)
    taken: list[tuple[Chunk, str | None]] = field(default_factory=list)
    unanswered: list[Answer] = field(default_factory=list)  # known to the tick's program alone

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        return [self._cross("spawn", lambda chunk=chunk: self._take(chunk)) for chunk in chunks]

    def cancel(self, call_ids: Sequence[str]) -> list[str]:
        return [self._cross("cancel_calls", lambda call=call: call) for call in call_ids]

    def room(self) -> Room:
        if not self.hosted:
            return NO_LIMIT
        return Room(holder=f"here-{self.host}", family="here-", alive=(f"here-{self.host}",))

    def late_answers(self, wait_for_all: bool = False) -> list[Answer]:  # noqa: ARG002
        answers, self.unanswered = self.unanswered, []
        return answers

    def close(self) -> None:
        self.unanswered = []

    def _cross(self, what: str, act: Callable[[], Any]) -> Any:
        return self.probe.cross(self.program, what, act) if self.program else act()

    def _take(self, chunk: Chunk) -> Outcome | Unanswered:
        number = next(self.asked)
        answer = self.answers[number] if number < len(self.answers) else "spawned"
        if answer == "refused":
            return Refused("no room")
        call_id = f"fc-{number}" if self.named else None
        if answer == "host dies":
            self.host += 1
            return Spawned()
        if answer != "lost":
            self.calls.append((chunk, call_id))
            self.taken.append((chunk, call_id))
        if answer == "late":
            self.unanswered.append((chunk, Spawned(call_id)))
            return Unanswered()
        return Spawned(call_id) if answer == "spawned" else Unknown("no answer")


class Run:
    """One life of a scenario. Programs that died are followed by others, which do not die."""

    def __init__(self, scenario: Scenario, url: str, world: World, probe: Probe) -> None:
        self.scenario, self.world, self.probe = scenario, world, probe
        self.turns, self.started = 0, False
        self.ran: Counter[tuple[int, str, int]] = Counter()  # company, step, batch
        self.landed: set[tuple[int, str, int]] = set()
        self.paid: Counter[tuple[int, str, int]] = Counter()  # of what was green at the death
        self.calls_of: Counter[tuple[int, str]] = Counter()
        self.provider = Provider(probe, scenario.deal)
        self.stops = SimpleQueue[Callable[[], None]]()  # of the calls that a worker has
        self._stack = ExitStack()
        self.store, self.worker = world.store, world.worker
        doomed = probe.doomed[0].program if probe.doomed else ""
        if doomed == "tick":  # the connections of who dies are its own
            self.store = self._stack.enter_context(Store.connect(url))
        if doomed == "worker":
            self.worker = self._stack.enter_context(WorkerStore.connect(url))
        self.ticking = probe.watch("tick", self.store)
        self.working: Program | None = probe.watch("worker", self.worker)
        self.far = FarSide(probe, self.ticking, scenario.answers, scenario.named, scenario.hosted)

    def through(self, check: Callable[["Run"], None]) -> None:
        """Tick and work until all has ended; `check` looks at the moment after a death."""
        self.check = check
        after = patch.object(ledger, "FLUSH_AFTER_S", 3600)
        rows = patch.object(ledger, "FLUSH_ROWS", self.scenario.flush_rows)
        with self._stack, probing(self.probe), after, rows:
            while self.turns < TURNS:
                self.mend()
                report = self.reconcile()
                if report is not None and self.ended() and (report.finished or not report):
                    self.worker, self.working = self.world.worker, None  # for calls that come again
                    return
                while self.far.calls:
                    self.do(*self.far.calls.popleft())
        raise AssertionError(f"has not ended: {self.world.rows()}")

    def mend(self) -> None:
        """What is done about steps that are held."""
        if self.scenario.resumed:
            self.world.operator.resume_steps(self.scenario.blueprint)
        if self.scenario.unloaded:
            broken = self.turns < self.scenario.unloaded
            missing = [Unloaded("no such module", STEPS[s].module) for s in self.scenario.blueprint]
            try:
                note_loaded(self.worker, [] if broken else STEPS, missing if broken else [])
            except Death:
                self.worker, self.working = self.world.worker, None
                self.mourn()

    def ended(self) -> bool:
        return not self.world.sql("SELECT true FROM batches WHERE status = 'RUNNING'")

    def reconcile(self) -> TickReport | None:
        """A tick, by which time everything that can be over is; None when it died."""
        self.turns += 1
        try:
            if not self.started:
                self.store.take_over()
                self.store.prune(self.store.now())
                self.started = True
            now = self.store.beat().now + self.turns * TURN
            return tick(self.store, self.far, now)
        except Death:
            self.store, self.far.program, self.started = self.world.store, None, False
            self.far.close()
            self.mourn()
            return None

    def do(self, chunk: Chunk, call_id: str | None) -> None:
        """A worker's call."""
        if self.scenario.deal and self.scenario.deal.limits:
            self.come_late()
        step = self.acted(STEPS[chunk.step_name])
        try:
            if self.scenario.stopped:
                self.do_two(step, chunk.company_ids)
            else:
                work(self.worker, step, chunk.company_ids, call_id=call_id)
        except Death:
            self.worker, self.working = self.world.worker, None
            self.mourn()

    def come_late(self) -> None:
        """The tick was `TURN` ahead of the workers' clock: by that clock, the calls of the first
        turn are late. Later ones go out at once."""
        late = "send_at - %(turn)s - interval '1 minute'" if self.turns == 1 else "NULL"
        for change in (
            f"UPDATE orders SET send_at = {late} WHERE send_at > now()",
            "UPDATE providers SET next_at = NULL, paused_until = paused_until - %(turn)s",
        ):
            self.world.sql(change, turn=TURN)

    def do_two(self, step: Step, company_ids: Sequence[int]) -> None:
        """Two calls: the second is not begun while the first has companies."""
        with closing(Runtime(self.worker)) as runtime:
            first = runtime.submit(step, company_ids[:2])
            second = runtime.submit(step, company_ids[2:])
            self.stops.put(lambda: runtime.stop(second, 3600))
            self.stops.put(lambda: runtime.stop(first, 3600))
            for call in (first, second):
                call.done.result()

    def mourn(self) -> None:
        """Look at what the dead program left, once the server has noticed that it is gone."""
        assert self.probe.dead
        left = "SELECT true FROM pg_stat_activity WHERE pid = ANY(%(pids)s)"
        deadline = monotonic() + 10
        while self.world.sql(left, pids=list(self.probe.dead.backends)):
            assert monotonic() < deadline, "its connections are still there"
        self.landed = self.green()
        self.paid = Counter({key: self.ran[key] for key in self.landed})
        self.check(self)

    def green(self) -> set[tuple[int, str, int]]:
        rows = self.world.rows("status = 'COMPLETED'")
        return {(r["company_id"], r["step_name"], r["batch_id"]) for r in rows}

    def acted(self, step: Step) -> Step:
        """The step as the scenario plays it; each call of its function crosses a boundary."""
        play, program = self.scenario.play.get(step.name), self.working

        def played(company: Company) -> Any:
            self.note(step.name, company.id)
            if play is None:
                return step.function(company)
            return play(self, company, self.calls_of[company.id, step.name])

        def function(company: Company) -> Any:
            if program is None:
                return played(company)
            return self.probe.cross(program, f"call of {step.name}", lambda: played(company))

        async def on_loop(company: Company) -> Any:
            return function(company)

        deal, chosen = self.scenario.deal, on_loop if self.scenario.on_loop else function
        if deal and step.name == self.scenario.blueprint[0]:
            step = deal.made(step, self.provider, program)
            if step.signature.paid:
                chosen = paying(self.provider, program, function, bulk=bool(deal.bulk))
        return replace(step, function=chosen, concurrency=1)  # one after the other

    def note(self, step: str, company_id: int) -> None:
        """Keep for which row the function runs: the company's one that is in flight."""
        self.calls_of[company_id, step] += 1
        rows = self.world.rows(
            "company_id = %(id)s AND step_name = %(step)s AND status = ANY(%(flying)s)",
            **{"id": company_id, "step": step, "flying": list(IN_FLIGHT)},
        )
        self.ran.update((company_id, step, row["batch_id"]) for row in rows)

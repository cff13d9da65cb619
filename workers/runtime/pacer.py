"""Lets calls to providers out at their times, and finds out when a provider is not to be called."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import monotonic

from reconciler.contract.limits import HORIZON_S, Pause, PauseKind
from reconciler.contract.worker_store import Failure
from workers.kit import Step
from workers.runtime.calls import Turn, Verbs
from workers.runtime.patience import BEGIN_PATIENCE_S, RESULTS_PATIENCE_S, patiently

# A call that is later gets another time: it would else come too soon before those of others. The
# margin that a provider's times keep is twice as long.
LATE_S = 0.02
# Faults of a provider in a row, in one process, after which it is left alone for a while.
FAULTS_IN_A_ROW = 5


class Pacer:
    """The providers of a worker process.

    The claim has given each call its time, over all processes.
    """

    def __init__(self, store: Verbs) -> None:
        self._store = store
        self._faults: dict[str, int] = {}  # in a row
        self._paused: dict[str, float] = {}  # until when, monotonic
        self._lanes: dict[str, list[Callable[[], object]]] = {}

    def on_pause(self, step: Step, let_go: Callable[[], object]) -> None:
        """Have `let_go` called when this process finds that the step's provider must wait."""
        if step.provider:
            self._lanes.setdefault(step.provider, []).append(let_go)

    def is_late(self, turn: Turn) -> bool:
        """Whether its call needs another time: its own is over, or its provider must wait then."""
        if turn.goes_at is None or turn.kept:
            return False
        paused = self._paused.get(turn.call.step.provider or "", 0.0)
        return turn.goes_at < paused or turn.wait_s < -LATE_S

    def set_times(self, turns: Sequence[Turn]) -> list[Turn]:
        """Give calls of one step that are too late other times; returns those that get none.

        Their rows go back: the claim gives them their times.
        """
        slots = list(dict.fromkeys(turn.slot for turn in turns))
        ask = partial(self._store.new_times, str(turns[0].call.step.provider), len(slots))
        times = dict(zip(slots, patiently(ask, BEGIN_PATIENCE_S), strict=False))
        now = monotonic()
        for turn in turns:
            if turn.slot in times:
                turn.goes_at = now + times[turn.slot]
        return [turn for turn in turns if turn.slot not in times]

    def note(self, outcomes: Iterable[tuple[Turn, object]]) -> None:
        """Take in outcomes, and write what they say about providers: once, not for each call.

        Call it before the outcomes are written: else a row could be claimed for a provider of which
        nobody knows yet that it must wait.
        """
        pauses: dict[str, Pause] = {}
        for turn, found in outcomes:
            provider = turn.call.step.provider
            if provider and (pause := self._judged(provider, turn, found)):
                pauses[provider] = longer(pauses.get(provider, pause), pause)
        for name, pause in pauses.items():
            patiently(partial(self._store.pause_provider, name, pause), RESULTS_PATIENCE_S)
            if pause.kind is PauseKind.ASKED and pause.wait_s <= HORIZON_S:
                self._paused[name] = monotonic() + pause.wait_s
                continue  # most of what waits has a time after that
            for let_go in self._lanes.get(name, ()):
                let_go()

    def _judged(self, provider: str, turn: Turn, found: object) -> Pause | None:
        pause = found.pause if isinstance(found, Failure) else None
        probing = turn.attempt.order is not None and turn.attempt.order.probing
        if pause is None:
            called = turn.since is not None and not turn.kept
            if called and not isinstance(found, Failure):
                self._faults.pop(provider, None)
                if probing:
                    patiently(partial(self._store.note_recovered, provider), RESULTS_PATIENCE_S)
            return None
        if pause.kind is not PauseKind.FAILING:
            return pause
        self._faults[provider] = self._faults.get(provider, 0) + 1
        if self._faults[provider] < FAULTS_IN_A_ROW and not probing:
            return None
        del self._faults[provider]
        return pause


def longer(one: Pause, other: Pause) -> Pause:
    """The pause of the two that holds for longer."""
    order = (PauseKind.ASKED, PauseKind.FAILING, PauseKind.REFUSED)
    return max(one, other, key=lambda pause: (order.index(pause.kind), pause.wait_s))

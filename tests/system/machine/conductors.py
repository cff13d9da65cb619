"""The conductors' rules: whole ticks, and each verb of one alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from hypothesis.stateful import rule

from reconciler import policy
from reconciler.contract.claimed import Chunk, Room
from reconciler.contract.database import Row
from reconciler.spawners.protocol import Answer, Outcome, Spawned, Unanswered, Unknown
from reconciler.tick import tick
from tests.system.machine.doing import Machine, anything, holds, newest
from tests.system.machine.draws import answers, dispatches, endings, late, sides, sweeps, which
from tests.system.machine.model import TICK, Key, Seen, check_capacity, check_claim, keys_of, parsed

HOSTED = Room(holder="here-1", family="here-", alive=("here-1",))
NEXT_HOST = Room(holder="here-2", family="here-", alive=("here-2",))


@dataclass
class Spoken:
    """A spawner that gives the answers that were drawn, over and over; to some it does so late."""

    answers: Sequence[Outcome | Unanswered] = (Spawned(),)
    waiting: list[Chunk] = field(default_factory=list)
    asked: list[Chunk] = field(default_factory=list)

    def spawn(self, chunks: Sequence[Chunk]) -> list[Outcome | Unanswered]:
        self.asked += chunks
        given = [self.answers[i % len(self.answers)] for i, _ in enumerate(chunks)]
        self.waiting += [c for c, a in zip(chunks, given, strict=True) if isinstance(a, Unanswered)]
        return given

    def room(self) -> Room:
        return HOSTED

    def late_answers(self, wait_for_all: bool = False) -> list[Answer]:  # noqa: ARG002
        waiting = self.waiting.copy()
        self.waiting.clear()
        answer = self.answers[0]
        return [(c, Unknown("") if isinstance(answer, Unanswered) else answer) for c in waiting]

    def close(self) -> None:
        """There is nothing to give up."""

    def cancel(self, call_ids: Sequence[str]) -> list[str]:
        return list(call_ids)


class Conductors(Machine):
    @rule(by=sides, answers=answers, late=late)
    def tick(self, by: int, answers: list[Outcome | Unanswered], late: timedelta) -> None:
        store, moment, spawner = (
            self.sides.stores[by],
            self.moment(late),
            Spoken(answers, self.waiting),
        )

        def land(_: object, at: Seen) -> None:
            check_capacity(at, self.seen, spawner.asked)
            self.chunks += spawner.asked

        self.do(store, TICK, lambda: tick(store, spawner, moment), land)

    @rule(by=sides, late=late, ending=endings)
    def claim(self, by: int, late: timedelta, ending: str) -> None:
        store, moment = self.sides.stores[by], self.moment(late)

        def land(chunks: list[Chunk], at: Seen) -> None:
            check_claim(at, self.seen, moment, chunks, alone)
            self.chunks += chunks

        alone = not self.held
        self.do(store, ("claim",), lambda: store.claim(moment, HOSTED), land, ending=ending)

    @rule(by=sides, chunk=which, verb=dispatches, ending=endings)
    def dispatch(self, by: int, chunk: int, verb: str, ending: str) -> None:
        if not self.chunks:
            self.claim(by, timedelta(0), ending)
            return
        store, chunks = self.sides.stores[by], [newest(self.chunks, chunk)]
        acts = {
            "record_calls": partial(store.record_calls, chunks, ["fc-3"]),
            "release": partial(store.release, chunks, [self.moment()], ["refused"]),
            "note_unknown": partial(store.note_unknown, chunks, ["no answer"]),
        }
        self.do(store, (verb,), acts[verb], may=holds(keys_of(chunks)), ending=ending)

    @rule(by=sides, verb=sweeps, late=late, ending=endings)
    def sweep(self, by: int, verb: str, late: timedelta, ending: str) -> None:
        store, moment = self.sides.stores[by], self.moment(late)
        acts = {
            "reap": partial(store.reap, moment, lambda row: policy.judge(row, moment, 0.5)),
            "advance": partial(store.advance, moment),
            "finish": partial(store.finish, moment),
            "give_back": partial(store.give_back, NEXT_HOST, moment),
        }

        def expired(_: Key, old: Row | None) -> bool:
            return bool(old and parsed(old["lease_expires_at"]) <= moment)

        def held(_: Key, old: Row | None) -> bool:
            return bool(old and old["holder"] == HOSTED.holder)

        may = {"reap": expired, "give_back": held}.get(verb, anything)
        self.do(store, (verb,), acts[verb], may=may, ending=ending)

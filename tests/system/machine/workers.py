"""The workers' rules: attempts that are theirs, that were, and that never were."""

from collections.abc import Sequence
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import rule

from reconciler.contract.claimed import GROUP_SIZES
from reconciler.contract.database import Row
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Attempt, Failure
from tests.system.machine.doing import Machine, held, holds, newest, ours
from tests.system.machine.draws import endings, few, ids, reports, sides, which
from tests.system.machine.model import EMPTY, RESULTS, Key, Seen


class Workers(Machine):
    @rule(by=sides, chunk=which, ids=st.none() | ids, alone=st.booleans(), ending=endings)
    def begin(
        self, by: int, chunk: int, ids: list[int] | None, ending: str, alone: bool = True
    ) -> None:
        if not self.chunks:
            return
        of = newest(self.chunks, chunk)
        self.begin_by_ids(by, of.step_name, ids or of.company_ids, ending, alone)

    def begin_by_ids(
        self, by: int, step: str, ids: Sequence[int], ending: str, alone: bool = True
    ) -> None:
        worker = self.sides.workers[by]

        def land(attempts: list[Attempt], at: Seen) -> None:
            rows = at.rows.items()
            queued = {k for k, row in rows if row["status"] == Status.QUEUED and may(k, row)}
            assert queued == held(attempts).keys()
            for one in held(attempts).items():
                assert one not in self.spent, f"{one} began twice"
                assert one[1] == at.rows[one[0]]["attempt"]
                self.spent.add(one)
            self.begun += [attempts] if attempts else []

        def may(key: Key, row: Row | None) -> bool:
            losses = row["losses"] if row else 0
            fits = len(ids) <= GROUP_SIZES[min(losses, len(GROUP_SIZES)) - 1]
            lost_alone = not losses or (alone and fits)
            return key.step_name == step and key.company_id in ids and lost_alone

        def act() -> list[Attempt]:
            return worker.begin(step, ids, "fc-9", alone=alone)

        self.do(worker, ("begin",), act, land, may, ending)

    @rule(by=sides, chunk=which, ending=endings)
    def release_unbegun(self, by: int, chunk: int, ending: str) -> None:
        if not self.chunks:
            return
        worker, of = self.sides.workers[by], newest(self.chunks, chunk)

        def may(key: Key, row: Row | None) -> bool:
            queued = bool(row and row["status"] == Status.QUEUED)
            return queued and key.step_name == of.step_name and key.company_id in of.company_ids

        def act() -> int:
            return worker.release(of.step_name, of.company_ids)

        self.do(worker, ("hand_back",), act, may=may, ending=ending)

    @rule(by=sides, group=which, few=few, verb=reports, ending=endings)
    def report(self, by: int, group: int, few: int, verb: str, ending: str) -> None:
        if not self.begun:
            self.begin(by, group, None, ending)
            return
        worker, attempts = self.sides.workers[by], newest(self.begun, group)[:few]
        self.marks += 1
        mark, step = self.marks, attempts[0].step_name
        some = partial(RESULTS[step], mark)
        acts = {
            "heartbeat": partial(worker.heartbeat, attempts),
            "hand_back": partial(worker.release_begun, attempts),
            "complete": partial(worker.complete, attempts, [RESULTS[step](mark) for _ in attempts]),
            "complete with nothing": partial(
                worker.complete, attempts, [EMPTY.get(step, some)() for _ in attempts]
            ),
            "fail": partial(
                worker.fail, attempts, [Failure("broken", retry_after_s=5)] * len(attempts)
            ),
            "fail for good": partial(
                worker.fail, attempts, [Failure("no", Status.FAILED)] * len(attempts)
            ),
            "miss": partial(
                worker.fail, attempts, [Failure(None, Status.NOT_FOUND)] * len(attempts)
            ),
            "skip": partial(
                worker.fail, attempts, [Failure("no input", Status.SKIPPED)] * len(attempts)
            ),
        }

        def land(won: set[tuple[str, int]], at: Seen) -> None:
            assert won == ours(at, attempts, failed=verb not in ("heartbeat", "hand_back"))
            if verb == "hand_back":
                mine = held(attempts).items()
                self.handed_back |= {
                    one for one in mine if (one[0].step_name, one[0].company_id) in won
                }
            if verb.startswith("complete"):
                found = None if verb == "complete with nothing" and step in EMPTY else str(mark)
                for one in attempts:
                    if (step, one.company.id) in won:
                        self.put(one, found)

        self.do(worker, (verb.split()[0],), acts[verb], land, holds(held(attempts)), ending)

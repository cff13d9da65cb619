"""In every state that verbs can reach, each row has a reason, and the next tick bears it out.

`EXPLAINED=5000 pytest -k explain_reachable` makes as many runs.
"""

import os

import pytest

from reconciler.contract.database import Row
from reconciler.operator.diagnosis.explain import explain, read_row
from reconciler.operator.diagnosis.reason import Code
from reconciler.operator.diagnosis.row_facts import RowFacts
from reconciler.tick import tick
from tests.system.machine.conductors import Spoken
from tests.system.machine.exploring import explore
from tests.system.machine.interleavings import Interleavings
from tests.system.machine.model import Key, Seen, keys_of, read
from tests.system.machine.sides import line

RUNS = int(os.environ.get("EXPLAINED", "60"))
FEW = 10  # for `make test`
COMPANIES = """
SELECT m.batch_id, c.key FROM batch_companies m JOIN companies c ON c.id = m.company_id
"""


class Explained(Interleavings):
    """The same verbs; at the end everybody is asked for a reason, and one tick comes."""

    def teardown(self) -> None:
        if not self.sound:
            return
        while self.held:
            self.settle(self.held[0])
        eyes = self.sides.eyes
        views = {batch.id: batch for batch in map(self.batch, range(len(self.seen.batches)))}
        found = [read_row(eyes, views[row["batch_id"]], row["key"]) for row in eyes.rows(COMPANIES)]
        before = read(line(eyes).only)
        spawner = Spoken()
        tick(self.sides.stores[0], spawner, self.sides.stores[0].now())
        after, claimed = read(line(eyes).only), keys_of(spawner.asked)
        for facts in found:
            check_reason(facts, before, after, set(claimed))


def check_reason(facts: RowFacts, before: Seen, after: Seen, claimed: set[Key]) -> None:
    """What is said of a row agrees with what the tick after it did."""
    reason = explain(facts)
    says, code = reason.says, reason.code
    key = Key(facts.company_id, facts.step, facts.batch_id)
    told = f"{says!r} of {key}, and then {after.rows[key]}; {facts}"
    assert says, told
    if code == Code.CLAIMED_NEXT:
        assert key in claimed, told
    elif code in (Code.HIGHER_PRIORITY, Code.BEHIND_IN_BATCH):
        assert key not in claimed, told
    elif code == Code.STEP_DONE or (code in (Code.NOT_FOUND, Code.SKIPPED) and not facts.last):
        assert after.rows[key]["advanced"], told
        assert len(steps_of(key, after)) == len(steps_of(key, before)) + 1, told
    elif code == Code.LEASE_OVER:
        assert moved(key, before, after), told
    elif not may_move(facts, code):
        assert not moved(key, before, after), told


def may_move(facts: RowFacts, code: Code) -> bool:
    """Whether the tick may do one thing or another, by what it does to other rows first."""
    of_others = code in (Code.CAPACITY_USED_UP, Code.COMPANY_IN_FLIGHT) and facts.expired > 0
    return code == Code.IN_LINE or of_others


def moved(key: Key, before: Seen, after: Seen) -> bool:
    return place(before.rows[key]) != place(after.rows[key])


def place(row: Row) -> tuple[object, ...]:
    return row["status"], row["attempt"], row["available_at"]


def steps_of(key: Key, seen: Seen) -> list[Key]:
    """The rows of the company in the batch."""
    return [k for k in seen.rows if (k.company_id, k.batch_id) == (key.company_id, key.batch_id)]


@pytest.mark.parametrize("times", [FEW, pytest.param(RUNS, marks=pytest.mark.proof)])
@pytest.mark.timeout(600)  # for a failure, which is made smaller
def test_every_row_has_a_reason_that_the_next_tick_bears_out(
    request: pytest.FixtureRequest, url: str, times: int
) -> None:
    explore(request, url, times=times, most_held=0, kind=Explained)

"""In every state that verbs can reach, each row has a reason, and the next tick bears it out.

`EXPLAINED=5000 pytest -k explain_reachable` makes as many runs.
"""

import os

import pytest

from reconciler.contract.database import Row
from reconciler.contract.states import Status
from reconciler.operator.diagnosis.explain import explain
from reconciler.operator.diagnosis.row_facts import Facts
from reconciler.tick import tick
from tests.system.machine.conductors import Spoken
from tests.system.machine.exploring import explore
from tests.system.machine.interleavings import Interleavings
from tests.system.machine.model import Key, Seen, keys_of, read
from tests.system.machine.sides import line

RUNS = int(os.environ.get("EXPLAINED", "60"))
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
        found = [eyes.facts(views[row["batch_id"]], row["key"]) for row in eyes.rows(COMPANIES)]
        before = read(line(eyes).only)
        spawner = Spoken()
        tick(self.sides.stores[0], spawner, self.sides.stores[0].now())
        after, claimed = read(line(eyes).only), keys_of(spawner.asked)
        for facts in found:
            check_reason(facts, before, after, set(claimed))


def check_reason(facts: Facts, before: Seen, after: Seen, claimed: set[Key]) -> None:
    """What is said of a row agrees with what the tick after it did."""
    says = explain(facts).says
    key = Key(facts.company_id, facts.step, facts.batch_id)
    told = f"{says!r} of {key}, and then {after.rows[key]}; {facts}"
    assert says, told
    if says.startswith("Its turn has come"):
        assert key in claimed, told
    elif says.startswith("Not its turn"):
        assert key not in claimed, told
    elif "the next tick takes it to the step after" in says:
        assert after.rows[key]["advanced"], told
        assert len(steps_of(key, after)) == len(steps_of(key, before)) + 1, told
    elif "the next tick decides on another one" in says:
        assert moved(key, before, after), told
    elif not may_move(facts, says):
        assert not moved(key, before, after), told


def may_move(facts: Facts, says: str) -> bool:
    """Whether the tick may do one thing or another, by what it does to other rows first."""
    over = "in flight" in says and facts.expired > 0
    return facts.status == Status.PENDING and ("is in line for the next tick" in says or over)


def moved(key: Key, before: Seen, after: Seen) -> bool:
    return place(before.rows[key]) != place(after.rows[key])


def place(row: Row) -> tuple[object, ...]:
    return row["status"], row["attempt"], row["available_at"]


def steps_of(key: Key, seen: Seen) -> list[Key]:
    """The rows of the company in the batch."""
    return [k for k in seen.rows if (k.company_id, k.batch_id) == (key.company_id, key.batch_id)]


@pytest.mark.timeout(600)  # for a failure, which is made smaller
def test_every_row_has_a_reason_that_the_next_tick_bears_out(
    request: pytest.FixtureRequest, url: str
) -> None:
    explore(request, url, most_held=0, kind=Explained, times=RUNS)

"""Whatever dies, and in whatever order: caps hold, nothing is paid twice, and all sums agree.

A schedule is a list of acts: ticks that die in the midst, workers that die or come late, refusals,
caps that move. The provider is an object that charges: this is about the statements. Of
`recall="lookup"` a late worker is left out that has noted its call and not made it: a lookup cannot
see a call that is still to come.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.contract.states import Status
from reconciler.contract.store import Store
from reconciler.contract.worker_store import Attempt, Failure, WorkerStore
from reconciler.operator.seeding.batch import Spending
from reconciler.operator.store import OperatorStore
from reconciler.policy import judge
from tests.databases import Databases
from tests.paying import PRICE, Staff, made, receipt, register, staff
from tests.world import World
from workers.kit import Recall

BUYING = made(staff).buying
EXAMPLES = 50 if settings.default.max_examples < 100 else 1000
VERBS = 5  # of a tick
ACTS = ("begin", "send", "ask", "receive", "end", "crash")
QUEUED = " WHERE status = 'QUEUED' ORDER BY batch_id, company_id"
LIMITED = "SELECT reserved, spent, beyond, most FROM caps WHERE most IS NOT NULL"
acts = st.one_of(
    st.tuples(st.just("tick"), st.integers(1, VERBS)),
    st.tuples(st.sampled_from(ACTS), st.integers(0, 5)),
    st.tuples(st.sampled_from(ACTS), st.integers(0, 5)),
    st.tuples(st.sampled_from(["expire", "cap", "refuse"]), st.integers(0, 20)),
)


@dataclass
class Call:
    """An attempt in a worker's hands. `tried`: which call of its order it has noted."""

    attempt: Attempt
    state: str = "begun"
    tried: int = 0
    answer: tuple[int, int] = (0, 0)  # status and charge

    @property
    def order_id(self) -> UUID:
        assert self.attempt.order
        return self.attempt.order.id


@dataclass
class Schedule:
    """One life of two batches with companies in common."""

    world: World
    recall: Recall
    calls: list[Call] = field(default_factory=list)
    charges: dict[UUID, int] = field(default_factory=dict)  # the provider's own account
    bought: set[int] = field(default_factory=set)  # companies that it has answered
    refusals: int = 0  # of the next calls
    died: int = 0  # calls of which a worker died, or was late, before their answer was kept

    def act(self, name: str, number: int) -> None:
        if name in ACTS[1:]:
            calls = [call for call in self.calls if name == "crash" or call.state == BEFORE[name]]
            if calls:
                getattr(self, name)(calls[number % len(calls)])
        else:
            getattr(self, name)(number)

    def tick(self, verbs: int) -> bool:
        """A tick that dies after so many verbs; returns whether it did anything."""
        store, now = self.world.store, datetime.now(UTC)  # the database's clock is this machine's
        all_of_them: tuple[Callable[[], Any], ...] = (
            lambda: sum(store.reap(now, lambda row: judge(row, now, 0.5))),
            lambda: store.resolve(now, after_s=0),
            lambda: store.settle(now),
            lambda: store.claim(now),
            lambda: store.finish(now),
        )
        did = [act() for act in all_of_them[:verbs]]
        self.check()
        return any(did)

    def begin(self, _: int = 0) -> None:
        queued = self.world.sql("SELECT company_id, losses FROM workflow_states" + QUEUED)
        fresh = [row["company_id"] for row in queued if not row["losses"]]
        alone = [[row["company_id"]] for row in queued if row["losses"]]  # those that were lost
        for ids in filter(None, (fresh[:1], fresh[1:], *alone)):
            begun = self.world.worker.begin("staff", ids, buying=BUYING, alone=True)
            self.calls += map(Call, begun)

    def send(self, call: Call) -> None:
        order = call.attempt.order
        assert order
        if order.may_have_answers and self.world.worker.kept([order.id]):
            call.state = "received"
            return
        if order.lost and self.recall == Recall.LOOKUP and order.id in self.charges:
            found = replace(receipt(call.attempt, 0, 200, self.charges[order.id]), once=True)
            self.world.worker.receive([found])
            call.state = "received"
            return
        assert not order.lost or self.recall != Recall.NONE
        sent = self.world.worker.send([call.attempt])
        if order.id not in sent:
            self.calls.remove(call)
        else:
            call.state, call.tried = "sent", sent[order.id]

    def ask(self, call: Call) -> None:
        call.state = "asked"
        if self.refusals:
            self.refusals -= 1
            call.answer = (500, 0)
            return
        if call.order_id in self.charges:
            assert self.recall == Recall.KEY, "a second call of one order"
        else:
            company = call.attempt.company
            assert company.id not in self.bought, "a company is bought once"
            self.bought.add(company.id)
            self.charges[call.order_id] = PRICE - ord(company.key) % 2
        call.answer = (200, self.charges[call.order_id])
        self.check()

    def receive(self, call: Call) -> None:
        status, cost = call.answer
        found = receipt(call.attempt, call.tried, status, cost)
        self.world.worker.receive([replace(found, once=self.recall == Recall.KEY)])
        call.state = "received" if status == 200 else "refused"
        if call.state == "refused":
            self.calls.remove(call)
            self.world.worker.fail([call.attempt], [Failure("refused")])

    def end(self, call: Call) -> None:
        self.calls.remove(call)
        if ord(call.attempt.company.key) % 3:
            self.world.worker.complete([call.attempt], [Staff(employees=1)])
        else:
            self.world.worker.fail([call.attempt], [Failure(None, Status.NOT_FOUND)])

    def crash(self, call: Call) -> None:
        self.calls.remove(call)
        self.died += call.state in ("sent", "asked")

    def expire(self, _: int = 0) -> None:
        """Every lease ends; the workers go on, too late."""
        self.world.sql(
            "UPDATE workflow_states SET lease_expires_at = now() - interval '1 s'"
            " WHERE lease_expires_at IS NOT NULL"
        )
        self.died += sum(call.state in ("sent", "asked") for call in self.calls)
        if self.recall == Recall.LOOKUP:
            self.calls = [call for call in self.calls if call.state != "sent"]

    def cap(self, most: int) -> None:
        with suppress(psycopg.errors.CheckViolation):
            self.world.sql("UPDATE caps SET most = %(most)s WHERE scope = 'all'", most=most)
        self.check()

    def refuse(self, number: int) -> None:
        self.refusals = number % 3

    def check(self) -> None:
        """What holds at every moment."""
        for cap in self.world.sql(LIMITED):
            assert cap["reserved"] + cap["spent"] <= cap["most"]
            assert sum(self.charges.values()) <= cap["most"]
            assert cap["beyond"] == 0

    def orders(self) -> list[dict[str, Any]]:
        return self.world.sql("SELECT * FROM orders")

    def drain(self) -> None:
        """Nobody dies any more: all ends that a cap does not hold."""
        self.refusals = 0
        for _ in range(60):
            before = self.world.statuses()
            self.expire()
            did = self.tick(VERBS)
            self.begin()
            if not (did or self.calls or self.world.statuses() != before):
                return
            for name in ACTS[1:5]:
                for call in [call for call in self.calls if call.state == BEFORE[name]]:
                    getattr(self, name)(call)
        raise AssertionError("it does not end")

    def agree(self) -> None:
        """What holds at the end: orders, caps, spend and the provider's account."""
        (total,) = self.world.sql("SELECT * FROM caps WHERE scope = 'all'")
        for one in self.world.sql("SELECT * FROM caps WHERE scope = 'client:ann'"):
            anns = [row for row in self.orders() if row["client"] == "ann"]
            assert one["spent"] == sum(row["settled"] for row in anns if row["settled_at"])
            assert one["reserved"] == sum(row["price"] for row in anns if not row["settled_at"])
        (spent,) = self.world.sql(
            "SELECT coalesce(sum(charged), 0) AS charged, coalesce(sum(bought), 0) AS bought,"
            " coalesce(sum(unknown), 0) AS unknown FROM spend"
        )
        orders = [row for row in self.orders() if row["settled_at"]]
        assert total["spent"] == spent["charged"] == sum(row["settled"] for row in orders)
        waiting = [row for row in self.orders() if not row["settled_at"]]
        assert total["reserved"] == sum(Decimal(str(row["price"])) for row in waiting)
        unknown = [row for row in orders if row["unknown_at"]]
        assert spent["unknown"] == len(unknown) <= self.died
        for row in self.orders():
            charged = self.charges.get(row["id"])
            if row["answered_at"]:
                assert row["charged"] == charged, "what is kept is what was charged"
            elif charged:
                assert row["void_at"] is None, "what was charged is not taken for free"
        if self.world.statuses().get("PENDING"):
            left = total["most"] - total["reserved"] - total["spent"]
            assert left < PRICE, "a cap is used as far as an order fits"


BEFORE = {"send": "begun", "ask": "sent", "receive": "asked", "end": "received"}

# The stage as it was seeded, and a function that sets it again: seeding is most of a schedule.
SCENE = """
CREATE SCHEMA scene;
CREATE TABLE scene.batches AS TABLE batches;
CREATE TABLE scene.batch_companies AS TABLE batch_companies;
CREATE TABLE scene.workflow_states AS TABLE workflow_states;
CREATE TABLE scene.progress AS TABLE progress;
CREATE FUNCTION scene.set(most integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM spend;
    DELETE FROM orders;
    DELETE FROM caps;
    DELETE FROM results.staff;
    DELETE FROM results.superseded;
    DELETE FROM batches;
    INSERT INTO batches (id, name, blueprint, columns, status, priority, paused, buy, client)
        SELECT id, name, blueprint, columns, status, priority, paused, buy, client
        FROM scene.batches;
    INSERT INTO batch_companies SELECT * FROM scene.batch_companies;
    INSERT INTO workflow_states SELECT * FROM scene.workflow_states;
    INSERT INTO progress SELECT * FROM scene.progress;
    INSERT INTO caps (scope, since, most) VALUES ('all', '0001-01-01', most);
END $$
"""


@pytest.fixture(scope="module")
def stage(databases: Databases) -> Iterator[World]:
    with databases.one() as url, world_at(url) as found:
        register(found, staff)
        for name, keys in (("one", ("a", "b", "c", "d")), ("two", ("c", "d", "e", "f"))):
            whose = Spending(client="ann" if name == "two" else None)
            found.seed(keys, ["staff"], name=name, spending=whose)
        with found.operator.transaction() as connection:
            connection.execute(SCENE)
        yield found


@contextmanager
def world_at(url: str) -> Iterator[World]:
    with (
        Store.connect(url) as store,
        WorkerStore.connect(url, max_size=2) as worker,
        OperatorStore.connect(url) as operator,
    ):
        yield World(store, worker, operator)


@pytest.mark.parametrize("recall", [Recall.KEY, Recall.LOOKUP, Recall.NONE])
@pytest.mark.timeout(1200)
def test_no_schedule_pays_twice_or_passes_a_cap(stage: World, recall: Recall) -> None:
    @settings(max_examples=EXAMPLES // 3 + 1, deadline=None)
    @given(schedule=st.lists(acts, min_size=20, max_size=60), most=st.integers(1, 14))
    def run(schedule: list[tuple[str, int]], most: int) -> None:
        stage.sql("SELECT scene.set(%(most)s)", most=most)
        life = Schedule(stage, recall)
        for name, number in schedule:
            life.act(name, number)
        life.drain()
        life.agree()

    register(stage, staff, recall=recall)
    stage.sql("UPDATE enrichment_registry SET backoff_s = 0, backoff_max_s = 0, max_attempts = 99")
    run()

"""Every verb under the role of its side, and nothing granted that no verb needs."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from reconciler.contract.claimed import Room, Throttle
from reconciler.contract.grants import CONDUCTOR, GRANTS, SPECIAL, WORKER
from reconciler.contract.holds import Hold, HoldKind, Unloaded
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.operator import steering, views
from reconciler.operator.deletion import delete_batch, delete_company
from reconciler.operator.diagnosis.explain import explain, read_row
from reconciler.operator.export import read_companies
from reconciler.operator.history import read_history
from reconciler.prefect.overview import overview
from reconciler.spawners.protocol import Refused, Spawned, Unknown
from tests.reconciler.contract.money_life import a_money_life
from tests.reconciler.contract.test_grants import privileges
from tests.roles import RoleWorld, role_world
from tests.world import STEPS
from workers.steps.normalize import Normalized

TABLES = {name: step.table.__table__ for name, step in STEPS.items()}  # type: ignore[attr-defined]
BLUEPRINT = ("normalize", "step_a", "step_b")
LATER = timedelta(hours=1)


@pytest.fixture
def world(url: str) -> Iterator[RoleWorld]:
    with role_world(url) as found:
        yield found


def a_long_life(world: RoleWorld) -> None:
    """A batch that meets everything, and one that is cancelled: every verb of every side."""
    world.store.take_over()
    batch = world.operator.batch(world.seed(6, BLUEPRINT))
    now = world.store.beat().now
    world.spawner.answer = Refused("full")
    assert world.tick(now).released == 6
    world.store.throttle(
        [Throttle("normalize", now, 6, 1, "full"), Throttle("step_a", now, 1, 0, "")]
    )
    world.spawner.answer = Unknown("no answer")
    assert world.tick(now + LATER).unknown == 6
    fail_and_come_back(world, now + LATER)
    world.store.throttle([Throttle(step, now, None, 0, "") for step in BLUEPRINT])
    world.spawner.answer = Spawned("call-1")
    for _ in range(8):
        world.sql("UPDATE workflow_states SET available_at = now() WHERE status = 'PENDING'")
        world.tick()
        for step in BLUEPRINT:
            world.work(step)
            world.work(step)  # those that were lost with a worker, alone
    assert [row["rows"] for row in steering.failed(world.operator, batch)] == [1]
    steering.retry(world.operator, batch)
    assert steering.waiting(world.operator, batch) == []
    assert steering.wake(world.operator, batch) == 0
    steering.pause(world.operator, batch)
    steering.pause(world.operator, batch, False)
    steering.set_priority(world.operator, batch, 5)
    assert steering.rivals(world.operator, batch) == []
    verbs = [line["verb"] for line in read_history(world.operator, batch)]
    assert verbs == ["seed", "retry", "pause", "resume", "priority"]
    look_and_tune(world, batch.name)
    world.tick()
    cancelled = world.operator.batch(world.seed(3, name="cancelled"))
    world.spawner.answer = Spawned("call-2")
    world.tick()
    steering.cancel(world.operator, cancelled)
    world.tick()
    assert world.spawner.cancelled == ["call-2"]
    assert overview(world.store)
    assert delete_batch(world.operator, cancelled) == 3
    release_all(world)
    hold_and_go_on(world)
    room = Room({"normalize": 1}, holder="here-2", family="here-", alive=("here-2",))
    assert world.store.give_back(room, world.store.now()) == 0
    assert world.store.claim(world.store.now(), room) == []
    world.store.prune(world.store.now() + timedelta(days=9))
    delete_all(world)


def delete_all(world: RoleWorld) -> None:
    """A company goes once its batches have ended, and its results with it."""
    for name in world.operator.batch_names():
        if world.operator.batch(name).status == "RUNNING":
            steering.cancel(world.operator, world.operator.batch(name))
    assert delete_company(world.operator, "company-0").results


def release_all(world: RoleWorld) -> None:
    """A worker that is told to end releases what it has begun, and what not."""
    batch = world.operator.batch(world.seed(2, name="released"))
    world.tick()
    first, second = world.ids()[:2]
    assert len(world.worker.release_begun(world.worker.begin("normalize", [first]))) == 1
    assert world.worker.release("normalize", [second]) == 1
    steering.cancel(world.operator, batch)


def hold_and_go_on(world: RoleWorld) -> None:
    """A worker looks at a table that it misses, and holds the step; an operator lets it go on."""
    assert world.worker.lacks(Normalized, [Normalized]) is None
    assert world.worker.hold("normalize", Hold(HoldKind.TABLE, "The table is missing"))
    broken = Unloaded("It is broken", STEPS["step_a"].module)
    assert list(world.worker.note_loaded(["normalize"], [broken])) == ["step_a"]
    assert world.worker.note_loaded(STEPS, []) == {"step_a": None}
    assert world.worker.is_held("normalize")
    assert world.operator.resume_step("normalize")
    assert not world.worker.is_held("normalize")


def fail_and_come_back(world: RoleWorld, now: datetime) -> None:
    """Six begun: one completes late, one asks for time, one is hopeless, three are reaped."""
    first, moody, hopeless, *_ = attempts = world.worker.begin("normalize", world.ids(), "call-0")
    assert first.company.attributes == {"Given": "company-0"}
    assert len(world.worker.heartbeat(attempts)) == 6
    failures = [Failure("busy", retry_after_s=1), Failure("hopeless", Status.FAILED)]
    assert len(world.worker.fail([moody, hopeless], failures)) == 2
    assert world.worker.complete([first], [Normalized()]) == {("normalize", first.company.id)}
    report = world.tick(now + LATER)
    assert (report.retried, report.failed, report.advanced) == (4, 0, 1)
    assert world.worker.complete([moody], [Normalized()]) == set()


def look_and_tune(world: RoleWorld, name: str) -> None:
    """What an operator looks at and sets, beside moving rows."""
    operator = world.operator
    batch = operator.batch(name)
    assert views.batches(operator)[0]
    assert views.progress(operator, batch)["companies"] == 6
    company, rows = views.timeline(operator, batch, "company-1")
    assert rows
    results = views.results(operator, company["id"], TABLES)
    assert views.with_history(operator, company["id"], results)
    assert operator.rows("SELECT count(*) FROM tracer_rows")
    assert read_row(operator, batch, "company-1")
    operator.set_step("step_a", {"max_in_flight": 7})
    operator.sync_step("another", "tracer", {})
    operator.set_polling(poll_s=0.5, paused=False)
    assert operator.polling()["poll_s"] == 0.5
    rows = list(read_companies(operator, batch, {step: TABLES[step] for step in BLUEPRINT}))
    assert sum(row["step_b.result"] is not None for row in rows) == 5


def test_every_verb_works_under_its_role(world: RoleWorld) -> None:
    a_long_life(world)
    assert world.sql("SELECT status FROM batches ORDER BY id DESC")[0] == {"status": "CANCELLED"}
    assert len(world.sql("SELECT company_id FROM results.step_b")) == 4  # one was deleted
    assert world.sql("SELECT attempt FROM attempts")
    assert world.spawner.asked


def test_a_table_that_may_not_be_written_holds_its_step(world: RoleWorld) -> None:
    world.sql(f"REVOKE ALL ON results.normalized FROM {WORKER}")
    world.claimed(1)
    assert world.work().failed == 0
    assert world.statuses() == {"PENDING": 1}
    found = explain(read_row(world.operator, world.operator.batch("batch"), "company-0"))
    assert "permission denied for table normalized" in found.says
    assert found.fix == "tracer db roles && tracer steps resume normalize"


@pytest.mark.parametrize(
    ("step", "taken"),
    [
        ("normalize", "USAGE ON SCHEMA results"),
        ("step_b", "SELECT ON results.normalized"),
    ],
)
def test_what_a_worker_may_not_read_holds_its_step_too(
    world: RoleWorld, step: str, taken: str
) -> None:
    world.sql(f"REVOKE {taken} FROM {WORKER}")
    world.seed(1, [step])
    world.tick()
    assert world.work(step).begun == 0
    assert world.statuses() == {"PENDING": 1}
    assert world.sql("SELECT step_name, kind FROM holds") == [{"step_name": step, "kind": "grant"}]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], tuple[Any, Any]]:
    """The statements of this test, by their user and text, with their last parameters."""
    found: dict[tuple[str, str], tuple[Any, Any]] = {}
    execute = psycopg.Connection.execute

    def record(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        found[self.info.user, str(query)] = (query, params)
        return execute(self, query, params, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", record)
    return found


def unneeded(owner: psycopg.Connection[Any], role: str, statements: list[Any]) -> list[str]:
    """What can be taken from `role` without one of the statements being denied."""
    spare = []
    special = {f"results.{name}": per_role for name, per_role in SPECIAL.items()}
    for table, per_role in (GRANTS | special).items():
        for privilege, columns in privileges(per_role[role]).items():
            for column in columns or [""]:
                what = f"{privilege} ({column})" if column else privilege
                with owner.transaction(force_rollback=True):
                    owner.execute(f"REVOKE {what} ON {table} FROM {role}".encode())
                    owner.execute(f"SET LOCAL ROLE {role}".encode())
                    if not any(is_denied(owner, *statement) for statement in statements):
                        spare.append(f"{what} ON {table}")
    return spare


def is_denied(connection: psycopg.Connection[Any], query: Any, params: Any) -> bool:
    """Whether the statement may not run; it does not, since EXPLAIN checks that too."""
    if isinstance(query, sql.Composable):
        query = query.as_string(connection)
    text = query.decode() if isinstance(query, bytes) else str(query)
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(f"EXPLAIN {text}".encode(), params)
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


@pytest.mark.parametrize("role", [CONDUCTOR, WORKER])
def test_nothing_is_granted_that_no_verb_needs(
    url: str, recorded: dict[tuple[str, str], tuple[Any, Any]], role: str
) -> None:
    with role_world(url) as world:
        a_long_life(world)
        a_money_life(world)
        statements = [made for (user, _), made in recorded.items() if user == role]
        assert len(statements) > 4
        with psycopg.connect(url, autocommit=True) as owner:
            assert unneeded(owner, role, statements) == []

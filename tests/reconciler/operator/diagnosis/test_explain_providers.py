"""What explain, doctor and inspect say of a provider that is paused, full, busy or at its rate."""

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.contract.limits import MARGIN
from reconciler.operator.diagnosis.doctor import Finding, examine, money_parts
from reconciler.operator.diagnosis.reason import Code, Reason
from tests.limits import stands
from tests.paying import paying, through, with_paid_steps
from tests.reconciler.operator.diagnosis import explaining
from tests.reconciler.operator.diagnosis.explaining import told
from tests.standins.provider import Provider
from tests.terminal import Terminal
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

SOON = "now() + interval '10 min'"
LONG = '[{"limit": 5, "seconds": 1}, {"limit": 1000, "seconds": 86400}]'
PAUSES: dict[str, dict[str, str]] = {
    "operator": {"paused_until": "'infinity'", "paused_why": "'new contract.'"},
    "asked": {"paused_until": SOON, "paused_why": "'429 Too Many Requests'"},
    "refused": {"paused_until": "'infinity'", "paused_why": "'402: no credits'"},
    "failing": {"paused_until": SOON, "paused_why": "'503'", "failures": "2"},
}


@pytest.fixture(autouse=True)
def provider(tracer: Terminal) -> Iterator[Provider]:  # noqa: ARG001 - its settings
    with paying() as found:
        yield found


def reason(world: World, key: str = "company-0") -> Reason:
    """What is said of the row while a loop ticks."""
    world.store.beat()
    return explaining.reason(world, key)


def last(world: World) -> str:
    """The company that is claimed last."""
    (found,) = world.sql("SELECT key FROM companies ORDER BY id DESC LIMIT 1")
    return str(found["key"])


def paused(world: World, kind: str) -> None:
    stands(world, pause_kind=f"'{kind}'", **PAUSES[kind])


def doctors(part: str = "providers") -> Finding:
    return examine(part, dict(money_parts())[part])


def inspected(tracer: Terminal) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tracer.json("inspect", "batch")["providers"]
    return found


def headlines(tracer: Terminal) -> str:
    return " ".join(tracer("inspect", "batch").split())


@pytest.mark.parametrize("kind", PAUSES)
def test_a_pause_is_named_with_its_reason_and_its_end(
    tracer: Terminal, world: World, kind: str
) -> None:
    world.seed(2, ["staff"])
    paused(world, kind)
    found = reason(world)
    fix = "tracer providers resume acme"
    assert (found.code, found.fix) == (Code.PROVIDER_PAUSED, fix)
    assert PAUSES[kind]["paused_why"].strip("'.") in found.says
    assert ("until" in found.says.split(",")[0]) == (PAUSES[kind]["paused_until"] == SOON)
    world.tick()
    assert world.statuses() == {"PENDING": 2}
    (seen,) = inspected(tracer)
    assert (seen["code"], seen["fix"]) == ("provider_paused", fix)
    assert seen["says"] == f"2 rows wait. {found.says}"
    assert (
        f"2 rows wait. The provider acme is paused{' until' if 'min)' in found.says else ''}"
        in (headlines(tracer))
    )
    evidence = told(tracer)["evidence"]["limits"]
    assert (evidence["pause_kind"], evidence["name"]) == (kind, "acme")
    tracer(*fix.split()[1:])
    through(world)
    assert world.statuses() == {"COMPLETED": 2}
    assert inspected(tracer) == []


def test_doctor_names_pauses_that_need_somebody(tracer: Terminal, world: World) -> None:
    assert doctors().says == "none is paused"
    for kind in ("asked", "refused", "failing"):
        paused(world, kind)
        found = doctors()
        assert not found.ok
        assert (found.code, found.fix) == ("provider_paused", "tracer providers resume acme")
        assert "acme" in found.says
        assert found.why
        tracer("providers", "resume", "acme")
        assert doctors().ok


def test_doctor_names_all_of_them(tracer: Terminal, world: World) -> None:
    world.sql("INSERT INTO providers (name) VALUES ('zeta')")
    for name in ("acme", "zeta"):
        stands(world, name, pause_kind="'refused'", **PAUSES["refused"])
    found = doctors()
    assert found.says.count("is paused") == 2
    for command in (found.fix or "").split(" && "):
        tracer(*command.split()[1:])
    assert doctors().ok


def test_what_an_operator_did_and_a_full_window_are_no_fault(world: World) -> None:
    paused(world, "operator")
    found = doctors()
    assert found.ok
    assert "acme is paused by an operator: new contract" in found.says
    stands(world, paused_until="NULL", windows=f"'{LONG}'", full_until=SOON)
    found = doctors()
    assert found.ok
    assert "acme is full until" in found.says
    assert "If it allows more" not in found.says


def test_a_full_window_says_when_it_opens(tracer: Terminal, world: World) -> None:
    world.seed(2, ["staff"])
    tracer("providers", "set", "acme", "limit=5/s,1000/d")
    stands(world, full_until=SOON, calls_left="0")
    found = reason(world)
    fix = "tracer providers set acme limit=5/s,2000/d"
    assert (found.code, found.fix) == (Code.PROVIDER_FULL, fix)
    assert "acme is full until" in found.says
    assert "(in 9 min 5" in found.says
    windows = [{"limit": 5, "seconds": 1}, {"limit": 1000, "seconds": 86_400}]
    assert told(tracer)["evidence"]["limits"]["windows"] == windows
    world.tick()
    assert world.statuses() == {"PENDING": 2}
    (seen,) = inspected(tracer)
    assert seen["code"] == "provider_full"
    tracer(*fix.split()[1:])
    world.tick()
    assert world.statuses()["QUEUED"]


def test_calls_at_a_time_are_a_reason_while_they_are_under_way(
    tracer: Terminal, world: World
) -> None:
    world.seed(3, ["staff"])
    tracer("providers", "set", "acme", "max_concurrent=1")
    assert reason(world, "company-2").code == Code.BEHIND_IN_BATCH
    assert "(at acme, 1 calls may be under way)" in reason(world, "company-2").says
    world.tick()
    found = reason(world, "company-2")
    fix = "tracer providers set acme max_concurrent=2"
    assert (found.code, found.fix) == (Code.PROVIDER_BUSY, fix)
    assert found.says == "The provider acme takes 1 call at a time, and 1 are under way"
    (seen,) = inspected(tracer)
    assert seen["code"] == "provider_busy"
    tracer(*fix.split()[1:])
    world.tick()
    assert world.statuses() == {"PENDING": 1, "QUEUED": 2}


def test_after_faults_one_call_at_a_time_is_tried(world: World) -> None:
    world.seed(3, ["staff"])
    stands(world, failures="2", pause_kind="'failing'", paused_why="'503'")
    assert reason(world).code == Code.CLAIMED_NEXT
    world.tick()
    found = reason(world, "company-2")
    assert (found.code, found.fix) == (Code.PROVIDER_PROBING, None)
    assert "was paused 2 times in a row: 503" in found.says


def test_a_row_behind_the_rate_says_when_its_call_goes_out(tracer: Terminal, world: World) -> None:
    world.seed(100, ["staff"])
    tracer("providers", "set", "acme", "limit=1/s")
    found = reason(world, last(world))
    assert found.code == Code.PROVIDER_RATE
    assert "99 rows of this batch come before it. Its call goes out at" in found.says
    assert f"(in {int(99 * (1 + MARGIN))} s) at the earliest" in found.says
    world.tick()
    assert world.statuses()["QUEUED"] <= 3
    found = reason(world, last(world))
    assert (found.code, found.fix) == (Code.PROVIDER_RATE, None)
    assert "acme is called at its limit of 1/s, and" in found.says
    (seen,) = inspected(tracer)
    assert seen["code"] == "provider_rate"
    assert "rows wait, the last one until" in seen["says"]


def test_rows_of_one_bulk_call_wait_together(tracer: Terminal, world: World) -> None:
    world.seed(100, ["crowd"])
    world.sql("UPDATE enrichment_registry SET bulk = 10 WHERE step_name = 'crowd'")
    tracer("providers", "set", "acme", "limit=1/s")
    found = reason(world, last(world))
    assert found.code == Code.PROVIDER_RATE
    assert "(in 9 s)" in found.says


def test_what_a_rate_lets_through_soon_is_not_held_back(tracer: Terminal, world: World) -> None:
    world.seed(10, ["staff"])
    tracer("providers", "set", "acme", "limit=100/s")
    assert inspected(tracer) == []
    assert reason(world).code == Code.CLAIMED_NEXT


def test_a_call_that_waits_for_its_time_says_when_it_goes_out(
    tracer: Terminal, world: World
) -> None:
    world.seed(1, ["staff"])
    tracer("providers", "set", "acme", "limit=1/s")
    world.tick()
    world.sql(f"UPDATE orders SET send_at = {SOON}")
    found = reason(world)
    assert found.code == Code.CALL_PLANNED
    assert "staff waits for its turn at the provider acme: its call goes out at" in found.says
    world.sql("UPDATE workflow_states SET status = 'IN_PROGRESS', started_at = now()")
    assert reason(world).code == Code.CALL_PLANNED
    assert told(tracer)["evidence"]["send_at"]
    world.sql("UPDATE orders SET send_at = NULL")
    assert reason(world).code == Code.RUNNING


def test_a_paused_batch_is_not_held_back(tracer: Terminal, world: World) -> None:
    world.seed(2, ["crowd"])
    paused(world, "refused")
    tracer("pause", "batch")
    assert inspected(tracer) == []

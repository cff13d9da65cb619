"""What `tracer reconcile --until-done` says where nothing moves."""

from collections.abc import Iterator

import pytest

from cli import reconcile
from cli.reconcile import QUIET_S, Standstill
from reconciler.operator.diagnosis.standstill import standstill
from tests.paying import made, paying, staff, through, with_paid_steps
from tests.roles import role_world
from tests.standins.provider import Provider
from tests.terminal import Terminal
from tests.world import World, doing

pytestmark = pytest.mark.filled(fill=with_paid_steps)

FULL = "Nothing moves. The cap of all is full: 1 left of 3, and 2 rows that wait cost 4: run "


@pytest.fixture
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


@pytest.fixture
def full(world: World, tracer: Terminal, provider: Provider) -> None:  # noqa: ARG001
    """A batch of three, of which a cap lets one go."""
    tracer("caps", "set", "all", "3")
    world.seed(3, ["staff"])
    through(world)


def said(capfd: pytest.CaptureFixture[str]) -> str:
    return " ".join(capfd.readouterr().err.split())


@pytest.mark.usefixtures("full")
def test_a_full_cap_is_said_once(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    quiet = Standstill(world.store)
    quiet(QUIET_S / 2)
    assert said(capfd) == ""
    quiet(QUIET_S)
    assert said(capfd) == f"{FULL}`tracer caps set all 6`."
    for seconds in (2 * QUIET_S, 5 * QUIET_S):
        quiet(seconds)
    assert said(capfd) == ""


@pytest.mark.usefixtures("full")
def test_another_reason_is_said_too(
    world: World, tracer: Terminal, capfd: pytest.CaptureFixture[str]
) -> None:
    quiet = Standstill(world.store)
    quiet(QUIET_S)
    tracer("caps", "set", "all", "5")
    through(world)
    quiet(0.1)
    capfd.readouterr()
    quiet(QUIET_S + 0.1)
    assert said(capfd) == ""  # the same command still helps
    world.seed(["x"], ["staff"], name="more")
    world.sql("UPDATE enrichment_registry SET enabled = false WHERE step_name = 'staff'")
    quiet(3 * QUIET_S)
    assert "The step staff is disabled, and 2 running batches need it: run" in said(capfd)


def test_it_looks_now_and_then(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []
    monkeypatch.setattr(reconcile, "standstill", lambda store: looks.append(store) or [])
    quiet = Standstill(world.store)
    for tenth in range(95):
        quiet(tenth / 10)  # to 9.4 s: it looks at 3, 6 and 9 s
    assert len(looks) == 3
    quiet(0.2)  # a tick has moved something
    quiet(QUIET_S)
    assert len(looks) == 3
    quiet(QUIET_S + 0.2)
    assert len(looks) == 4


@pytest.mark.usefixtures("full")
def test_nothing_is_said_while_something_is_under_way(world: World, tracer: Terminal) -> None:
    assert standstill(world.store)
    tracer("caps", "set", "all", "4")
    world.tick()
    assert standstill(world.store) == []
    world.work(made(staff))
    assert standstill(world.store) == []  # the next tick takes it on
    world.tick()
    assert standstill(world.store)
    tracer("pause", "batch")
    assert standstill(world.store) == []


def test_rows_in_backoff_and_steps_without_capacity_are_said(world: World) -> None:
    def fail(_: object) -> object:
        raise ValueError("no answer")

    world.seed(1)
    world.seed(1, ["step_a"], name="other")
    world.operator.set_step("step_a", {"max_in_flight": 0})
    assert world.tick().claimed == 1
    world.work(doing(fail))
    world.tick()
    zero, later = standstill(world.store)
    assert zero.says == "The capacity of step_a is set to 0, and a running batch needs it"
    assert zero.fix == "tracer steps set step_a max_in_flight=1000"
    assert later.says.startswith("Rows wait after a failed attempt: the next one goes out at")
    assert later.fix is None


def test_the_conductors_role_may_look(url: str) -> None:
    with role_world(url) as world:
        world.owner.rows("UPDATE enrichment_registry SET price = 2, provider = 'acme'")
        world.owner.rows("INSERT INTO caps (scope, since, most) VALUES ('all', '0001-01-01', 1)")
        world.seed(1)
        (reason,) = standstill(world.store)
        assert reason.fix == "tracer caps set all 2"

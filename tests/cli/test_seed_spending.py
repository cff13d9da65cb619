"""`tracer seed --cap --buy`, and what a file that changes a company does to its answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paying import PRICE, cap, paying, through, with_paid_steps
from tests.standins.provider import Provider
from tests.terminal import Terminal
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

COMPANIES = "".join(f"Acme {n},acme-{n}.com,{n}\n" for n in range(3))
ROUTE = ("--blueprint", "normalize,staff")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


@pytest.fixture
def leads(tmp_path: Path) -> Path:
    path = tmp_path / "leads.csv"
    path.write_text("name,domain,size\n" + COMPANIES)
    return path


def bought(world: World) -> None:
    """All that the caps allow of both steps."""
    world.tick()
    world.work("normalize")
    through(world)


def test_a_batch_has_its_cap_from_the_first_claim_on(
    tracer: Terminal, world: World, leads: Path, provider: Provider
) -> None:
    report = tracer.json("seed", str(leads), *ROUTE, "--cap", "5.0")
    assert (report["cap"], report["buy"]) == (5, [])
    bought(world)
    assert provider.charges.total() == 2
    assert cap(world, "batch:1")["spent"] == 2 * PRICE
    (line,) = tracer.json("history", "leads")["history"]
    assert line["detail"]["cap"] == "5"


def test_a_batch_names_its_client(
    tracer: Terminal, world: World, leads: Path, provider: Provider
) -> None:
    tracer("caps", "set", "client:ann", "5")
    plan = tracer.json("plan", str(leads), *ROUTE, "--client", "ann")
    room = {"scope": "client:ann", "left": 5, "highest_cost": 6, "enough": False}
    assert plan["caps"] == [room]
    tracer("seed", str(leads), *ROUTE, "--client", "ann")
    assert "It is for the client ann." in tracer.err
    bought(world)
    assert provider.charges.total() == 2
    assert [row["client"] for row in tracer.json("batches")] == ["ann"]
    assert tracer.json("inspect", "leads")["client"] == "ann"
    assert "client ann" in tracer("inspect", "leads").splitlines()[0]
    assert " ann " in tracer("batches")
    (line,) = tracer.json("history", "leads")["history"]
    assert line["detail"]["client"] == "ann"


@pytest.mark.usefixtures("provider")
def test_a_plan_says_how_long_its_calls_take(tracer: Terminal, world: World, leads: Path) -> None:
    both = ("--blueprint", "staff,crowd")
    world.sql("UPDATE enrichment_registry SET bulk = 2 WHERE step_name = 'crowd'")
    plan = tracer.json("plan", str(leads), *both)
    (acme,) = plan["providers"]
    assert (acme["calls"], acme["seconds"], acme["rate_from"]) == (5, None, None)
    assert [step["calls"] for step in plan["steps"]] == [3, 2]
    assert plan["seconds"] is None
    tracer("plan", str(leads), *both)
    assert "5 calls to acme at most: how often it may be called is not known." in tracer.err
    tracer("providers", "set", "acme", "limit=1/s,4/d")
    world.sql("INSERT INTO provider_calls VALUES ('acme', now() - interval '90.5 min')")
    (acme,) = (plan := tracer.json("plan", str(leads), *both))["providers"]
    assert acme["seconds"] == plan["seconds"] == pytest.approx(22.5 * 3600 - 30, abs=20)
    assert (acme["limit"], acme["rate_from"]) == ("1/s,4/d", "set")
    tracer("providers", "pause", "acme")
    tracer("seed", str(leads), *both, "--plan")
    said = " ".join(tracer.err.split())
    assert "5 calls to acme at most, which take 22 h 29 min at its limit of 1/s,4/d." in said
    assert "acme is paused: `tracer providers` says why." in said


def test_a_dry_run_sets_no_cap(tracer: Terminal, world: World, leads: Path) -> None:
    tracer("seed", str(leads), "--blueprint", "normalize", "--cap", "1500", "--dry-run")
    assert "It may cost 1,500: no more is bought." in tracer.err
    assert world.sql("SELECT * FROM caps") == []


def test_what_is_to_buy_uses_no_earlier_answer(
    tracer: Terminal, world: World, leads: Path, provider: Provider
) -> None:
    tracer("seed", str(leads), *ROUTE)
    bought(world)
    tracer("seed", str(leads), *ROUTE, "--name", "again")
    bought(world)
    assert provider.calls.total() == 3
    tracer("seed", str(leads), *ROUTE, "--name", "anew", "--buy", "staff")
    assert "Bought anew, though an answer may be there: staff." in tracer.err
    bought(world)
    assert provider.calls.total() == 6
    (line,) = tracer.json("history", "anew")["history"]
    assert line["detail"]["buy"] == ["staff"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--buy", "staf"), "--buy names 'staf', which is not in the blueprint. Did you mean"),
        (("--buy", "staff,crowd"), "'crowd', which is not in the blueprint. It has: normalize"),
        (("--buy", "normalize"), "normalize, which keeps no answers"),
        (("--cap", "much"), "'much' is not an amount"),
        (("--client", "Ann & Co"), "'Ann & Co' is not the name of a client"),
    ],
)
@pytest.mark.usefixtures("provider")
def test_what_cannot_be_bought_is_refused(
    tracer: Terminal, world: World, leads: Path, words: tuple[str, ...], says: str
) -> None:
    tracer("seed", str(leads), *ROUTE, *words, code=2)
    assert says in " ".join(tracer.err.split())
    assert world.sql("SELECT * FROM batches") == []


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("Acme 1,acme-1.com,1", 0),  # nothing new
        ("Acme 1,acme-1.com,", 0),  # an empty cell says nothing
        ("Acme One,acme-1.com,1", 1),
        ("Acme 1,acme-1.com,one", 1),
        ("New,new.com,9", 1),
    ],
)
def test_an_answer_about_another_company_than_it_is_now_is_not_used_again(
    tracer: Terminal, world: World, leads: Path, provider: Provider, line: str, calls: int
) -> None:
    tracer("seed", str(leads), *ROUTE)
    bought(world)
    leads.write_text(f"name,domain,size\nAcme 0,acme-0.com,0\n{line}\n")
    tracer("seed", str(leads), *ROUTE, "--name", "again")
    changed = world.sql("SELECT key FROM companies WHERE changed_at IS NOT NULL")
    assert len(changed) == (calls if "acme-1" in line else 0)
    bought(world)
    assert provider.calls.total() == 3 + calls


def test_rows_that_fill_a_new_company_change_nothing(
    tracer: Terminal, world: World, leads: Path
) -> None:
    leads.write_text("name,domain,size\nAcme,acme.com,\nAcme,acme.com,7\n")
    tracer("seed", str(leads), "--blueprint", "normalize")
    assert world.sql("SELECT changed_at FROM companies") == [{"changed_at": None}]

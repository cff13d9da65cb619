"""`tracer providers`: limits are set live, a provider is paused and resumed, and all is shown."""

from collections.abc import Iterator
from typing import Any

import pytest

import cli.render
from reconciler.contract.grants import OPERATOR
from reconciler.contract.limits import MARGIN
from tests.limits import row_of, stands
from tests.paying import paying, through, with_paid_steps
from tests.roles import as_role, granted
from tests.standins.provider import Provider
from tests.terminal import Terminal
from tests.world import World

pytestmark = pytest.mark.filled(fill=with_paid_steps)

SET = ("providers", "set", "acme")
LONG = '[{"limit": 5, "seconds": 1}, {"limit": 1000, "seconds": 86400}]'


@pytest.fixture(autouse=True)
def provider() -> Iterator[Provider]:
    with paying() as found:
        yield found


def one_line(text: str) -> str:
    return " ".join(text.split())


def shown(tracer: Terminal) -> dict[str, Any]:
    (found,) = tracer.json("providers")
    return dict(found)


def test_limits_are_set_together(tracer: Terminal, world: World) -> None:
    stands(world, calls_left="0", full_until="now() + interval '1 h'", next_at="now()")
    given = ("limit=1000/d,5/s", "max_concurrent=50", "burst=20", "keep_for=90d")
    before = row_of(world)
    done = tracer.json(*SET, *given)
    now = {"limit": "5/s,1000/d", "max_concurrent": 50, "burst": 20, "keep_for_s": 90 * 86_400}
    was = {"limit": None, "max_concurrent": None, "burst": 1, "keep_for_s": None}
    changed = {key: {"before": was[key], "after": now[key]} for key in now}
    assert done == {"provider": "acme", **now, "learned_rate": None, "changed": changed}
    row = row_of(world)
    assert row["windows"] == [{"limit": 5, "seconds": 1}, {"limit": 1000, "seconds": 86_400}]
    assert row["spacing_s"] == pytest.approx(0.2 * (1 + MARGIN))
    assert (row["max_concurrent"], row["burst"], row["keep_for_s"]) == (50, 20, 90 * 86_400)
    assert (row["calls_left"], row["full_until"]) == (None, None)
    assert row["next_at"] == before["next_at"]
    tracer(*SET, *given)
    assert "acme has these settings already." in tracer.err
    tracer(*SET, "limit=none", "max_concurrent=none", "burst=none", "keep_for=none")
    assert "limit is none, it was 5/s,1000/d; max_concurrent is none" in one_line(tracer.err)
    row = row_of(world)
    assert (row["windows"], row["spacing_s"], row["max_concurrent"]) == ([], None, None)
    assert (row["burst"], row["keep_for_s"]) == (1, None)


def test_the_next_claim_goes_by_a_limit(tracer: Terminal, world: World) -> None:
    world.seed(50, ["staff"])
    tracer(*SET, "max_concurrent=3")
    world.tick()
    assert world.statuses() == {"PENDING": 47, "QUEUED": 3}


@pytest.mark.parametrize(
    ("limit", "learned", "spacing"),
    [
        ("2/s", 1.0, 1.0),
        ("none", 1.0, 1.0),
        ("1000/d", 1.0, 1.0),
        ("2/min", None, 30 * (1 + MARGIN)),
    ],
)
def test_a_learned_rate_stays_where_it_is_slower(
    tracer: Terminal, world: World, limit: str, learned: float | None, spacing: float
) -> None:
    stands(world, learned_rate="1", spacing_s="1", ceiling="2")
    done = tracer.json(*SET, f"limit={limit}")
    row = row_of(world)
    assert done["learned_rate"] == row["learned_rate"] == learned
    assert row["spacing_s"] == pytest.approx(spacing)
    assert (row["ceiling"] is None) == (learned is None)


def test_a_limit_that_begins_slower_says_so(tracer: Terminal, world: World) -> None:
    stands(world, learned_rate="1", spacing_s="1", ceiling="2")
    tracer(*SET, "limit=20/s")
    assert "It has refused more than 1/s: the rate begins with that, and grows." in tracer.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("acne", "keep_for=90d"), "There is no provider 'acne'. Did you mean 'acme'?"),
        (("acme", "keep_for=long"), "'long' is not a duration"),
        (("acme", "keep_for=9999d"), "ten years at most"),
        (("acme", "limit=5"), "'5' is no limit of calls: write 5/s"),
        (("acme", "limit=0/s"), "'0/s' is no limit of calls"),
        (("acme", "limit=5/s,6/s"), "each length once"),
        (("acme", "limit=5/60d"), "longer than 31 days"),
        (("acme", "limits=5/s"), "'limits=5/s' is not a setting of a provider: write limit=5/s"),
        (("acme", "limit"), "'limit' is not a setting of a provider"),
        (("acme", "burst=0"), "burst is a whole number from 1 to 1,000,000, not '0'"),
        (("acme", "burst=2.5"), "burst is a whole number"),
        (("acme", "max_concurrent=0"), "max_concurrent is a whole number from 1"),
        (("acme", "max_concurrent=99999999999999"), "max_concurrent is a whole number from 1"),
        (("acme", "burst=2", "burst=3"), "burst is there twice"),
        (("acme", "burst=7", "limit=fast"), "'fast' is no limit of calls"),
    ],
)
def test_bad_words_are_one_sentence_and_nothing_is_written(
    tracer: Terminal, world: World, words: tuple[str, ...], says: str
) -> None:
    before = row_of(world)
    tracer("providers", "set", *words, code=2)
    assert says in one_line(tracer.err)
    assert row_of(world) == before


def test_a_pause_and_a_resume_say_what_they_changed(tracer: Terminal, world: World) -> None:
    world.seed(1, ["staff"])
    done = tracer.json("providers", "pause", "acme", "--why", "new contract")
    paused = {"state": "paused", "until_resumed": True, "pause_kind": "operator"}
    assert done.items() >= {"provider": "acme", "changed": True, **paused}.items()
    assert (done["paused_why"], done["before"]["state"]) == ("new contract", "open")
    assert row_of(world)["paused_until"] == "infinity"
    world.tick()
    assert world.statuses() == {"PENDING": 1}
    tracer("providers", "pause", "acme")
    assert "acme was paused already: new contract. Nothing was done." in one_line(tracer.err)
    assert "paused until" in tracer("providers")
    assert "by an operator: new contract: run `tracer providers resume acme`" in one_line(
        tracer.err
    )
    tracer("providers", "resume", "acme")
    assert "called again with the next claim. It was paused: new contract." in one_line(tracer.err)
    done = tracer.json("providers", "resume", "acme")
    assert (done["changed"], done["state"]) == (False, "open")
    through(world)
    assert world.statuses() == {"COMPLETED": 1}


def test_a_resume_ends_whatever_paused_it(tracer: Terminal, world: World) -> None:
    until = "now() + interval '1 h'"
    stands(world, paused_until=until, next_at=until, pause_kind="'failing'", failures="3")
    assert tracer.json("providers", "resume", "acme")["changed"]
    row = row_of(world)
    assert (row["paused_until"], row["next_at"], row["pause_kind"]) == (None, None, None)
    assert (row["paused_why"], row["failures"]) == (None, 0)


def test_a_pause_and_a_resume_give_no_time_twice(tracer: Terminal, world: World) -> None:
    tracer(*SET, "limit=1/s")
    stands(world, next_at="now() + interval '1 s'")
    before = row_of(world)["next_at"]
    tracer("providers", "pause", "acme")
    tracer("providers", "resume", "acme")
    assert row_of(world)["next_at"] == before
    tracer("providers", "resume", "acme")
    assert row_of(world)["next_at"] == before


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_unknown_provider_is_refused(tracer: Terminal, verb: str) -> None:
    tracer("providers", verb, "acne", code=2)
    assert "Did you mean 'acme'?" in one_line(tracer.err)


def test_an_operators_pause_keeps_what_was_known(tracer: Terminal, world: World) -> None:
    stands(world, paused_until="'infinity'", pause_kind="'refused'", paused_why="'402: no credits'")
    done = tracer.json("providers", "pause", "acme")
    assert (done["changed"], done["paused_why"]) == (True, "402: no credits")
    assert (done["pause_kind"], done["before"]["pause_kind"]) == ("operator", "refused")


@pytest.mark.parametrize(
    ("columns", "limit"),
    [
        ({}, "none known"),
        ({"windows": f"'{LONG}'"}, "5/s,1000/d"),
        (
            {
                **{"learned_rate": "47", "ceiling": "52", "refusals": "3"},
                "refused_at": "now() - interval '5 min'",
            },
            "learned 47/s (52/s was refused; 3 refusals, the last 5 min",
        ),
        ({"learned_rate": "0.5", "refusals": "1"}, "learned 30/min (1 refusal)"),
        ({"windows": f"'{LONG}'", "learned_rate": "2"}, "5/s,1000/d, now learned 2/s"),
    ],
)
def test_a_limit_is_shown_as_set_or_as_learned(
    tracer: Terminal,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    columns: dict[str, str],
    limit: str,
) -> None:
    if columns:
        stands(world, **columns)
    monkeypatch.setattr(cli.render.out, "width", 200)
    assert limit in one_line(tracer("providers"))


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, "open"),
        ({"paused_until": "now() - interval '1 s'", "pause_kind": "'asked'"}, "open"),
        ({"paused_until": "now() + interval '1 h'", "pause_kind": "'asked'"}, "paused"),
        ({"full_until": "now() + interval '1 h'"}, "full"),
        ({"full_until": "now() - interval '1 h'"}, "open"),
        ({"failures": "2"}, "probing"),
    ],
)
def test_a_provider_has_its_state(
    tracer: Terminal, world: World, columns: dict[str, str], state: str
) -> None:
    if columns:
        stands(world, **columns)
    assert shown(tracer)["state"] == state
    assert state in tracer("providers")


def test_rows_that_wait_are_those_that_may_be_claimed(tracer: Terminal, world: World) -> None:
    world.seed(3, ["staff"])
    world.seed(["a", "b"], ["crowd"], name="bulk")
    world.seed(["c", "d"], ["staff"], name="paused")
    world.seed(["e"], ["normalize", "staff"], name="not there yet")
    tracer("pause", "paused")
    assert shown(tracer)["waiting"] == 5
    world.sql(
        "UPDATE workflow_states SET available_at = now() + interval '1 h' WHERE company_id = 1"
    )
    assert shown(tracer)["waiting"] == 4


def test_the_table_fits_into_100_columns(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.render.out, "width", 100)
    tracer(*SET, "limit=5/s,1000/d", "max_concurrent=50", "burst=20", "keep_for=90d")
    stands(world, learned_rate="2", ceiling="3", refusals="12", refused_at="now()")
    stands(world, paused_until="now() + interval '3 days'", pause_kind="'asked'")
    found = tracer("providers")
    assert max(map(len, found.splitlines())) <= 100
    words = found.split()
    assert {"acme", "50", "20", "wait"} <= set(words)
    assert "for 90" in found


def test_the_operators_role_may_do_all_of_it(
    tracer: Terminal, world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.seed(9, ["staff"])
    monkeypatch.setenv("DATABASE_URL", as_role(granted(url), OPERATOR))
    tracer(*SET, "limit=1/s,1000/d", "burst=2", "keep_for=90d")
    tracer("providers", "pause", "acme")
    assert shown(tracer)["waiting"] == 9
    assert len(tracer.json("inspect", "batch")["providers"]) == 1
    assert tracer.json("explain", "batch", "company-1")["evidence"]["limits"]["until_resumed"]
    tracer("providers", "resume", "acme")
    assert shown(tracer)["state"] == "open"

"""The operator's word on the command line: counted and shown first, and asked where it costs."""

import io
import sys

import pytest

from cli.priority import named, position
from reconciler.operator import steering
from reconciler.operator.wording import operand
from tests.terminal import Terminal
from tests.world import World, doing
from workers.kit import PermanentError

MARKUP = "-[red]it's \x1b[31m $(touch /tmp/x)"


class Person(io.StringIO):
    """Somebody at the keyboard."""

    def isatty(self) -> bool:
        return True


def refuse(_: object) -> object:
    raise PermanentError("account [bold]closed[/bold]")


def fail(world: World) -> None:
    world.tick()
    world.work(doing(refuse))
    world.tick()


def plain(text: str) -> str:
    return " ".join(text.split())


def test_a_pause_is_counted_and_undone_without_a_question(tracer: Terminal, world: World) -> None:
    world.seed(3, name="b")
    world.operator.set_step("normalize", {"max_in_flight": 1})
    world.tick()
    tracer("pause", "b")
    assert plain(tracer.err) == (
        "Pauses b: 2 rows pending, 1 in flight goes on. step pending queued normalize 2 1 "
        "b is paused: `tracer resume b`."
    )
    tracer("pause", "b", "--yes")
    assert tracer.err == "b is paused already: `tracer resume b`. Nothing was done.\n"
    tracer("resume", "b")
    assert tracer.err.startswith("Resumes b: 2 rows pending, 1 in flight.")
    assert tracer.err.endswith("b goes on with the next tick.\n")
    tracer("resume", "b", "--yes")
    assert tracer.err == "b is not paused. Nothing was done.\n"


def test_a_priority_says_whom_it_goes_before(tracer: Terminal, world: World) -> None:
    for name, priority in (("b", 0), ("low", -3), ("same", 5), ("high", 9)):
        world.seed(1, name=name, priority=priority)
    tracer("priority", "b", "5")
    assert "Priority of b: 0 -> 5, for 1 row pending." in tracer.err
    assert tracer.err.endswith("b goes after high (9), beside same (5), before low (-3).\n")
    tracer("priority", "b", "5", "--yes")
    assert tracer.err == "b has the priority 5 already. Nothing was done.\n"
    tracer("priority", "b", "-4")
    assert tracer.err.endswith("b goes after high (9), same (5), low (-3).\n")
    for wrong in ("99999999999", "soon", "--nope"):
        tracer("priority", "b", wrong, code=2)
        assert "Invalid value for 'N'" in tracer.err


def test_a_cancel_asks_a_person_and_takes_no_for_an_answer(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.seed(2, name="b")
    monkeypatch.setattr(sys, "stdin", Person("n\n"))
    tracer("cancel", "b", code=1)
    assert "Cancels b: 2 rows pending, 0 in flight." in tracer.err
    assert "Go on? [y/N]" in tracer.err
    assert world.statuses() == {"PENDING": 2}
    monkeypatch.setattr(sys, "stdin", Person("y\n"))
    tracer("cancel", "b")
    assert "b: 2 rows cancelled." in tracer.err
    tracer("cancel", "b", "--yes")
    assert tracer.err == "b is cancelled already. Nothing was done.\n"


def test_a_retry_is_counted_per_step(tracer: Terminal, world: World) -> None:
    world.seed(1, name="b")
    tracer("retry", "b", "--yes")
    assert "no failed row matches" in tracer.err
    fail(world)
    tracer("retry", "b", code=2)
    assert tracer.err == "Retries b: 1 failed row. Nothing was done: add --yes.\n"
    tracer("pause", "b", code=2)
    fix = "To give its failed rows new attempts: run `tracer retry b`."
    assert f"It is FINISHED, and no row of it waits. {fix}" in plain(tracer.err)
    tracer("retry", "b", "--error", "[bold]", "--yes")
    assert plain(tracer.err) == (
        "Retries b: 1 failed row. step failed normalize 1 b: 1 row is pending again."
    )
    tracer("pause", "b")
    fail(world)
    assert world.statuses() == {"PENDING": 1}


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "priority"])
def test_what_has_ended_is_not_steered(tracer: Terminal, world: World, verb: str) -> None:
    world.claimed(1)
    world.work()
    world.tick()
    tracer(verb, "batch", *(["1"] if verb == "priority" else []), "--yes", code=2)
    assert "Batch 'batch' has ended already. It is FINISHED" in tracer.err


def test_what_an_interrupted_cancel_left_is_cancelled_by_the_next(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "CHUNK", 2)
    world.seed(5, name="b")
    run, chunks = steering._hold, iter(range(9))

    def interrupted(*given: object) -> object:
        if next(chunks) == 2:
            raise KeyboardInterrupt
        return run(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(steering, "_hold", interrupted)
    tracer("cancel", "b", "--yes", code=1)
    assert "Stopped after 2 of 5 rows: run the same command again for" in tracer.err
    monkeypatch.setattr(steering, "_hold", run)
    tracer("cancel", "b", code=2)
    assert "Cancels b: 3 rows pending, 0 in flight. Nothing was done" in tracer.err
    tracer("cancel", "b", "--yes")
    assert "b: 3 rows cancelled." in tracer.err
    assert world.statuses() == {"CANCELLED": 5}


def test_a_name_from_a_strange_file_steers_nothing(tracer: Terminal, world: World) -> None:
    world.seed(1, name=MARKUP)
    for command, code, *more in (
        ("pause", 0),
        ("resume", 0),
        ("priority", 0, "3"),
        ("cancel", 2),
        ("cancel --yes", 0),
        ("history", 0),
        ("retry", 2),
    ):
        tracer(*command.split(), "--", MARKUP, *more, code=code)
        assert "\x1b" not in tracer.out + tracer.err
        assert "[red]it's" in tracer.out + tracer.err or command == "history"
    assert world.statuses() == {"CANCELLED": 1}


def test_a_name_is_quoted_as_a_shell_takes_it() -> None:
    assert [operand(name) for name in ("plain", "a b", "it's", "-x")] == [
        "plain",
        "'a b'",
        "'it'\"'\"'s'",
        "-- -x",
    ]


def test_a_sentence_names_a_few_of_many_batches() -> None:
    many = [{"name": f"b{n}", "priority": n} for n in range(9)]
    assert named(many) == "b0 (0), b1 (1), b2 (2) and 6 others"
    assert named(many[:4]) == "b0 (0), b1 (1), b2 (2) and 1 other"
    assert position(4, []) == "as before: no other running batch shares a step with it"
    assert position(0, many[:1]) == "beside b0 (0)"

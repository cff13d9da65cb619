"""`tracer interval tune`: the intervals that a latency needs, and why."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from cli.interval import duration
from cli.render import AsJson, document, out, say, text
from reconciler.contract.errors import Unreachable, WorkFailed
from reconciler.contract.settings import load_settings
from reconciler.operator.connect import operator
from reconciler.operator.intervals import set_intervals
from reconciler.operator.tuning import (
    EVERY_S,
    POLLS_S,
    Pickups,
    latency_s,
    longest_poll_s,
    read_pickups,
)
from reconciler.operator.wording import seconds
from reconciler.prefect import schedule

FEWEST = 20  # rows: of fewer, a p95 is that of one or two
IDLE = (
    "`idle` is the poll interval, since a batch that is seeded into an idle system waits for an "
    "idle tick. Where the database should be able to sleep, raise it by hand: "
    "`tracer interval set --idle 10m`."
)


def tune(
    p95: Annotated[
        str | None,
        typer.Option(help="Target of the pick-up latency; else the one that was last applied."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Set what was chosen.")] = False,
    as_json: AsJson = False,
) -> None:
    """Choose the longest intervals that meet a p95 of the pick-up latency.

    A pick-up is from the moment when a row could be claimed until its work begins. What it takes
    beside the wait for a tick is read from the rows of the last hour.
    """
    with operator() as store:
        given_s = duration(p95) if p95 is not None else None
        found, now, left = read_pickups(store), store.polling(), schedule_fault()
        if found.rows < FEWEST:
            raise WorkFailed(
                f"Too little to measure: of the rows that were looked at, {found.rows} have begun "
                f"in the last hour, and {FEWEST} are needed. Seed a batch first.",
                "tracer seed FILE --blueprint a,b",
            )
        target_s = given_s or now["latency_target_s"]
        poll_s = longest_poll_s(found.overhead_p95_s, target_s)
        chosen = {"poll_s": poll_s, "idle_s": poll_s} if poll_s else {}
        if chosen and not left:
            chosen["every_s"] = EVERY_S
        if chosen and apply:
            set_intervals(store, {**chosen, "latency_target_s": target_s})
    present = {name: now[name] for name in ("poll_s", "idle_s", "every_s")}
    if as_json:
        document(
            {
                "target_p95_s": target_s,
                "measured": asdict(found),
                "present": with_latency(found, present),
                "chosen": with_latency(found, present | chosen) if chosen else None,
                "schedule_left": left,
                "applied": apply and bool(chosen),
            }
        )
    else:
        for sentence in why(found, present, chosen, target_s, left):
            out.print(text(sentence))
    if not chosen:
        raise WorkFailed(unmet(found, target_s))
    say("Set." if apply else "Nothing was set: `--apply` does.")


def schedule_fault() -> str | None:
    """Why Prefect's schedule cannot be set; None where it can."""
    try:
        found = schedule.read_schedule(load_settings())
    except Unreachable as error:
        return str(error)
    return None if found.deployed else str(schedule.NotDeployed())


def with_latency(found: Pickups, intervals: dict[str, float]) -> dict[str, float]:
    """The intervals, and the p95 of a pick-up that they give."""
    return {**intervals, "p95_s": latency_s(found.overhead_p95_s, intervals["poll_s"])}


def why(
    found: Pickups,
    present: dict[str, float],
    chosen: dict[str, float],
    target_s: float,
    left: str | None,
) -> Iterator[str]:
    """What was measured, what follows from it, and what was chosen."""
    overhead, poll_s = brief(found.overhead_p95_s), present["poll_s"]
    yield (
        f"{found.rows:,} rows began in the last hour: half of them within "
        f"{brief(found.overhead_p50_s)} of the tick that claimed them, 95 % within {overhead}."
    )
    if found.pickups:
        yield (
            f"{found.pickups:,} pick-ups, from the end of a step to the begin of the next: half "
            f"took up to {brief(found.pickup_p50_s)}, 95 % up to {brief(found.pickup_p95_s)}. Rows "
            "wait longer where a step's `max_in_flight` is reached, and nearly a whole interval "
            "where steps end soon after a tick."
        )
    if found.mixed:
        yield "Some of these pick-ups are from before the intervals were last changed."
    yield (
        f"For 95 % of the pick-ups, the tick comes within 0.95 of the poll interval: {overhead} + "
        f"0.95 x poll is to be {brief(target_s)} or less. As it is now, poll {brief(poll_s)}, it "
        f"is {brief(latency_s(found.overhead_p95_s, poll_s))}."
    )
    if chosen:
        chosen_s = ", ".join(f"{name.removesuffix('_s')} {brief(s)}" for name, s in chosen.items())
        now = ", as it is now" if present | chosen == present else ""
        schedule_left = f"; the schedule is left as it is: {left}" if left else "."
        yield f"Chosen: {chosen_s}{now}{schedule_left}"
        yield IDLE


def unmet(found: Pickups, target_s: float) -> str:
    """Why no interval meets the target, and what takes longest."""
    overhead_s, tick_s, shortest_s = found.overhead_p95_s, found.tick_p95_s, POLLS_S[0]
    most = "the wait for a tick"
    if overhead_s > shortest_s:
        ticks = tick_s is not None and tick_s > overhead_s / 2
        most = "the tick itself" if ticks else "the start of the calls, or the wait for a worker"
    return (
        f"No interval meets a p95 of {brief(target_s)}: with the shortest, {brief(shortest_s)}, "
        f"it is {brief(latency_s(overhead_s, shortest_s))}. The overhead alone has "
        f"{brief(overhead_s)}, and a tick that claims takes {brief(tick_s)}. What takes longest is "
        f"{most}. Nothing was set."
    )


def brief(value_s: float | None) -> str:
    """A duration in three digits."""
    return seconds(value_s if value_s is None else float(f"{value_s:.3g}"))

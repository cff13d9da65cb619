"""`tracer interval tune`: find the intervals for a wanted pick-up latency, and say why."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from cli.render import AsJson, document, out, say, text
from reconciler.contract.durations import duration
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
from reconciler.operator.wording import plural, seconds
from reconciler.prefect import schedule

FEWEST = 20  # rows: with fewer, one or two rows decide the p95
IDLE = (
    "`idle` is set to the poll interval: a batch that is seeded into an idle system waits for an "
    "idle tick. If the database should be able to sleep, raise it by hand: "
    "`tracer interval set --idle 10m`."
)


def tune(
    p95: Annotated[
        str | None,
        typer.Option(help="The wanted p95 of a pick-up. Default: the one that was last applied."),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Set the chosen intervals.")] = False,
    as_json: AsJson = False,
) -> None:
    """Choose the longest intervals that meet a wanted pick-up latency (p95).

    A pick-up is the time from when a row could be claimed until its work begins. The rows of the
    last hour show how much of it is not the wait for a tick.
    """
    with operator() as store:
        given_s = duration(p95) if p95 is not None else None
        found, now, schedule_error = read_pickups(store), store.polling(), schedule_fault()
        if found.rows < FEWEST:
            began = plural(found.rows, "row", "rows")
            raise WorkFailed(
                f"Not enough to measure: {began} of the sample began in the last hour, "
                f"and {FEWEST} are needed. Seed a batch first.",
                "tracer seed FILE --blueprint a,b",
            )
        target_s = given_s or now["latency_target_s"]
        poll_s = longest_poll_s(found.overhead_p95_s, target_s)
        chosen = {"poll_s": poll_s, "idle_s": poll_s} if poll_s else {}
        if chosen and not schedule_error:
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
                "schedule_left": schedule_error,
                "applied": apply and bool(chosen),
            }
        )
    else:
        for sentence in why(found, present, chosen, target_s, schedule_error):
            out.print(text(sentence))
    if not chosen:
        raise WorkFailed(unmet(found, target_s))
    say("Set." if apply else "Nothing was set: add --apply to set them.")


def schedule_fault() -> str | None:
    """Why Prefect's schedule cannot be set, or None."""
    try:
        found = schedule.read_schedule(load_settings())
    except Unreachable as error:
        return str(error)
    return None if found.deployed else str(schedule.NotDeployed())


def with_latency(found: Pickups, intervals: dict[str, float]) -> dict[str, float]:
    """The intervals, with the p95 of a pick-up that they give, in seconds."""
    return {**intervals, "p95_s": latency_s(found.overhead_p95_s, intervals["poll_s"])}


def why(
    found: Pickups,
    present: dict[str, float],
    chosen: dict[str, float],
    target_s: float,
    schedule_error: str | None,
) -> Iterator[str]:
    """Sentences: the measurement, its consequence, and the choice."""
    overhead, poll_s = brief(found.overhead_p95_s), present["poll_s"]
    yield (
        f"{found.rows:,} rows began in the last hour: half of them within "
        f"{brief(found.overhead_p50_s)} of the tick that claimed them, 95 % within {overhead}."
    )
    if found.pickups:
        pickups = plural(found.pickups, "pick-up", "pick-ups")
        yield (
            f"{pickups}, from the end of a step to the begin of the next: half "
            f"took up to {brief(found.pickup_p50_s)}, 95 % up to {brief(found.pickup_p95_s)}. Rows "
            "wait longer if a step's `max_in_flight` is reached, and nearly a whole interval if "
            "their steps end soon after a tick."
        )
    if found.mixed:
        yield "Some of these pick-ups are from before the intervals were last changed."
    yield (
        f"For 95 % of the pick-ups, the tick comes within 0.95 of the poll interval: {overhead} + "
        f"0.95 x poll must be {brief(target_s)} or less. With poll {brief(poll_s)}, as now, it is "
        f"{brief(latency_s(found.overhead_p95_s, poll_s))}."
    )
    if chosen:
        chosen_s = ", ".join(f"{name.removesuffix('_s')} {brief(s)}" for name, s in chosen.items())
        now = ", as it is now" if present | chosen == present else ""
        unchanged = f"; the schedule stays as it is: {schedule_error}" if schedule_error else "."
        yield f"Chosen: {chosen_s}{now}{unchanged}"
        yield IDLE


def unmet(found: Pickups, target_s: float) -> str:
    """A sentence: why no interval meets the target, and which part takes longest."""
    overhead_s, tick_s, shortest_s = found.overhead_p95_s, found.tick_p95_s, POLLS_S[0]
    most = "the wait for a tick"
    if overhead_s > shortest_s:
        ticks = tick_s is not None and tick_s > overhead_s / 2
        most = "the tick itself" if ticks else "the start of the calls, or the wait for a worker"
    return (
        f"No interval meets a p95 of {brief(target_s)}: with the shortest, {brief(shortest_s)}, "
        f"it is {brief(latency_s(overhead_s, shortest_s))}. The overhead alone is "
        f"{brief(overhead_s)}, and a tick that claims takes {brief(tick_s)}. The longest part is "
        f"{most}. Nothing was set."
    )


def brief(value_s: float | None) -> str:
    """A duration with three digits."""
    return seconds(value_s if value_s is None else float(f"{value_s:.3g}"))

"""What `tracer interval tune` found, for a person and for a program."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from cli.render import out, table, text
from reconciler.operator.latency import P95, Candidate, Costs, latency_s, quantile
from reconciler.operator.tuning import Pickups
from reconciler.operator.wording import seconds

IDLE = (
    "`idle` is the poll interval, since a batch that is seeded into an idle system waits for an "
    "idle tick. Where the database should be able to sleep, raise it by hand: "
    "`tracer interval set --idle 10m`."
)


@dataclass(frozen=True)
class Study:
    """What was measured, what it makes of each candidate, and which of them was chosen.

    `polling` is what is set at present; `schedule_left` says why Prefect's schedule is not tuned.
    """

    target_s: float
    polling: dict[str, Any]
    pickups: Pickups
    costs: Costs
    schedule_left: str | None
    candidates: list[Candidate]
    chosen: Candidate | None

    def values(self, chosen: Candidate) -> dict[str, float]:
        """What to set for `chosen`."""
        poll_s = chosen.poll_s
        found = {"poll_s": poll_s, "idle_s": poll_s, "latency_target_s": self.target_s}
        return found if self.schedule_left else {**found, "every_s": chosen.every_s}

    def modelled_s(self, share: float) -> float | None:
        """What the model says, at the present poll interval, of the pick-ups that were measured."""
        overheads = self.pickups.pickup_overheads
        return latency_s(overheads, self.polling["poll_s"], share) if overheads else None


def as_document(study: Study, applied: bool) -> dict[str, Any]:
    """Everything, in seconds."""
    found, now = study.pickups, study.polling
    measured = {
        **asdict(found),
        "overhead_p50_s": quantile(found.overheads, 0.5),
        "overhead_p95_s": quantile(found.overheads, P95),
        "modelled_p50_s": study.modelled_s(0.5),
        "modelled_p95_s": study.modelled_s(P95),
        "idle_tick_cpu_s": study.costs.tick_s,
        "run_start_cpu_s": study.costs.start_s,
    }
    del measured["overheads"], measured["pickup_overheads"]
    present = {name: now[name] for name in ("poll_s", "idle_s", "every_s")}
    present["p95_s"] = latency_s(found.overheads, now["poll_s"], P95)
    present["cpu_s_per_day"] = study.costs.per_day(now["idle_s"], now["every_s"])
    chosen = study.chosen
    return {
        "target_p95_s": study.target_s,
        "measured": measured,
        "present": present,
        "candidates": [asdict(candidate) for candidate in study.candidates],
        "chosen": {**asdict(chosen), "idle_s": chosen.poll_s} if chosen else None,
        "schedule_left": study.schedule_left,
        "applied": applied,
    }


def show(study: Study) -> None:
    """The same for a person."""
    out.print(measurements(study))
    for sentence in remarks(study):
        out.print(text(sentence))
    of_all, chosen = study.candidates, study.chosen
    every_s = of_all[-1].every_s  # the longest, which is the cheapest whatever the target
    out.print()
    out.print(polls(study, [c for c in of_all if c.every_s == every_s]))
    out.print()
    if chosen is None:
        return
    if not study.schedule_left:
        out.print(everies(study, [c for c in of_all if c.poll_s == chosen.poll_s]))
        out.print()
    out.print(text(choice(study, chosen)))
    out.print(text(IDLE))


def choice(study: Study, chosen: Candidate) -> str:
    """What was chosen, in a sentence."""
    found = f"Chosen: poll {brief(chosen.poll_s)}, idle {brief(chosen.poll_s)}, "
    if study.schedule_left:
        return f"{found}and the schedule is left as it is: {study.schedule_left}"
    return f"{found}every {brief(chosen.every_s)}."


def measurements(study: Study) -> Table:
    """The times that were measured, and the model beside those that it should meet."""
    found = study.pickups
    overhead = [brief(quantile(found.overheads, share)) for share in (0.5, P95)]
    real = [brief(found.pickup_p50_s), brief(found.pickup_p95_s)]
    model = [brief(study.modelled_s(share)) for share in (0.5, P95)]
    return table(
        ["in the last hour", "#p50", "#p95", "#rows"],
        [
            ["overhead, from tick to begin", *overhead, found.rows],
            ["pick-up, from step to step", *real, found.pickups],
            [f"the same by the model, poll {brief(study.polling['poll_s'])}", *model, ""],
        ],
    )


def remarks(study: Study) -> list[str]:
    """What the figures need to be read."""
    now, costs = study.polling, study.costs
    day = costs.per_day(now["idle_s"], now["every_s"])
    found = [
        "They take longer than by the model where a step's `max_in_flight` is reached, and where "
        "steps end soon after a tick: these rows wait for nearly a whole interval."
    ]
    if study.pickups.mixed:
        found.append("Some of these pick-ups are from before the intervals were last changed.")
    found.append(
        f"CPU: {costs.tick_s * 1000:.1f} ms for an idle tick, {brief(costs.start_s)} or more for "
        f"the start of a flow run. As it is now (poll {brief(now['poll_s'])}, idle "
        f"{brief(now['idle_s'])}, every {brief(now['every_s'])}), a day without work takes "
        f"{day:,.0f} s."
    )
    return found


def polls(study: Study, candidates: Sequence[Candidate]) -> Table:
    """What each poll interval gives and costs."""
    now = study.polling["poll_s"]
    return table(
        ["poll", "#p95", "#CPU s a day", ""],
        [
            [brief(c.poll_s), brief(c.p95_s), cpu(c), mark(c == study.chosen, c.poll_s == now)]
            for c in candidates
        ],
    )


def everies(study: Study, candidates: Sequence[Candidate]) -> Table:
    """What each schedule costs; a loop that died is replaced by the next run."""
    now = study.polling["every_s"]
    return table(
        ["every", "#CPU s a day", ""],
        [[brief(c.every_s), cpu(c), mark(c == study.chosen, c.every_s == now)] for c in candidates],
    )


def cpu(candidate: Candidate) -> str:
    """The CPU seconds of a day, to the second."""
    return f"{candidate.cpu_s_per_day:,.0f}"


def mark(chosen: bool, now: bool) -> str:
    """What stands beside a candidate."""
    return ", ".join(["chosen"] * chosen + ["as it is now"] * now)


def unmet(study: Study) -> str:
    """Why no candidate meets the target."""
    overhead_s = quantile(study.pickups.overheads, P95)
    tick_s = study.pickups.tick_p95_s
    shortest = study.candidates[0]
    most = "the wait for a tick"
    if overhead_s > shortest.poll_s:
        ticks = tick_s is not None and tick_s > overhead_s / 2
        most = "the tick itself" if ticks else "the start of the calls, or the wait for a worker"
    return (
        f"No interval meets a p95 of {brief(study.target_s)}: with the shortest, "
        f"{brief(shortest.poll_s)}, it is {brief(shortest.p95_s)}. The overhead alone has "
        f"{brief(overhead_s)}, and a tick that claims takes {brief(tick_s)}. What takes longest is "
        f"{most}. Nothing was set."
    )


def brief(value_s: float | None) -> str:
    """A duration in three digits."""
    return seconds(value_s if value_s is None else float(f"{value_s:.3g}"))

"""`tracer interval`: show and change how often the loop ticks and how often Prefect starts it."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.render import AsJson, answer, document, out, say, table, text
from reconciler.contract.durations import duration
from reconciler.contract.errors import BadInput, Unreachable
from reconciler.contract.settings import load_settings
from reconciler.operator.connect import operator
from reconciler.operator.diagnosis.rules.loop import schedule_faults
from reconciler.operator.intervals import set_intervals, set_paused
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.wording import seconds
from reconciler.prefect import schedule
from reconciler.prefect.runs import recent_runs

app = typer.Typer(
    help="Show and change the loop's intervals; pause and resume it.",
    epilog="Example: tracer interval",
    invoke_without_command=True,
)


@app.callback()
def interval(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the loop's intervals, Prefect's schedule and the next run, with the source of each."""
    if context.invoked_subcommand:
        return
    with read_only_store(ViewStore) as store:
        polling = store.polling()
    prefect = read_prefect()
    if as_json:
        document({**polling, "schedule": prefect})
        return
    out.print(table(["interval", "is", "comes from"], _lines(polling, prefect)))
    out.print(text(_last_tick(polling)))


def read_prefect() -> dict[str, Any]:
    """Prefect's schedule, its last run and its fault; if it cannot be read, `error` says why."""
    try:
        found = schedule.read_schedule(load_settings())
    except Unreachable as error:
        return {"error": str(error)}
    if not found.deployed:
        return {**vars(found), "last_run": None, "error": str(schedule.NotDeployed())}
    fault = next(schedule_faults(found, datetime.now(UTC)), None)
    last = next(iter(recent_runs(load_settings(), 1)), None)
    more = {"last_run": vars(last) if last else None, "fault": asdict(fault) if fault else None}
    return {**vars(found), **more, "error": None}


def _lines(polling: dict[str, Any], prefect: dict[str, Any]) -> list[list[Any]]:
    here = "the table `polling`, read at every tick"
    paused = ", paused" if polling["paused"] else ""
    lines: list[list[Any]] = [
        ["poll", seconds(polling["poll_s"]) + paused, here],
        ["idle", seconds(polling["idle_s"]) + paused, f"{here}; nothing to do"],
        ["every", seconds(polling["every_s"]), f"{here}; a run stays a minute longer than that"],
    ]
    if prefect["error"]:
        return [*lines, ["schedule", "?", prefect["error"]]]
    there = f"Prefect's deployment {schedule.FLOW}/{schedule.DEPLOYMENT} at {prefect['api_url']}"
    every = seconds(prefect["every_s"]) + (", paused" if prefect["paused"] else "")
    lines.append(["schedule", every, f"{there}{schedule_gap(polling, prefect['every_s'])}"])
    fault = f"; {prefect['fault']['says']}" if prefect["fault"] else ""
    planned = prefect["next_run_at"] or ("none" if prefect["paused"] else "planned in a minute")
    lines.append(["next run", planned, f"{there}{fault}"])
    if last := prefect["last_run"]:
        lines.append(["last run", last["started_at"], f"{last['name']}, {last['state']}"])
    return lines


def schedule_gap(polling: dict[str, Any], every_s: float | None) -> str:
    """A hint if Prefect's schedule and the loop's window differ, else nothing."""
    if every_s is None or every_s == polling["every_s"]:
        return ""
    return f"; `every` differs: `tracer interval set --every {every_s:g}s` sets both"


def _last_tick(polling: dict[str, Any]) -> str:
    if polling["ticked_at"] is None:
        return "No loop has ticked yet."
    ago = (polling["now"] - polling["ticked_at"]).total_seconds()
    return f"Last tick {seconds(round(ago, 1))} ago."


@app.command("set", epilog="Example: tracer interval set --poll 0.5 --every 2m")
def set_(
    poll: Annotated[
        str | None, typer.Option(help="Wait between ticks while there is work.")
    ] = None,
    idle: Annotated[
        str | None, typer.Option(help="Longest wait between ticks while there is no work.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Time between the starts of two runs (Prefect's schedule).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change the loop's intervals, from the next tick on."""
    given = {"poll_s": poll, "idle_s": idle, "every_s": every}
    values = {name: duration(value) for name, value in given.items() if value is not None}
    if not values:
        raise BadInput("Add what to set: --poll, --idle or --every.")
    with operator() as store:
        try:
            set_intervals(store, values)
        except Unreachable as error:
            raise Unreachable(f"Nothing was set. {error.says}", error.fix) from error
    parts = [f"{name.removesuffix('_s')} {seconds(v)}" for name, v in values.items()]
    answer(as_json, values, ", ".join(parts))


@app.command(epilog="Example: tracer interval pause")
def pause(as_json: AsJson = False) -> None:
    """Pause all polling: the loop ends before its next tick, and Prefect starts no new run."""
    _pause(
        True,
        as_json,
        "Paused. Rows in flight finish; no row is claimed until `tracer interval resume`.",
    )


@app.command(epilog="Example: tracer interval resume")
def resume(as_json: AsJson = False) -> None:
    """Resume polling: Prefect's schedule is active again, and a run starts now."""
    _pause(False, as_json, "Resumed.")


def _pause(paused: bool, as_json: bool, sentence: str) -> None:
    with operator() as store:
        fault = set_paused(store, paused)
    if fault:
        done = "paused" if paused else "resumed"
        say(f"The loop is {done}, but Prefect's schedule could not be changed: {fault}")
    answer(as_json, {"paused": paused, "schedule": {"error": fault}}, sentence)

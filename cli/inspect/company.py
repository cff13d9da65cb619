"""`tracer inspect --company`: one company's steps and attempts, in all batches or in one."""

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from textwrap import wrap
from typing import Any

from rich.text import Text
from sqlalchemy import Table

from cli.render import document, out, say, text
from reconciler.contract.errors import BadInput
from reconciler.contract.results import TRACERS
from reconciler.contract.settings import load_settings
from reconciler.contract.states import Status
from reconciler.operator import views
from reconciler.operator.batch import BatchView
from reconciler.operator.diagnosis.rules.pending import waits_until
from reconciler.operator.store import OperatorStore
from reconciler.operator.wording import plural, since, span, until
from workers.runtime.loading import load_steps


def show_company(store: OperatorStore, batch: BatchView | None, key: str, as_json: bool) -> None:
    """Show a company's rows and attempts, in one batch or in all, and its domain rows."""
    company, rows = views.timeline(store, batch, key)
    found = views.results(store, company["id"], tables({row["step"] for row in rows}))
    results = views.with_history(store, company["id"], found)
    if as_json:
        document({"company": company, "timeline": rows, "results": results})
        return
    parts = [company["name"], company["domain"], f"key {company['key']}"]
    out.print(text("  ".join(part for part in parts if part)), style="bold")
    for name, of_batch in groupby(rows, key=lambda row: row["batch"]):
        out.print()
        show_batch(name, list(of_batch))
    if not rows:
        say("The company is in no batch.")
    for result in results:
        out.print()
        show_result(result)


def tables(steps: set[str]) -> dict[str, Table]:
    """The domain tables of the given steps whose code is here; says which one is missing."""
    try:
        found = load_steps(on_fault=lambda fault: say(str(fault)))
    except BadInput as error:
        say(f"Results are not shown: {error}")
        return {}
    if missing := sorted(steps - found.keys()):
        packages = ", ".join(load_settings().steps)
        say(f"{missing[0]!r} shows no result: its code is not in {packages}. Set TRACER_STEPS.")
    return {step: found[step].table.__table__ for step in sorted(steps & found.keys())}  # type: ignore[attr-defined]


def show_batch(name: str, rows: list[dict[str, Any]]) -> None:
    """Show a company's steps in one batch, each with a block per attempt."""
    day = Day(rows[0]["created_at"])
    out.print(text(f"{name}  {day.date}"), style="bold")
    for row in rows:
        write("  ".join([row["step"], row["status"], *attempt_count(row)]), 2)
        for attempt in (*row["attempts"], *own_attempt(row)):
            show_attempt(attempt, day)
        if row["status"] == Status.PENDING:
            write(waits(row, day), 4)


def attempt_count(row: dict[str, Any]) -> Iterator[str]:
    """The number of the row's attempt, if it is not the first; forgiven ones do not count."""
    forgiven = row["forgiven"]
    counted = row["attempt"] - forgiven
    before = f", not counting {forgiven} before it" if forgiven else ""
    if counted > 1 or (counted and forgiven):
        yield f"attempt {counted}{before}"


def show_attempt(attempt: dict[str, Any], day: "Day") -> None:
    """Show an attempt: its times, its lease, its call, its error."""
    number = f"{attempt['attempt']}  "
    write(f"{number}{', '.join(moments(attempt, day))}", 4, within=len(number))
    if lease := attempt.get("lease_expires_at"):
        over = is_over(attempt)
        ends = (
            f"ran out at {since(lease, attempt['now'])}"
            if over
            else f"until {until(lease, attempt['now'])}"
        )
        write(f"lease {ends}", 4 + len(number))
    if attempt["call_id"]:
        write(f"call {attempt['call_id']}", 4 + len(number))
    for line in (attempt["error"] or "").splitlines():
        write(line, 4 + len(number))


def write(line: str, indent: int, within: int = 0) -> None:
    """Print a line, wrapped: its later lines are indented by `within` more cells."""
    first, later = " " * indent, " " * (indent + within)
    width = max(out.width, indent + within + 20)
    for part in wrap(text(line).plain, width, initial_indent=first, subsequent_indent=later):
        out.print(Text(part), soft_wrap=True)


class Day:
    """Writes times, with the date only if it differs from that of the time before."""

    def __init__(self, at: datetime) -> None:
        self.date = f"{at.astimezone():%Y-%m-%d}"

    def time(self, at: datetime) -> str:
        """`at`, in local time."""
        date, time = f"{at.astimezone():%Y-%m-%d}", f"{at.astimezone():%H:%M:%S}"
        if date == self.date:
            return time
        self.date = date
        return f"{date} {time}"


def own_attempt(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The row's last attempt, unless it is among its earlier ones already."""
    earlier = {attempt["attempt"] for attempt in row["attempts"]}
    if row["queued_at"] and row["attempt"] not in earlier:
        yield row | {"ended_at": row["finished_at"]}


def is_over(attempt: dict[str, Any]) -> bool:
    """Whether the lease has ended: a worker reported a failure, or no worker renewed it."""
    lease = attempt.get("lease_expires_at")
    return bool(lease and lease <= attempt["now"])


def moments(attempt: dict[str, Any], day: Day) -> Iterator[str]:
    """The times of an attempt: claimed at, begun after, ended after."""
    queued, started, ended = (
        datetime.fromisoformat(at) if isinstance(at := attempt[name], str) else at
        for name in ("queued_at", "started_at", "ended_at")
    )
    if queued:
        yield f"claimed {day.time(queued)}"
    if queued and started:
        yield f"began after {span(started - queued)}"
    if not started:
        yield "not begun"
    if is_over(attempt):
        yield "over: the next tick decides"
    elif started and not ended:
        yield f"runs for {span(attempt['now'] - started)}"
    if ended:
        took = f"after {span(ended - started)} " if started else ""
        yield f"ended {took}at {day.time(ended)}"


def waits(row: dict[str, Any], day: Day) -> str:
    """Why and until when a PENDING row waits, by the row's own columns."""
    error = None if row["attempts"] else row["error"]  # an attempt's error is shown with it
    if row["available_at"] > row["now"]:
        why = error or "an attempt failed"
        return waits_until(row["step"], row["available_at"], row["now"], why)
    return f"waits since {day.time(row['available_at'])}{f': {error}' if error else ''}"


def purchase(bought: dict[str, Any]) -> str:
    """What the answer cost that a result was read from."""
    place = f" at {bought['provider']}" if bought["provider"] else ""
    day = f"{bought['answered_at'].astimezone():%F}"
    return f"bought{place} for {bought['charged'].normalize():f} on {day}, order {bought['order']}"


def show_result(result: dict[str, Any]) -> None:
    """Show a domain row: the newest result of a step that found something, from any batch."""
    values = {k: v for k, v in result["row"].items() if k not in TRACERS}
    written = result["row"].get("written_at")
    at = f", written {datetime.fromisoformat(written).astimezone():%F %T}" if written else ""
    by = f" for {result['batch']}" if result["batch"] else ""
    out.print(text(f"{result['table']}{at}{by}"), style="bold")
    if bought := result["bought"]:
        write(purchase(bought), 2)
    width = max(map(len, values), default=0) + 2
    for name, value in values.items():
        write(f"{name.ljust(width)}{shown(value)}", 2, within=width)
    for line in others(result["history"], datetime.fromisoformat(written) if written else None):
        write(line, 2)


def others(history: list[dict[str, Any]], written: datetime | None) -> Iterator[str]:
    """Lines about the step's other results, written before the one that is shown or after it."""
    later = [one for one in history if written and one["written_at"] > written]
    earlier = len(history) - len(later)
    if later:
        yield f"{plural(len(later), 'later result', 'later results')} found nothing"
    if earlier:
        yield f"{plural(earlier, 'older result is', 'older results are')} kept: see --json"


def shown(value: Any) -> str:
    """A value of a domain row, in one line."""
    nested = isinstance(value, dict | list)
    return json.dumps(value, ensure_ascii=False) if nested else text(value).plain

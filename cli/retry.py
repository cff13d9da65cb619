"""`tracer retry`: give failed rows all their attempts again, or let waiting rows go."""

from typing import Annotated

import typer

from cli.completion import step_names
from cli.confirm import Yes, confirm, moving, total
from cli.render import AsJson, BatchName, answer
from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput
from reconciler.contract.states import BatchStatus
from reconciler.operator import steering
from reconciler.operator.batch import known_key
from reconciler.operator.connect import operator
from reconciler.operator.money.calls import buying, calls_of, document
from reconciler.operator.wording import operand, plural


def retry(
    batch: BatchName,
    step: Annotated[
        str | None, typer.Option(help="Only rows of this step.", autocompletion=step_names)
    ] = None,
    error: Annotated[
        str | None, typer.Option(help="Only rows whose error contains this text.")
    ] = None,
    company: Annotated[
        str | None, typer.Option(help="Only rows of the company with this key.")
    ] = None,
    waiting: Annotated[
        bool,
        typer.Option("--waiting", help="Rows that wait for a later time, instead of failed ones."),
    ] = False,
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown", help="Rows whose call may have been charged: they are bought again."
        ),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give failed rows all their attempts again, or let waiting ones go, from the next tick on."""
    if unknown and waiting:
        raise BadInput("--unknown and --waiting do not go together: leave one out.")
    with operator() as store:
        found = store.batch(batch)
        if found.status == BatchStatus.CANCELLED:
            raise steering.ended(found.name, found.status)
        if step is not None:
            found.require_step(step)
        selection = steering.Selection(step, error, company and known_key(store, company))
        state = "waiting" if waiting else "failed"
        count = steering.waiting if waiting else steering.failed
        failed = (steering.failed_unknown if unknown else count)(store, found, selection)
        facts = {"paused": found.paused, **(document(calls_of(failed)) if unknown else {})}
        if not failed:
            nothing = f"{batch}: no {state} row matches. Nothing was done."
            answer(as_json, {"batch": batch, "rows": 0, **facts}, nothing)
            return
        what = plural(total(failed), f"{state} row", f"{state} rows")
        cost = bought_again(failed) if unknown else ""
        confirm(f"Retries {batch}: {what}{cost}", found, failed, yes, as_json)
        with moving(failed) as show_moved:
            if waiting:
                retried = steering.wake(store, found, selection, show_moved)
            else:
                retried = steering.retry(store, found, selection, show_moved, unknown=unknown)
    goes = "no longer waiting" if waiting else "pending again"
    hint = f" The batch is paused: `tracer resume {operand(batch)}`." if found.paused else ""
    answer(
        as_json,
        {"batch": batch, "rows": retried, **facts},
        f"{batch}: {plural(retried, 'row is', 'rows are')} {goes}.{hint}",
    )


def bought_again(failed: list[Row]) -> str:
    """What the calls cost, and how many of them may be paid twice; in words."""
    lost = sum(row["lost"] for row in failed)
    twice = f"; {plural(lost, 'call', 'calls')} may be paid twice" if lost else ""
    return f", and {buying('again', calls_of(failed))}{twice}"

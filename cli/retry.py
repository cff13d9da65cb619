"""`tracer retry`: give failed rows all their attempts again, or let waiting rows go."""

from typing import Annotated

import typer

from cli.completion import step_names
from cli.confirm import Yes, confirm, moving, total
from cli.render import AsJson, BatchName, answer
from reconciler.contract.errors import BadInput, did_you_mean
from reconciler.contract.states import BatchStatus
from reconciler.operator import steering
from reconciler.operator.batch import known_key
from reconciler.operator.connect import operator
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
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give failed rows all their attempts again, or let waiting ones go, from the next tick on."""
    with operator() as store:
        found = store.batch(batch)
        if found.status == BatchStatus.CANCELLED:
            raise steering.ended(found.name, found.status)
        if step is not None and step not in found.blueprint:
            known = f" It has: {', '.join(found.blueprint)}."
            near = did_you_mean(step, found.blueprint) or known
            raise BadInput(f"{batch} has no step {step!r}.{near}")
        selection = steering.Selection(step, error, company and known_key(store, company))
        state = "waiting" if waiting else "failed"
        failed = (steering.waiting if waiting else steering.failed)(store, found, selection)
        if not failed:
            nothing = f"{batch}: no {state} row matches. Nothing was done."
            answer(as_json, {"batch": batch, "rows": 0, "paused": found.paused}, nothing)
            return
        what = plural(total(failed), f"{state} row", f"{state} rows")
        confirm(f"Retries {batch}: {what}", found, failed, yes, as_json)
        with moving(failed) as show_moved:
            verb = steering.wake if waiting else steering.retry
            retried = verb(store, found, selection, show_moved)
    goes = "no longer waiting" if waiting else "pending again"
    hint = f" The batch is paused: `tracer resume {operand(batch)}`." if found.paused else ""
    answer(
        as_json,
        {"batch": batch, "rows": retried, "paused": found.paused},
        f"{batch}: {plural(retried, 'row is', 'rows are')} {goes}.{hint}",
    )

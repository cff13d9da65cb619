"""`tracer retry`: give failed rows all their attempts again."""

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
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give failed rows all their attempts again, from the next tick on."""
    with operator() as store:
        found = store.batch(batch)
        if found.status == BatchStatus.CANCELLED:
            raise steering.ended(found.name, found.status)
        if step is not None and step not in found.blueprint:
            known = f" It has: {', '.join(found.blueprint)}."
            near = did_you_mean(step, found.blueprint) or known
            raise BadInput(f"{batch} has no step {step!r}.{near}")
        selection = steering.Selection(step, error, company and known_key(store, company))
        failed = steering.failed(store, found, selection)
        if not failed:
            nothing = f"{batch}: no failed row matches. Nothing was done."
            answer(as_json, {"batch": batch, "rows": 0, "paused": found.paused}, nothing)
            return
        what = plural(total(failed), "failed row", "failed rows")
        confirm(f"Retries {batch}: {what}", found, failed, yes, as_json)
        with moving(failed) as show_moved:
            retried = steering.retry(store, found, selection, show_moved)
    hint = f" The batch is paused: `tracer resume {operand(batch)}`." if found.paused else ""
    answer(
        as_json,
        {"batch": batch, "rows": retried, "paused": found.paused},
        f"{batch}: {plural(retried, 'row is', 'rows are')} pending again.{hint}",
    )

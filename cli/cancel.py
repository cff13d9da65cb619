"""`tracer cancel`: end a batch for good."""

from cli.confirm import Yes, confirm, in_flight, moving, pending, total
from cli.render import AsJson, BatchName, answer
from reconciler.contract.states import IN_FLIGHT, BatchStatus
from reconciler.operator import steering
from reconciler.operator.connect import operator
from reconciler.operator.wording import plural


def cancel(batch: BatchName, yes: Yes = False, as_json: AsJson = False) -> None:
    """Cancel a batch for good: no new calls, running calls are cancelled, results stay."""
    with operator() as store:
        found = store.batch(batch)
        rows = steering.unfinished(store, found)
        if found.status == BatchStatus.FINISHED:
            raise steering.ended(found.name, found.status)
        if found.status == BatchStatus.CANCELLED and not rows:
            nothing = f"{batch} is cancelled already. Nothing was done."
            answer(as_json, {"batch": batch, "rows": 0, "in_flight": 0}, nothing)
            return
        what = f"{pending(rows)}, {in_flight(rows)} in flight"
        confirm(f"Cancels {batch}: {what}", found, rows, yes, as_json)
        with moving(rows) as show_moved:
            cancelled = steering.cancel(store, found, show_moved)
    running = total(rows, *IN_FLIGHT) if cancelled else 0
    calls = " The next tick cancels their calls." if running else ""
    answer(
        as_json,
        {"batch": batch, "rows": cancelled, "in_flight": running},
        f"{batch}: {plural(cancelled, 'row', 'rows')} cancelled.{calls}",
    )

"""What `tracer rerun` and `tracer reparse` share."""

from cli.confirm import confirm, moving, total
from cli.render import answer
from cli.spending import buying_steps
from reconciler.contract.states import BatchStatus
from reconciler.operator import steering
from reconciler.operator.connect import operator
from reconciler.operator.money.calls import Calls, buying, calls_of, document
from reconciler.operator.seeding.blueprint import check_buy
from reconciler.operator.wording import operand, plural


def work_again(batch: str, again: steering.Rerun, yes: bool, as_json: bool) -> None:
    """Ask, and put the rows back to PENDING.

    Raises:
        BadInput: the batch was cancelled, or has no such step.
    """
    with operator() as store:
        found = store.batch(batch)
        if found.status == BatchStatus.CANCELLED:
            raise steering.ended(found.name, found.status)
        found.require_step(again.step)
        if again.buy:
            check_buy([again.step], found.steps, buying_steps(store))
        rows = steering.to_rerun(store, found, again)
        kept, calls = sum(row["kept"] for row in rows), calls_of(rows)
        if again.kept:
            rows, calls = [{**row, "rows": row["kept"]} for row in rows if row["kept"]], []
        facts = {"kept": kept, "paused": found.paused, **document(calls)}
        if not rows:
            ended = "row with a kept answer" if again.kept else "ended row that matches"
            nothing = f"{batch}: {again.step} has no {ended}. Nothing was done."
            answer(as_json, {"batch": batch, "rows": 0, **facts}, nothing)
            return
        confirm(_what(batch, again, total(rows), calls), found, rows, yes, as_json)
        with moving(rows) as show_moved:
            moved = steering.rerun(store, found, again, show_moved)
    hint = f" The batch is paused: `tracer resume {operand(batch)}`." if found.paused else ""
    answer(
        as_json,
        {"batch": batch, "rows": moved, **facts},
        f"{batch}: {plural(moved, 'row is', 'rows are')} pending again.{hint}",
    )


def _what(batch: str, again: steering.Rerun, rows: int, calls: list[Calls]) -> str:
    """What will be done, and what it may cost."""
    what = f"{batch}: {plural(rows, 'row', 'rows')} of {again.step}"
    if again.kept:
        return f"Reads the kept answers of {what} again, without a call"
    return f"Works {what} again, and {buying('anew' if again.buy else 'what is not kept', calls)}"

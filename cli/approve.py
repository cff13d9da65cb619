"""`tracer approve`: let the companies go that wait beyond a batch's sample."""

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated

import typer

from cli.confirm import Yes, ask
from cli.render import AsJson, BatchName, answer, out, table
from reconciler.contract.states import BatchStatus
from reconciler.operator.approval import Prediction, predict
from reconciler.operator.approval import approve as let_go
from reconciler.operator.connect import operator
from reconciler.operator.money.amounts import shown
from reconciler.operator.steering import ended
from reconciler.operator.wording import operand, plural, rate_text


def approve(
    batch: BatchName,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what the rest comes to, if it is alike.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let the companies go that wait beyond a batch's sample.

    What they come to is predicted from what the sample has come to so far.
    """
    with operator() as store:
        found = store.batch(batch)
        if found.status == BatchStatus.CANCELLED:
            raise ended(found.name, found.status)
        expected = predict(store, found)
        cost = sum((one.cost or Decimal(0) for one in expected), Decimal(0))
        facts = {"cost": cost, "steps": [asdict(one) for one in expected]}
        if not found.unapproved:
            nothing = f"{batch}: no company waits for an approval. Nothing was done."
            answer(as_json, {"batch": batch, "rows": 0, **facts}, nothing)
            return
        if not as_json:
            out.print(table(["step", "#asked", "#hit rate", "#cost"], map(cells, expected)))
        rest = plural(found.unapproved, "company", "companies")
        says = f"{batch}: {rest}; {worth(expected, cost)}"
        if plan:
            planned = {"batch": batch, "rows": 0, "unapproved": found.unapproved, **facts}
            answer(as_json, planned, f"{says}. Nothing was done.")
            return
        ask(f"Approves {says}", yes, as_json)
        rows = let_go(store, found)
    hint = f" The batch is paused: `tracer resume {operand(batch)}`." if found.paused else ""
    pending = f"{batch}: {plural(rows, 'company goes', 'companies go')} with the next tick.{hint}"
    answer(as_json, {"batch": batch, "rows": rows, **facts}, pending)


def worth(expected: Sequence[Prediction], cost: Decimal) -> str:
    """What the rest costs, as far as the sample says it."""
    known = [one.step for one in expected if one.asked is not None]
    if not known:
        return "the sample does not say yet what they cost"
    so_far = "" if len(known) == len(expected) else f" up to {known[-1]}"
    return f"if they are like the sample, they cost about {shown(cost)}{so_far}"


def cells(one: Prediction) -> list[str]:
    """A step's line."""
    asked = "not known yet" if one.asked is None else f"{one.asked:,}"
    return [one.step, asked, rate_text(one.hit_rate), shown(one.cost)]

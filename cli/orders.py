"""`tracer orders`: what was bought, and what became of calls whose answer never came."""

from decimal import Decimal
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.completion import batch_names, step_names
from cli.confirm import Yes, ask, total
from cli.render import AsJson, answer, document, out, say, table
from reconciler.contract.errors import BadInput
from reconciler.operator.batch import known_key, no_company
from reconciler.operator.connect import operator
from reconciler.operator.money.amounts import read_amount, shown
from reconciler.operator.money.orders import (
    Wanted,
    count_orders,
    lost,
    read_id,
    read_orders,
    require_unknown,
    settle,
)
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.sql.money import COMPANY_ID
from reconciler.operator.store import OperatorStore
from reconciler.operator.wording import operand, plural


class OrdersGroup(TyperGroup):
    """`orders [BATCH]` beside `orders settle`: a first word that is no command names a batch."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a command's word no chance to be taken for a batch."""
        if args and args[0] in self.commands:
            return list(super().parse_args(ctx, ["", *args]))
        ctx.allow_interspersed_args = True  # options may follow the batch
        return list(super().parse_args(ctx, args))


app = typer.Typer(
    cls=OrdersGroup,
    help="Show what was bought, the newest first: each order with its state, price and charge.",
    epilog="Example: tracer orders companies",
    invoke_without_command=True,
)
MOST = 100
COUNTED = 10_000  # so many of the others are counted at most
SHOWN = ("order", "batch", "company", "step", "state", "price", "charged", "tries", "made_at")
SETTLE_EXAMPLE = "Example: tracer orders settle --batch companies --unknown --not-charged --yes"
AMOUNTS = ("price", "charged", "tries")
Step = Annotated[
    str | None, typer.Option(help="Only orders of this step.", autocompletion=step_names)
]
MaybeBatch = Annotated[
    str | None,
    typer.Argument(metavar="[BATCH]", help="Orders of this batch.", autocompletion=batch_names),
]
Batch = Annotated[
    str | None, typer.Option(help="Orders of this batch.", autocompletion=batch_names)
]


@app.callback()
def orders(
    context: typer.Context,
    batch: MaybeBatch = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Only those whose call may have been charged.")
    ] = False,
    company: Annotated[
        str | None, typer.Option(help="Only orders of the company with this key.")
    ] = None,
    step: Step = None,
    limit: Annotated[int, typer.Option(min=1, help="Show the newest so many.")] = MOST,
    as_json: AsJson = False,
) -> None:
    """Show what was bought, the newest first: each order with its state, price and charge."""
    if context.invoked_subcommand:
        return
    with read_only_store(ViewStore) as store:
        which = wanted(store, batch, step, company, unknown)
        rows = read_orders(store, which, limit)
        whole = len(rows) < limit
        of_all = len(rows) if whole else count_orders(store, which, limit + COUNTED)
    if as_json:
        document(rows)
        return
    columns = [f"#{name}" if name in AMOUNTS else name for name in SHOWN]
    out.print(table(columns, [[row[name] for name in SHOWN] for row in rows]))
    if more := of_all - len(rows):
        say(f"{older(more)} not shown: see --limit.")
    if not rows:
        say("No order matches.")
    elif lost_ones := sum(row["state"] == "unknown" for row in rows):
        of_these = " of those shown" if more else ""
        say(f"{plural(lost_ones, 'order', 'orders')}{of_these} may have been charged: {HOW}")


def older(more: int) -> str:
    """How many orders are not shown."""
    if more >= COUNTED:
        return f"{COUNTED:,} older orders or more are"
    return plural(more, "older order is", "older orders are")


HOW = (
    "ask the provider, then say `tracer orders settle ORDER --charged` or `--not-charged`, "
    "or buy again with `tracer retry BATCH --unknown`."
)


def wanted(
    store: OperatorStore, batch: str | None, step: str | None, company: str | None, unknown: bool
) -> Wanted:
    """The orders that the options name.

    Raises:
        BadInput: there is no such batch, company or step, or the batch has no such step.
    """
    found = None if batch is None else store.batch(batch)
    if step is not None:
        (found or store).require_step(step)
    company_id = None
    if company is not None:
        rows = store.rows(COMPANY_ID, key=known_key(store, company))
        if not rows:
            raise no_company(store, found, company)
        company_id = rows[0]["id"]
    return Wanted(found.id if found else None, step, company_id, unknown=unknown)


@app.command("settle", epilog=SETTLE_EXAMPLE)
def settle_(
    order: Annotated[str | None, typer.Argument(metavar="[ORDER]", help="The order's id.")] = None,
    batch: Batch = None,
    step: Step = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="All unknown orders of the batch.")
    ] = False,
    charged: Annotated[
        bool, typer.Option("--charged", help="The provider has charged them.")
    ] = False,
    not_charged: Annotated[
        bool, typer.Option("--not-charged", help="The provider has not charged them.")
    ] = False,
    amount: Annotated[
        str | None,
        typer.Option(metavar="AMOUNT", help="With --charged: what each cost, if not its price."),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Say whether calls without an answer were charged: one order, or a batch's unknown ones."""
    cost = None if amount is None else read_amount(amount)
    check(order, batch, step, unknown, charged, not_charged, amount)
    with operator() as store:
        if order is not None:
            require_unknown(store, read_id(order))
            which = Wanted(order_id=read_id(order), unknown=True)
        else:
            which = wanted(store, batch, step, None, True)
        counts = lost(store, which)
        if not counts:
            nothing = "No unknown order matches. Nothing was done."
            answer(as_json, {"orders": 0, "charged": charged}, nothing)
            return
        ask(question(counts, charged, cost), yes or order is not None, as_json)
        moved = settle(store, which, charged=charged, amount=cost)
    answer(as_json, {"orders": moved, "charged": charged}, *told(moved, charged, batch))


def check(
    order: str | None,
    batch: str | None,
    step: str | None,
    unknown: bool,
    charged: bool,
    not_charged: bool,
    amount: str | None,
) -> None:
    """Refuse options that do not go together.

    Raises:
        BadInput: it is not clear which orders are meant, or what is said of them.
    """
    if charged == not_charged or (amount is not None and not charged):
        raise BadInput("Say --charged, with --amount if it was not the price, or --not-charged.")
    if order is not None and (batch, step, unknown) != (None, None, False):
        raise BadInput("Name one order, or a batch with --batch NAME --unknown, but not both.")
    if order is None and (batch is None or not unknown):
        raise BadInput("Name an order, or a batch with --batch NAME --unknown.")


def question(counts: list[dict[str, Any]], charged: bool, cost: Decimal | None) -> str:
    """What will be said of these orders, in words."""
    orders = total(counts)
    price = sum((row["price"] for row in counts), Decimal(0)) if cost is None else orders * cost
    what = plural(orders, "unknown order", "unknown orders")
    if not charged:
        return f"{what} cost nothing, and their reservation is given back"
    return f"{what} cost {shown(price)} in all"


def told(moved: int, charged: bool, batch: str | None) -> list[str]:
    """What was done, and what comes next."""
    retry = f"tracer retry {operand(batch) if batch else 'BATCH'}"
    said = "charged" if charged else "not charged"
    again = ", and pays again" if charged else ""
    return [
        f"{plural(moved, 'order is', 'orders are')} settled as {said}: the next tick books it.",
        f"`{retry}` makes new orders for their failed rows{again}.",
    ]

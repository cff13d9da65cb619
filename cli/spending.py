"""The options by which a batch's way and its spending are said, for `seed` and `plan`."""

from typing import Annotated

import typer

from cli.completion import client_names, step_names
from reconciler.operator.money.amounts import read_amount
from reconciler.operator.money.caps import CAP
from reconciler.operator.money.clients import read_client
from reconciler.operator.seeding.batch import Spending
from reconciler.operator.seeding.blueprint import check_blueprint, check_buy
from reconciler.operator.store import OperatorStore

BlueprintOption = Annotated[
    str,
    typer.Option(
        help="The steps in their order: a,b,c. Of a|b, b is asked where a found nothing. Or @FILE.",
        autocompletion=step_names,
    ),
]

CapOption = Annotated[
    str | None, typer.Option(metavar="AMOUNT", help="The most that the batch may cost.")
]
ClientOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Whose batch it is: it counts against this client's cap too.",
        autocompletion=client_names,
    ),
]
BuyOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STEP",
        help="A step that uses no earlier answer, but buys a new one. May be repeated.",
        autocompletion=step_names,
    ),
]


def read_spending(cap: str | None, buy: list[str] | None, client: str | None) -> Spending:
    """What the options say.

    Raises:
        BadInput: the cap is no amount, or the client's name is none.
    """
    most = None if cap is None else read_amount(cap, CAP)
    return Spending(most, listed(*buy or ()), None if client is None else read_client(client))


def listed(*given: str) -> list[str]:
    """The names in lists with commas."""
    return [name.strip() for text in given for name in text.split(",")]


def check_steps(store: OperatorStore, steps: list[str], spending: Spending) -> None:
    """Check the steps of the blueprint, and those that are to buy.

    Raises:
        BadInput: one is not registered, is there twice, or cannot buy.
    """
    check_blueprint(steps, [row["step_name"] for row in store.steps()])
    check_buy(spending.buy, steps, buying_steps(store))


def buying_steps(store: OperatorStore) -> list[str]:
    """The registered steps that have orders, so that their answers can be bought anew."""
    return [row["step_name"] for row in store.steps() if row["has_orders"]]

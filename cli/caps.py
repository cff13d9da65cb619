"""`tracer caps`: what may be spent, by whom, and what of it is left."""

import re
from datetime import date
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cli.completion import batch_names, client_names
from cli.confirm import YesUnused
from cli.render import AsJson, answer, listing, say
from reconciler.operator.connect import operator
from reconciler.operator.money.amounts import shown
from reconciler.operator.money.caps import period_in, read_caps, read_limit, read_target, set_cap
from reconciler.operator.money.clients import not_seen
from reconciler.operator.read_only import ViewStore, read_only_store

app = typer.Typer(
    help="Show and set what may be spent: in all, for a batch or a client, at a provider.",
    epilog="Example: tracer caps",
    invoke_without_command=True,
)
SCOPES = ("all", "batch:", "client:", "provider:")
NAMES = {"batch": batch_names, "client": client_names}
LIKE_AN_OPTION = re.compile(r"-[\d.]")
AMOUNTS = ("limit", "spent", "reserved", "beyond", "left")


def scope_names(incomplete: str) -> list[str]:
    """Completes a scope: `all`, `batch:NAME`, `client:NAME`."""
    kind, colon, name = incomplete.partition(":")
    if colon and (names := NAMES.get(kind)):
        return [f"{kind}:{found}" for found in names(name)]
    return [word for word in SCOPES if word.startswith(incomplete)]


@app.callback()
def caps(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what each scope may cost, and what of it is spent, reserved and left."""
    if context.invoked_subcommand:
        return
    with read_only_store(ViewStore) as store:
        rows = read_caps(store)
    amounts = [name for name in AMOUNTS if name != "beyond" or any(row[name] for row in rows)]
    listing(
        as_json,
        rows,
        ["scope", "period", *(f"#{name}" for name in amounts)],
        lambda row: [row["scope"], period(row), *(row[name] for name in amounts)],
        "Nothing is limited, and nothing was spent: `tracer caps set all 5000` sets a limit.",
    )


def period(row: dict[str, Any]) -> str:
    """The day or the month that runs, as people write it; nothing where there is none."""
    since: date | None = row["since"]
    return "" if since is None else f"{since:%Y-%m}" if row["per"] == "month" else f"{since}"


class SetCommand(TyperCommand):
    """`caps set all -5`: an amount below 0 is a limit that is refused, and not an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let such an amount through."""
        ctx.ignore_unknown_options = any(map(LIKE_AN_OPTION.match, args))
        return list(super().parse_args(ctx, args))


@app.command("set", cls=SetCommand, epilog="Example: tracer caps set all 5000")
def set_(
    scope: Annotated[
        str,
        typer.Argument(
            metavar="SCOPE",
            help="all, batch:NAME, client:NAME or provider:NAME.",
            autocompletion=scope_names,
        ),
    ],
    limit: Annotated[
        str,
        typer.Argument(
            metavar="LIMIT",
            help="An amount, of a provider with its period: 10000/month, 500/day. Or none.",
        ),
    ],
    yes: YesUnused = False,  # noqa: ARG001 - see `YesUnused`
    as_json: AsJson = False,
) -> None:
    """Limit what may be spent, from the next claim on; none lifts the limit."""
    name, per = period_in(scope)
    most, per = read_limit(limit, per)
    with operator() as store:
        target = read_target(store, name, per)
        cap = set_cap(store, target, most)
        unseen = not_seen(store, target.client) if target.client else None
    answer(as_json, cap, sentence(cap))
    if unseen:
        say(unseen)


def sentence(cap: dict[str, Any]) -> str:
    """What the cap is now, in words."""
    used = f"{shown(cap['spent'])} spent, {shown(cap['reserved'])} reserved"
    if cap["limit"] is None:
        had = f"It was {shown(cap['before'])}" if cap["before"] is not None else "It had none"
        return f"{cap['scope']} has no limit. {had}; {used}."
    now = f"{cap['scope']} may cost {shown(cap['limit'])}: {used}, {shown(cap['left'])} left."
    return now if cap["before"] is None else f"{now} It was {shown(cap['before'])}."

"""How a plan of what a batch would buy is shown to people."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from cli.render import err, say, table
from reconciler.operator.money.amounts import shown
from reconciler.operator.wording import plural, span
from reconciler.provider_state import Standing, rate_text


def print_plan(plan: dict[str, Any]) -> None:
    """Print what each step may buy, what that may cost, and which cap has no room for it."""
    names = ("step", "provider", "#companies", "#fresh", "#to buy", "#price", "#at most")
    cells = [
        [
            *(step["step"], step["provider"] or ""),
            *(f"{step[name]:,}" for name in ("companies", "fresh", "orders")),
            *(shown(step["price"]), shown(step["highest_cost"])),
        ]
        for step in plan["steps"]
    ]
    err.print(table(names, cells))
    say(f"It may cost {shown(plan['highest_cost'])} at most.")
    for provider in plan["providers"]:
        for sentence in time_at(provider):
            say(sentence)
    for cap in plan["caps"]:
        room = f"The cap of {cap['scope']} has {shown(cap['left'])} left"
        if cap["enough"]:
            say(f"{room}: enough.")
        else:
            say(f"{room}, and this may cost {shown(cap['highest_cost'])} of it: rows will wait.")


def time_at(provider: dict[str, Any]) -> Iterator[str]:
    """How long the calls to a provider take, in words."""
    if not provider["calls"]:
        return
    name, calls = provider["provider"], plural(provider["calls"], "call", "calls")
    if provider["seconds"] is None:
        yield f"{calls} to {name} at most: how often it may be called is not known."
    else:
        learned = provider["learned_rate"]
        rates = [f"its limit of {provider['limit']}"] if provider["limit"] else []
        rates += [f"{rate_text(learned)}, as was learned"] if learned is not None else []
        took = span(timedelta(seconds=provider["seconds"]))
        yield f"{calls} to {name} at most, which take {took} at {', now '.join(rates)}."
    if provider["state"] == Standing.PAUSED:
        yield f"{name} is paused: `tracer providers` says why."

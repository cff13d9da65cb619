"""`tracer providers`: the outside APIs, their limits, and what their steps cost and have cost."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

import typer

from cli.completion import provider_names
from cli.render import AsJson, answer, document, out, say, table
from reconciler.operator.connect import operator
from reconciler.operator.diagnosis.rules.provider import not_open
from reconciler.operator.money.amounts import shown
from reconciler.operator.money.provider_settings import (
    pause_provider,
    read_settings,
    resume_provider,
    set_provider,
)
from reconciler.operator.money.providers import COUNTED, limit_text, read_providers
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.wording import clock, span
from reconciler.provider_state import ProviderState, rate_text, standing_text

app = typer.Typer(
    help="Show and set the limits of the outside APIs; pause and resume them; see what they cost.",
    epilog="Example: tracer providers",
    invoke_without_command=True,
)
ProviderName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The provider's name.", autocompletion=provider_names),
]


@app.callback()
def providers(context: typer.Context, as_json: AsJson = False) -> None:
    """Show each provider: its limit, its state, the rows that wait, and what was spent (UTC)."""
    if context.invoked_subcommand:
        return
    with read_only_store(ViewStore) as store:
        found = read_providers(store)
    if as_json:
        document([row for _, row in found])
        return
    columns = shown_columns([row for _, row in found])
    out.print(table(columns, [[cells(state, row)[c] for c in columns] for state, row in found]))
    for state, _ in found:
        if reason := not_open(state):
            say(str(reason))
    if not found:
        say("No registered step names a provider.")


def shown_columns(rows: list[dict[str, Any]]) -> list[str]:
    """The headings; a setting that no provider has gets no column."""
    set_here = {
        "#max_\nconcurrent": any(row["max_concurrent"] is not None for row in rows),
        "#burst": any(row["burst"] > 1 for row in rows),
        "answers kept": any(row["keep_for_s"] is not None for row in rows),
    }
    every = ("provider", "steps", "limit", "#max_\nconcurrent", "#burst", "state", "#rows wait")
    spent = ("#today", "#this month", "answers kept")
    return [name for name in (*every, *spent) if set_here.get(name, True)]


def cells(state: ProviderState, row: dict[str, Any]) -> dict[str, Any]:
    """A provider's cells by their headings."""
    steps = ", ".join(f"{step['step']} {shown(step['price'])}" for step in row["steps"])
    waiting = row["waiting"]
    return {
        "provider": row["provider"],
        "steps": steps,
        "limit": limit_text(state),
        "#max_\nconcurrent": row["max_concurrent"],
        "#burst": row["burst"],
        "state": standing_text(state, lambda moment: clock(moment, state.now)),
        "#rows wait": f"> {COUNTED - 1:,}" if waiting >= COUNTED else f"{waiting:,}",
        "#today": row["spent_today"],
        "#this month": row["spent_this_month"],
        "answers kept": kept(row["keep_for_s"]),
    }


def kept(keep_for_s: float | None) -> str:
    """How long answers are kept, in words."""
    return "for ever" if keep_for_s is None else f"for {span(timedelta(seconds=keep_for_s))}"


@app.command(
    "set", epilog="Example: tracer providers set apollo limit=5/s,1000/d max_concurrent=50"
)
def set_(
    provider: ProviderName,
    values: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="limit=5/s,1000/d, max_concurrent=50, burst=20, keep_for=90d: some of them. "
            "none takes one away.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Set how often a provider may be called, from the next claim on, and how long answers stay."""
    settings = read_settings(values)
    with operator() as store:
        done = set_provider(store, provider, settings)
    answer(as_json, done, *what_was_set(done))


def what_was_set(done: dict[str, Any]) -> Iterator[str]:
    """What `set` has changed, in words."""
    name = done["provider"]
    each = [
        f"{key.removesuffix('_s')} is {setting(key, one['after'])}, "
        f"it was {setting(key, one['before'])}"
        for key, one in done["changed"].items()
    ]
    yield f"{name}: {'; '.join(each)}." if each else f"{name} has these settings already."
    if "limit" in done["changed"] and (learned := done["learned_rate"]) is not None:
        yield (
            f"It has refused more than {rate_text(learned)}: the rate begins with that, and grows."
        )


def setting(key: str, value: Any) -> str:
    """The value of a setting, in words."""
    if key == "keep_for_s":
        return kept(value)
    return "none" if value is None else str(value)


@app.command(epilog="Example: tracer providers pause apollo --why 'its credits run out'")
def pause(
    provider: ProviderName,
    why: Annotated[str | None, typer.Option(metavar="TEXT", help="The reason, for others.")] = None,
    as_json: AsJson = False,
) -> None:
    """Pause a provider, for all its steps, until it is resumed; calls that are claimed go out."""
    with operator() as store:
        done = pause_provider(store, provider, why)
    now = f"{provider} is paused until `tracer providers resume {provider}`"
    said = f": {done['paused_why']}" if done["paused_why"] else ""
    if done["changed"]:
        answer(as_json, done, f"{now}{said}. {before(done)}")
    else:
        answer(as_json, done, f"{provider} was paused already{said}. Nothing was done.")


@app.command(epilog="Example: tracer providers resume apollo")
def resume(provider: ProviderName, as_json: AsJson = False) -> None:
    """Let a provider be called again with the next claim, whatever has paused it."""
    with operator() as store:
        done = resume_provider(store, provider)
    if done["changed"]:
        answer(as_json, done, f"{provider} is called again with the next claim. {before(done)}")
    else:
        answer(as_json, done, f"{provider} is not paused. Nothing was done.")


def before(done: dict[str, Any]) -> str:
    """What the state was before a pause or a resume."""
    was = done["before"]
    why = f": {was['paused_why'].rstrip('.')}" if was["paused_why"] else ""
    return f"It was {was['state']}{why}."

"""`tracer steps`: the registry, and the domain tables of the steps in `workers/steps/`."""

import difflib
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from cli.complete import step_names
from cli.connect import database_url, operator
from cli.render import AsJson, document, out, say, table
from cli.roles import mend_roles
from cli.tables import sync_tables
from reconciler.contract.errors import BadInput
from reconciler.contract.loop_models import StepSettings
from reconciler.contract.operate import OperatorStore
from reconciler.contract.settings import load_settings
from workers.step import Step, load_steps

SHOWN = {
    "step": "step_name",
    "app": "app_name",
    "#attempts": "max_attempts",
    "#lease": "lease_s",
    "#start": "start_deadline_s",
    "#backoff": "backoff_s",
    "#in flight": "max_in_flight",
    "#chunk": "chunk_size",
    "enabled": "enabled",
}

app = typer.Typer(
    help="The steps that a blueprint may name.",
    epilog="Example: tracer steps",
    invoke_without_command=True,
)
KEYS = {
    name: TypeAdapter(field.annotation or str)
    for name, field in StepSettings.model_fields.items()
    if name != "step_name"
}


@app.callback()
def steps(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the registry."""
    if context.invoked_subcommand:
        return
    with operator() as store:
        rows = store.steps()
    if as_json:
        document(rows)
        return
    out.print(table(list(SHOWN), [[row[name] for name in SHOWN.values()] for row in rows]))
    if not rows:
        say("No step is registered: run `tracer steps sync`.")


@app.command("set", epilog="Example: tracer steps set step_a max_in_flight=50")
def set_(
    step: Annotated[str, typer.Argument(metavar="STEP", autocompletion=step_names)],
    values: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...")],
) -> None:
    """Tune a step, from the next tick on: `tracer steps set step_a max_in_flight=50`."""
    changes = dict(map(parse_setting, values))
    with operator() as store:
        store.set_step(step, changes)
    say(f"{step}: {', '.join(f'{k} = {v}' for k, v in changes.items())}")


@app.command(epilog="Example: tracer steps sync")
def sync() -> None:
    """Register what is in `workers/steps/`, and create the tables that it needs."""
    for line in sync_steps(database_url(load_settings())):
        say(line)


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` as the registry's column has it.

    Raises:
        BadInput: there is no such key, or the value is of another kind.
    """
    key, separator, value = text.partition("=")
    if not separator or key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)}."
        raise BadInput(f"{text!r} is no KEY=VALUE of a step: {hint}")
    try:
        return key, KEYS[key].validate_python(value)
    except ValidationError as error:
        raise BadInput(f"{key}: {error.errors()[0]['msg']} (it is {value!r}).") from error


def sync_steps(url: str, package: str = "workers.steps") -> list[str]:
    """Make registry and domain tables follow the code; returns what was done, a line each.

    Where the database has roles, they are granted what is new.

    Raises:
        BadInput: there is no schema yet, or a table differs from its model in a way that only a
            person can settle.
    """
    found = load_steps(package)
    with OperatorStore.connect(url) as store:
        lines = sync_tables(url)
        before = {row["step_name"]: place(row) for row in store.steps()}
        for step in found.values():
            register(store, step)
        after = {row["step_name"]: place(row) for row in store.steps()}
    mend_roles(url)
    changed = (moved(name, before.get(name), after[name]) for name in found)
    return [*lines, *filter(None, changed)] or ["Steps: up to date"]


def place(row: dict[str, Any]) -> str:
    """Where a registered step is worked."""
    return f"function {row['function_name']} of app {row['app_name']}"


def moved(step: str, before: str | None, after: str) -> str | None:
    """A line on a step that is new, or elsewhere than before."""
    if before is None:
        return f"Step {step} registered"
    return f"Step {step}: {before} -> {after}" if before != after else None


def register(store: OperatorStore, step: Step) -> None:
    """Write a step's place, and where it is new its settings."""
    unknown = set(step.settings) - set(KEYS)
    if unknown:
        raise BadInput(f"Step {step.name} names unknown settings: {', '.join(sorted(unknown))}.")
    store.sync_step(step.name, load_settings().modal_app, step.settings)

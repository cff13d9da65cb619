"""`tracer steps`: show and change the registry, and register the steps of TRACER_STEPS."""

import difflib
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from cli.completion import step_names
from cli.render import AsJson, answer, document, out, say, table, text, widest
from reconciler.contract.errors import BadInput
from reconciler.contract.loop_models import SETTINGS, StepSettings
from reconciler.contract.settings import load_settings
from reconciler.operator.connect import database_url, operator
from reconciler.operator.diagnosis.rules.step import held
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.schema.steps import sync_steps
from workers.runtime.loading import load_steps

# The headings are the names that `tracer steps set` takes.
SHOWN = {
    "step_name": "step",
    "app_name": "app",
    "max_attempts": "#max_\nattempts",
    "lease_s": "#lease_s",
    "start_deadline_s": "#start_\ndeadline_s",
    "backoff_s": "#backoff_s",
    "backoff_max_s": "#backoff_\nmax_s",
    "max_in_flight": "#max_in_\nflight",
    "chunk_size": "#chunk_\nsize",
    "enabled": "enabled",
    "hold_after": "#hold_\nafter",
    "give_up_after_s": "#give_up_\nafter_s",
    "needs": "needs",
}
# If there is no room, these columns are left out in this order.
LEFT_OUT = (
    *(
        "give_up_after_s",
        "hold_after",
        "backoff_max_s",
        "app_name",
        "backoff_s",
        "start_deadline_s",
        "lease_s",
        "chunk_size",
    ),
    *("needs", "enabled"),
)
UP_TO_DATE = "Steps: up to date"
NAME = 24  # other columns are left out to give a step's name this many cells

app = typer.Typer(
    help="Show, change and register the steps that a blueprint may name.",
    epilog="Example: tracer steps",
    invoke_without_command=True,
)
KEYS = {name: TypeAdapter(StepSettings.model_fields[name].annotation or str) for name in SETTINGS}


@app.callback()
def steps(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the registered steps and their settings."""
    if context.invoked_subcommand:
        return
    with read_only_store(ViewStore) as store:
        rows = store.steps()
    if as_json:
        document(rows)
        return
    wanted = [name for name in SHOWN if name != "needs" or any(row["needs"] for row in rows)]
    rows = [row | {"needs": ", ".join(row["needs"])} for row in rows]
    shown = fitting(rows, wanted, out.width)
    cells = [[row[name] for name in shown] for row in rows]
    out.print(table([SHOWN[name] for name in shown], cells))
    if left_out := [name for name in wanted if name not in shown]:
        say(f"No room for {', '.join(left_out)}: see them with --json.")
    for row in rows:
        if row["hold_kind"]:
            say(str(held(row["step_name"], row["hold_kind"], row["hold_reason"])))
    for fault in code_faults():
        say(fault)
    if not rows:
        say("No step is registered: run `tracer steps sync`.")


def fitting(rows: list[dict[str, Any]], wanted: list[str], width: int) -> list[str]:
    """The wanted columns of the registry that fit into `width` cells."""
    taken = {
        name: widest([SHOWN[name].lstrip("#"), *(text(row[name]).plain for row in rows)]) + 2
        for name in wanted
    }
    taken["step_name"] = min(taken["step_name"], NAME + 2)
    for name in LEFT_OUT:
        if sum(taken.values()) <= width:
            break
        taken.pop(name, None)
    return list(taken)


@app.command("set", epilog="Example: tracer steps set step_a max_in_flight=50")
def set_(
    step: Annotated[
        str, typer.Argument(metavar="STEP", help="The step's name.", autocompletion=step_names)
    ],
    values: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE...", help="Settings and their new values.")
    ],
    as_json: AsJson = False,
) -> None:
    """Change a step's settings, from the next tick on."""
    changes = dict(map(parse_setting, values))
    with operator() as store:
        store.set_step(step, changes)
    says = f"{step}: {', '.join(f'{k} = {v}' for k, v in changes.items())}"
    answer(as_json, {"step": step, "set": changes}, says)


@app.command(epilog="Example: tracer steps sync")
def sync(as_json: AsJson = False) -> None:
    """Register the steps of the packages in TRACER_STEPS, and create their domain tables."""
    changes, faults = synced(database_url(load_settings()))
    answer(as_json, {"changes": changes, "faults": faults}, *(changes or [UP_TO_DATE]), *faults)
    if faults:
        raise typer.Exit(BadInput.exit_code)


def code_faults() -> list[str]:
    """What of the code of steps cannot be loaded here."""
    faults = list[str]()
    try:
        load_steps(on_fault=lambda fault: faults.append(str(fault)))
    except BadInput as error:
        faults.append(str(error))
    return faults


def synced(url: str, packages: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Register the steps, and make their tables; returns what has changed, and what was left out.

    A file that cannot be imported, or a table that does not fit, keeps back its own step alone.
    """
    faults = list[str]()
    steps = load_steps(packages, lambda fault: faults.append(f"Left out: {fault}"))
    changes = sync_steps(
        url, steps, on_fault=lambda fault: faults.append(f"Its step is held: {fault}")
    )
    return changes, faults


@app.command(epilog="Example: tracer steps resume step_a")
def resume(
    step: Annotated[
        str, typer.Argument(metavar="STEP", help="The step's name.", autocompletion=step_names)
    ],
    as_json: AsJson = False,
) -> None:
    """Let a step that is held go on: the next tick claims its rows again."""
    with operator() as store:
        resumed = store.resume_step(step)
    goes_on = f"{step} goes on with the next tick."
    says = goes_on if resumed else f"{step} is not held. Nothing was done."
    answer(as_json, {"step": step, "changed": resumed}, says)


def parse_setting(given: str) -> tuple[str, Any]:
    """The setting and the value of `key=value`, with the type of the registry's column.

    Raises:
        BadInput: there is no such key, or the value has another type.
    """
    key, separator, value = given.partition("=")
    if key in KEYS and not separator:
        raise BadInput(f"{given!r} has no value: write {key}=VALUE.")
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)}."
        raise BadInput(f"{given!r} is not a KEY=VALUE of a step: {hint}")
    try:
        return key, KEYS[key].validate_python(value)
    except ValidationError as error:
        raise BadInput(f"{key}: {error.errors()[0]['msg']} (it is {value!r}).") from error

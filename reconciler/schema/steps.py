"""Makes the registry and the domain tables follow the steps that there are in code."""

from collections.abc import Mapping
from typing import Any, Protocol

from reconciler.contract.errors import BadInput
from reconciler.contract.loop_models import StepSettings
from reconciler.contract.settings import load_settings
from reconciler.operator.store import OperatorStore
from reconciler.schema.domain_tables import sync_tables
from reconciler.schema.roles import sync_roles

SETTINGS = StepSettings.model_fields.keys() - {"step_name"}


class Step(Protocol):
    """A step as its code has it; its table is in StepResult's metadata once that is imported."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...


def sync_steps(url: str, steps: Mapping[str, Step]) -> list[str]:
    """Make registry and domain tables follow `steps`; returns what was done, a line each.

    Where the database has roles, they are granted what is new.

    Raises:
        BadInput: there is no schema yet, or a table differs from its model in a way that only a
            person can settle.
    """
    with OperatorStore.connect(url) as store:
        lines = sync_tables(url)
        before = {row["step_name"]: place(row) for row in store.steps()}
        for step in steps.values():
            register(store, step)
        after = {row["step_name"]: place(row) for row in store.steps()}
    sync_roles(url)
    changed = (moved(name, before.get(name), after[name]) for name in steps)
    return [*lines, *filter(None, changed)]


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
    unknown = set(step.settings) - SETTINGS
    if unknown:
        raise BadInput(f"Step {step.name} names unknown settings: {', '.join(sorted(unknown))}.")
    store.sync_step(step.name, load_settings().modal_app, step.settings)

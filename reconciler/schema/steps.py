"""Makes the registry and the domain tables follow the steps in code."""

from collections.abc import Mapping
from typing import Any, Protocol

from reconciler.contract.errors import BadInput
from reconciler.contract.loop_models import StepSettings
from reconciler.contract.results import StepResult
from reconciler.contract.settings import load_settings
from reconciler.operator.store import OperatorStore
from reconciler.schema.domain_tables import sync_tables
from reconciler.schema.roles import sync_roles

SETTINGS = StepSettings.model_fields.keys() - {"step_name"}


class Step(Protocol):
    """A step in code."""

    @property
    def name(self) -> str: ...

    @property
    def table(self) -> type[StepResult]: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...


def sync_steps(url: str, steps: Mapping[str, Step]) -> list[str]:
    """Make the registry and the domain tables follow `steps`; returns a line for each change.

    If the database has Tracer's roles, they get privileges on what is new.

    Raises:
        BadInput: there is no schema yet, or a table differs from its model, and a person must
            change one of them.
    """
    with OperatorStore.connect(url) as store:
        lines = sync_tables(url, [step.table for step in steps.values()])
        before = {row["step_name"]: location(row) for row in store.steps()}
        for step in steps.values():
            register(store, step)
        after = {row["step_name"]: location(row) for row in store.steps()}
    sync_roles(url)
    changes = (change_line(name, before.get(name), after[name]) for name in steps)
    return [*lines, *filter(None, changes)]


def location(row: dict[str, Any]) -> str:
    """The Modal app and function of a registered step."""
    return f"function {row['function_name']} of app {row['app_name']}"


def change_line(step: str, before: str | None, after: str) -> str | None:
    """A line about a step that is new, or whose function has changed; else None."""
    if before is None:
        return f"Step {step} registered"
    return f"Step {step}: {before} -> {after}" if before != after else None


def register(store: OperatorStore, step: Step) -> None:
    """Write a step's app and function to the registry; the settings only if the step is new.

    Raises:
        BadInput: the step has settings that the registry does not know.
    """
    unknown = set(step.settings) - SETTINGS
    if unknown:
        raise BadInput(f"Step {step.name} names unknown settings: {', '.join(sorted(unknown))}.")
    store.sync_step(step.name, load_settings().modal_app, step.settings)

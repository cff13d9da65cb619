"""Makes the registry and the domain tables follow the steps in code."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from reconciler.contract.database import Row
from reconciler.contract.errors import BadInput
from reconciler.contract.holds import HoldKind
from reconciler.contract.loop_models import SETTINGS
from reconciler.contract.results import StepResult
from reconciler.contract.settings import load_settings
from reconciler.operator.money.amounts import shown
from reconciler.operator.store import OperatorStore
from reconciler.schema.domain_tables import Misfit, refuse, sync_tables
from reconciler.schema.roles import sync_roles

# What a sync mends, or a worker finds out anew: it looks at its secrets and its files again.
MENDED = (HoldKind.TABLE, HoldKind.GRANT, HoldKind.SECRET, HoldKind.IMPORT)


class Step(Protocol):
    """A step in code."""

    @property
    def name(self) -> str: ...

    @property
    def table(self) -> type[StepResult]: ...

    @property
    def needed(self) -> tuple[type[StepResult], ...]:
        """The tables of other steps whose results it needs."""
        ...

    @property
    def env(self) -> Sequence[str]:
        """The secrets that it cannot do without."""
        ...

    @property
    def module(self) -> str:
        """The file that it is in, as Python names it."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def version(self) -> str | None:
        """The version of its code."""
        ...

    @property
    def money(self) -> Mapping[str, Any]:
        """How it buys: its columns of the registry."""
        ...

    @property
    def limits(self) -> Mapping[str, Any]:
        """The limits that its provider has first: columns of `providers`."""
        ...


def sync_steps(
    url: str, steps: Mapping[str, Step], on_fault: Callable[[Misfit], object] = refuse
) -> list[str]:
    """Make the registry and the domain tables follow `steps`; returns a line for each change.

    `on_fault` gets each table that differs from its model, so that a person must change one of
    them; if it returns, workers hold the step of that table. If the database has Tracer's roles,
    they get privileges on what is new.

    Raises:
        BadInput: there is no schema yet; no step makes a table that a step needs; or, by default,
            a table differs from its model.
    """
    needs = {step.name: needed_steps(step, steps.values()) for step in steps.values()}
    with OperatorStore.connect(url) as store:
        lines = sync_tables(url, [step.table for step in steps.values()], on_fault)
        before = {row["step_name"]: row for row in store.steps()}
        for step in steps.values():
            register(store, step, needs[step.name])
        after = {row["step_name"]: row for row in store.steps()}
        sync_roles(url)
        resumed = store.resume_steps(steps, MENDED)
    changes = (change_lines(before.get(name), after[name]) for name in steps)
    going_on = [f"Step {name} goes on: it was held" for name in resumed]
    return [*lines, *(line for of_step in changes for line in of_step), *going_on]


def needed_steps(step: Step, steps: Iterable[Step]) -> list[str]:
    """The names of those `steps` that make what the step needs.

    Raises:
        BadInput: none of them makes it.
    """
    maker = {other.table: other.name for other in steps}
    for table in step.needed:
        if table not in maker:
            raise BadInput(
                f"Step {step.name} needs the table {table.__tablename__}, and no step here makes "
                "it: add the package that has its step to TRACER_STEPS."
            )
    return list(dict.fromkeys(maker[table] for table in step.needed))


def location(row: Row) -> str:
    """The Modal app and function of a registered step."""
    return f"function {row['function_name']} of app {row['app_name']}"


def need(row: Row) -> str:
    """The steps that a registered step needs."""
    return f"needs {', '.join(row['needs']) or 'no other step'}"


def terms(row: Row) -> str:
    """What a registered step costs."""
    provider = f" at {row['provider']}" if row["provider"] else ""
    fresh = f", fresh for {row['fresh_for_s']:g} s" if row["fresh_for_s"] else ""
    return f"costs {shown(row['price'])}{provider}{fresh}"


def change_lines(before: Row | None, after: Row) -> Iterator[str]:
    """Lines about a step that is new, or whose function, needs, price or code have changed."""
    step = after["step_name"]
    if before is None:
        yield f"Step {step} registered{f': it {need(after)}' if after['needs'] else ''}"
        return
    for told in (location, need, terms):
        if told(before) != told(after):
            yield f"Step {step}: {told(before)} -> {told(after)}"
    if before["version"] not in (None, after["version"]):
        yield f"Step {step}: version {before['version']} of its code -> {after['version']}"


def register(store: OperatorStore, step: Step, needs: list[str]) -> None:
    """Write what is from code to the registry; the settings only if the step is new.

    Raises:
        BadInput: the step has settings that the registry does not know.
    """
    unknown = set(step.settings) - set(SETTINGS)
    if unknown:
        raise BadInput(f"Step {step.name} names unknown settings: {', '.join(sorted(unknown))}.")
    app = load_settings().modal_app
    from_code = {
        "needs": needs,
        "env": [*step.env],
        "module": step.module,
        "version": step.version,
        **step.money,
    }
    store.sync_step(step.name, app, step.settings, from_code)
    if provider := step.money["provider"]:
        store.sync_provider(provider, step.limits)

"""Finds the steps that there are, in the packages that TRACER_STEPS names."""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

from reconciler.contract.errors import BadInput
from reconciler.contract.holds import Unloaded
from reconciler.contract.recall import Recall
from reconciler.contract.settings import load_settings
from workers.kit import Step
from workers.resources import opener
from workers.runtime.outcome import says

OnFault = Callable[[Unloaded], object]


def refuse(fault: Unloaded) -> None:
    """Load nothing if something cannot be loaded."""
    raise BadInput(fault.says)


def load_steps(packages: Sequence[str] = (), on_fault: OnFault = refuse) -> dict[str, Step]:
    """Every step in the files of `packages`, by name; by default of those in TRACER_STEPS.

    `on_fault` gets each file that cannot be imported, and each step that no worker could call; if
    it returns, these are left out.

    Raises:
        BadInput: a package is not there, or has no steps; or, by default, any such fault.
    """
    see_working_directory()
    steps: dict[str, Step] = {}
    for package in dict.fromkeys(packages or load_settings().steps):
        faults = list[Unloaded]()
        found = [step for module in _modules(package, faults) for step in _steps_in(module)]
        if not (found or faults):
            raise BadInput(f"There is no step in {package}: see what TRACER_STEPS names.")
        for step in found:
            if wrong := _clash(step, steps) or _lacks_lookup(step):
                faults.append(Unloaded(wrong, step.module, step.name))
            else:
                steps[step.name] = step
        for fault in faults:
            on_fault(fault)
    while fault_of := next(_without_input(steps), None):
        step, lack = fault_of
        on_fault(Unloaded(lack, step.module, step.name))
        del steps[step.name]  # and then what takes its result lacks that
    return steps


def see_working_directory() -> None:
    """Let packages of the working directory be imported.

    It comes last, so that no folder there is taken for a package of Tracer or of its libraries.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def _modules(package: str, faults: list[Unloaded]) -> Iterator[ModuleType]:
    """The package, and each file in it; those that cannot be imported are added to `faults`."""
    found = _import(package, faults)
    if found:
        yield found
    for file in pkgutil.iter_modules(getattr(found, "__path__", ()), f"{package}."):
        if module := _import(file.name, faults):
            yield module


def _import(name: str, faults: list[Unloaded]) -> ModuleType | None:
    try:
        with redirect_stdout(sys.stderr):  # stdout is the command's document
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a user's file can fail in any way
        if elsewhere := _taken_from(name, error):
            raise BadInput(f"{name} cannot be imported: {elsewhere}") from error
        fault = f"{name} cannot be imported: {says(error).splitlines()[0]}"
        faults.append(Unloaded(fault, name))
        return None


def _taken_from(name: str, error: BaseException) -> str | None:
    """Why a package is not found: it is not there, or another one of that name comes first."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if not missing or not f"{name}.".startswith(f"{missing}."):
        return None
    top = name.partition(".")[0]
    if missing == top:
        return f"there is no {top} in {Path.cwd()}, and none is installed."
    found = sys.modules[top]
    place = next(iter(getattr(found, "__path__", ())), getattr(found, "__file__", "Python itself"))
    return f"{top} is found in {place}, which has no {name.removeprefix(f'{top}.')}."


def _steps_in(module: ModuleType) -> list[Step]:
    """The steps that are written in this file, and not only imported there."""
    once = {id(value): value for value in vars(module).values()}  # it may have a second name
    return [
        made
        for value in once.values()
        if isinstance(made := getattr(value, "tracer_step", None), Step)
        and value.__module__ == module.__name__
    ]


def _without_input(steps: dict[str, Step]) -> Iterator[tuple[Step, str]]:
    """The steps of which something that they take is not there, and what."""
    for step in steps.values():
        if fault := _lacks(step, steps):
            yield step, fault


def _lacks(step: Step, steps: dict[str, Step]) -> str | None:
    """What the step takes that is not there."""
    makers = {other.table: other.name for other in steps.values()}
    for taken in step.inputs:
        name = taken.table.__name__
        if taken.table not in makers:
            return (
                f"{step.name} takes {name}, which no step returns: add the package of the step "
                "that does to TRACER_STEPS."
            )
        if taken.needed and makers[taken.table] == step.name:
            return f"{step.name} needs its own result: let it be `{name} | None`."
    for parameter, kind in step.signature.resources.items():
        if opener(kind) is None:
            return (
                f"{step.name} takes `{parameter}: {kind.__name__}`, and no @resource yields a "
                f"{kind.__name__}."
            )
    return None


def _lacks_lookup(step: Step) -> str | None:
    """Its lost calls are to be looked up, and it does not say how."""
    if step.recall == Recall.LOOKUP and step.terms.lookup is None:
        how = f"write one, with @{step.name}.lookup above it"
        return f'{step.name} in {step.module} has recall="lookup" and no lookup: {how}.'
    return None


def _clash(step: Step, steps: dict[str, Step]) -> str | None:
    """Another step has its name or its table."""
    for other in steps.values():
        if step.name == other.name or step.table is other.table:
            return (
                f"{step.module} and {other.module} both have a step "
                f"{step.name} or the table {step.table.__tablename__}: rename one."
            )
    return None

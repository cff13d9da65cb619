"""Every part that Tracer talks to: is it well, and what fixes it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import load_settings
from reconciler.operator.diagnosis import database_checks
from reconciler.operator.diagnosis.database_checks import Tables
from reconciler.operator.diagnosis.loop_checks import LoopChecks
from reconciler.operator.diagnosis.read_only import TableLocked
from reconciler.operator.diagnosis.reason import Code, Reason


@dataclass(frozen=True)
class Part:
    """A part: why a fault in it matters, and its check, which says what was seen, or what is wrong.

    Where one of `needs` is not well, the check would only repeat the same words, and is left out.
    `error` is the code of an error that the check raises.
    """

    why: str
    check: Callable[[], str | Reason]
    needs: tuple[str, ...] = ()
    error: Code = Code.DATABASE_UNREACHABLE


@dataclass(frozen=True)
class Finding:
    """A part that was checked; `code`, `why` and `fix` are None where it is well."""

    part: str
    ok: bool
    code: str | None
    says: str
    why: str | None = None
    fix: str | None = None


def examine_parts(tables: Tables, say: Callable[[str], None]) -> tuple[list[Finding], list[str]]:
    """What is found of each part, and the parts that were left out.

    `tables` gives the steps whose code is here; `say` is told what is waited for.
    """
    findings: list[Finding] = []
    there = dict(parts(tables, LoopChecks(lambda: all(f.ok for f in findings), tables, say)))
    for name, part in there.items():
        if {finding.part for finding in findings if finding.ok} >= set(part.needs):
            findings.append(examine(name, part))
    return findings, sorted(there.keys() - {finding.part for finding in findings})


def examine(name: str, part: Part) -> Finding:
    """Check one part."""
    try:
        found = part.check()
    except TableLocked as error:
        found = Reason(Code.TABLE_LOCKED, error.says, error.fix)
    except TracerError as error:
        found = Reason(part.error, error.says, error.fix)
    if isinstance(found, str):
        return Finding(name, True, None, found)
    return Finding(name, False, found.code, found.says, part.why, found.fix)


def parts(tables: Tables, loop: LoopChecks) -> Iterator[tuple[str, Part]]:
    """The parts, in an order in which the first fault is the cause of others."""
    yield from database_parts(tables)
    yield from loop_parts(loop)
    try:
        on_modal = load_settings().workers == "modal"
    except TracerError:
        on_modal = False  # the settings' own check says what is wrong
    if on_modal:
        yield from modal_parts()
    else:
        why = "What a tick claims is refused, and goes back to wait."
        yield "workers", Part(why, loop.workers, ("settings",))


def database_parts(tables: Tables) -> Iterator[tuple[str, Part]]:
    """The settings, and what is in the database."""
    of, broken = database_checks, Code.STEP_CODE_BROKEN
    why = "Every command, the loop and the workers read them."
    yield "settings", Part(why, of.settings, error=Code.SETTING_INVALID)
    why = "Postgres alone remembers: without it nothing is claimed, and no result is kept."
    yield "database", Part(why, of.database, ("settings",))
    why = "Neither a tick nor a worker touches a schema that it does not know."
    yield "schema", Part(why, of.schema, ("database",))
    why = "What lacks a grant ends with an error instead of doing its work."
    yield "role", Part(why, of.role, ("schema",))
    why = "A step that is not registered cannot be seeded, and is never claimed."
    yield "steps", Part(why, partial(of.steps, tables), ("role",), broken)
    why = "A result and COMPLETED are one transaction: without its table every attempt fails."
    yield "tables", Part(why, partial(of.tables, tables), ("steps",), broken)
    why = "Its rows stay PENDING until someone does something about it."
    yield "batches", Part(why, partial(of.batches, tables), ("role",), broken)


def loop_parts(loop: LoopChecks) -> Iterator[tuple[str, Part]]:
    """The loop and its schedule."""
    why = "Only a tick claims, retries and advances rows."
    yield "loop", Part(why, loop.loop, ("role",))
    why = "A loop leaves at the end of its window: nobody starts the next one."
    yield "prefect", Part(why, loop.prefect, ("settings",))
    why = "Nothing ticks between the end of one run and the start of the next."
    yield "window", Part(why, loop.window, ("loop", "prefect"))


def modal_parts() -> Iterator[tuple[str, Part]]:
    """What of the workers is on Modal."""
    # Modal's client takes 0.7 s to import.
    from reconciler.operator.diagnosis import modal_checks as of

    why = "What a tick claims cannot be spawned, and goes back to wait."
    yield "modal", Part(why, of.account, ("settings",), Code.MODAL_REFUSES)
    why = "What a tick claims has no worker, and goes back to wait."
    yield "app", Part(why, of.app, ("role", "modal"), Code.MODAL_APP_MISSING)
    why = "A call of a function that is not there is refused, and its rows wait."
    yield "functions", Part(why, of.functions, ("app",), Code.MODAL_APP_MISSING)

"""Checks every part that Tracer needs, and names the command that fixes a fault."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from reconciler.contract.errors import TracerError
from reconciler.contract.settings import load_settings
from reconciler.operator.diagnosis import database_checks, money_checks, secret_checks
from reconciler.operator.diagnosis.database_checks import Tables
from reconciler.operator.diagnosis.loop_checks import LoopChecks
from reconciler.operator.diagnosis.reason import Code, Reason
from reconciler.operator.read_only import TableLocked


@dataclass(frozen=True)
class Part:
    """A part that doctor checks.

    `why` says why a fault matters. `check` returns a sentence if all is well, else the fault.
    `needs` names other parts: if one of them has a fault, this check would only report the same
    fault again, and is skipped. `error` is the code of a fault that the check raises as an error.
    """

    why: str
    check: Callable[[], str | Reason]
    needs: tuple[str, ...] = ()
    error: Code = Code.DATABASE_UNREACHABLE


@dataclass(frozen=True)
class Finding:
    """The result for one part; `code`, `why` and `fix` are None if it is well."""

    part: str
    ok: bool
    code: str | None
    says: str
    why: str | None = None
    fix: str | None = None


def examine_parts(tables: Tables, say: Callable[[str], None]) -> tuple[list[Finding], list[str]]:
    """Check all parts; returns the findings, and the names of the parts that were skipped.

    `tables` returns the steps whose code is here, with their domain tables. `say` gets a sentence
    before a check waits for something.
    """
    findings: list[Finding] = []
    loop = LoopChecks(lambda: all(finding.ok for finding in findings), tables, say)
    all_parts = dict(parts(tables, loop))
    for name, part in all_parts.items():
        if {finding.part for finding in findings if finding.ok} >= set(part.needs):
            findings.append(examine(name, part))
    return findings, sorted(all_parts.keys() - {finding.part for finding in findings})


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
    """The parts by name, causes first: an earlier fault may cause a later one."""
    yield from database_parts(tables)
    yield from money_parts()
    yield from loop_parts(loop)
    try:
        on_modal = load_settings().workers == "modal"
    except TracerError:
        on_modal = False  # the check of the settings reports the error
    if on_modal:
        yield from modal_parts()
    else:
        why = "Calls are refused, and their rows go back to PENDING."
        yield "workers", Part(why, loop.workers, ("settings",))


def database_parts(tables: Tables) -> Iterator[tuple[str, Part]]:
    """The settings, and the parts in the database."""
    checks, broken = database_checks, Code.STEP_CODE_BROKEN
    why = "Every command, the loop and the workers read the settings."
    yield "settings", Part(why, checks.settings, error=Code.SETTING_INVALID)
    why = "All state is in Postgres: without it nothing is claimed, and no result is kept."
    yield "database", Part(why, checks.database, ("settings",))
    why = "Ticks and workers refuse a schema of another revision."
    yield "schema", Part(why, checks.schema, ("database",))
    why = "A program without its grants fails instead of working."
    yield "role", Part(why, checks.role, ("schema",))
    why = "A step that is not registered cannot be seeded, and is never claimed."
    yield "steps", Part(why, partial(checks.steps, tables), ("role",), broken)
    why = "A result and COMPLETED are one transaction: without its table every attempt fails."
    yield "tables", Part(why, partial(checks.tables, tables), ("steps",), broken)
    why = "A step without a secret that it needs is held, and calls nobody."
    yield "secrets", Part(why, secret_checks.secrets, ("role",))
    why = "The step's rows stay PENDING until this is fixed."
    yield "batches", Part(why, partial(checks.batches, tables), ("role",), broken)


def money_parts() -> Iterator[tuple[str, Part]]:
    """What keeps rows from buying, and what makes the sums uncertain."""
    why = "The rows stay PENDING until the cap is raised, or its next period begins."
    yield "caps", Part(why, money_checks.caps, ("role",))
    why = "The rows of its steps stay PENDING until it is called again."
    yield "providers", Part(why, money_checks.providers, ("role",))
    why = "They count as spent, and their rows are FAILED, until somebody says what they have cost."
    yield "orders", Part(why, money_checks.orders, ("role",))
    why = "So much is reserved before a call: what costs more may pass a cap."
    yield "prices", Part(why, money_checks.prices, ("role",))


def loop_parts(loop: LoopChecks) -> Iterator[tuple[str, Part]]:
    """The loop, and Prefect's schedule that starts it."""
    why = "Only a tick claims, retries and advances rows."
    yield "loop", Part(why, loop.loop, ("role",))
    why = "A loop ends with its window, and then no new loop starts."
    yield "prefect", Part(why, loop.prefect, ("settings",))
    why = "Nothing ticks between the end of one run and the start of the next."
    yield "window", Part(why, loop.window, ("loop", "prefect"))


def modal_parts() -> Iterator[tuple[str, Part]]:
    """The parts on Modal, if the workers run there."""
    # Modal's client takes 0.7 s to import.
    from reconciler.operator.diagnosis import modal_checks as checks

    why = "Calls cannot be sent, and their rows go back to PENDING."
    yield "modal", Part(why, checks.account, ("settings",), Code.MODAL_REFUSES)
    why = "No worker takes the calls, and their rows go back to PENDING."
    yield "app", Part(why, checks.app, ("role", "modal"), Code.MODAL_APP_MISSING)
    why = "Modal refuses the call of a missing function, and its rows go back to PENDING."
    yield "functions", Part(why, checks.functions, ("app",), Code.MODAL_APP_MISSING)

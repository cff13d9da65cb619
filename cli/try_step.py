"""`tracer try`: run a step here and now on a few companies, and write nothing."""

import atexit
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Annotated, Any

import typer

from cli.completion import step_names
from cli.reading import ReadAs, reads_files
from cli.render import AsJson, document
from cli.trial_till import till_for
from cli.trials import print_trials, shown, status
from reconciler.contract.attributes import own_row
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.results import Company
from reconciler.contract.secrets import log_masked
from reconciler.contract.states import Status
from reconciler.operator import views
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.seeding.rows import Rejection
from reconciler.operator.store import OperatorStore
from reconciler.operator.wording import plural
from workers.kit import Step
from workers.runtime.loading import load_steps
from workers.runtime.trial import try_step
from workers.runtime.trial_store import Rows

LIMIT = 5


@reads_files
def try_(
    step: Annotated[str, typer.Argument(help="The step.", autocompletion=step_names)],
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A file of companies, or - for stdin.")
    ] = None,
    company: Annotated[
        str | None, typer.Option("--company", help="The key of a company that is known.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many rows of the file.")] = LIMIT,
    read_as: ReadAs = ReadAs(),  # noqa: B008 - the options' defaults
    as_json: AsJson = False,
) -> None:
    """Run a step now, on the first rows of a file or on one company, and write no result.

    Paid calls cost what they cost, and are shown. Their answers are kept for companies that the
    database has: a batch uses them again. A fresh answer is used instead of a call.

    What the step needs of earlier steps is read from the database, or they run first. The step need
    not be registered, and for a file there need not be a database.
    """
    if (file is None) == (company is None):
        raise BadInput("Name a file, or one company: tracer try STEP FILE, or --company KEY.")
    log_masked()
    steps = load_steps()
    if step not in steps:
        raise BadInput(f"There is no step {step!r}. There are {', '.join(steps)}.")
    if company is not None:
        with read_only_store(ViewStore) as store:
            found = [known_company(store, company)]
            stored = stored_rows(store, found, steps.values())
    else:
        with read_as.open(str(file)) as source:
            first = enumerate(islice(source, limit), 1)
            given = [row_company(number, row) for number, row in first]
        found, stored = as_known(given, steps.values())
    with till_for(found) as till:
        trials = try_step(steps, steps[step], found, stored, till)
    rows = [shown(trial, steps[step]) for trial in trials]
    document(rows) if as_json else print_trials(steps[step], rows)
    if failed := [trial for trial in trials if status(trial) == Status.FAILED]:
        if any(getattr(t.outcome, "kind", None) == ErrorKind.TIMED_OUT for t in failed):
            atexit.register(end_now)
        raise WorkFailed(f"{plural(len(failed), 'company', 'companies')} of {len(trials)} failed.")


def end_now() -> None:
    """End the program as one whose work failed. A coroutine that swallows even its own end would
    keep Python's from ending."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(WorkFailed.exit_code)


def row_company(number: int, row: Any) -> Company:
    """A company as the file has it; it gets an id that no company in a database has.

    Raises:
        BadInput: the row cannot be used.
    """
    if isinstance(row, Rejection):
        raise BadInput(f"Line {row.line}: {row.reason}.")
    return Company(
        id=-number,
        key=row.key,
        name=row.name,
        domain=row.domain,
        attributes=json.loads(row.attributes),
        idempotency_key=f"tracer-try-{row.key}",
    )


def known_company(store: OperatorStore, key: str) -> Company:
    """The company that the database has by this key.

    Raises:
        BadInput: there is none.
    """
    found, _ = views.timeline(store, None, key)
    return Company(**found, idempotency_key=f"tracer-try-{key}")


def as_known(
    given: Sequence[Company], steps: Iterable[Step]
) -> tuple[list[Company], dict[int, Rows]]:
    """The file's companies, and what is stored of those that a database has already."""
    found = {company.key: company for company in given}
    with suppress(BadInput), read_only_store(ViewStore) as store:  # there need be no database
        for key in found:
            with suppress(BadInput):
                known = known_company(store, key)
                row = own_row(found[key].model_dump(), known.model_dump())
                found[key] = found[key].model_copy(update={"id": known.id, **row})
        return list(found.values()), stored_rows(store, found.values(), steps)
    return list(found.values()), {}


def stored_rows(
    store: OperatorStore, companies: Iterable[Company], steps: Iterable[Step]
) -> dict[int, Rows]:
    """The companies' results of all steps, as JSON, by the name of their table."""
    tables = {step.name: step.table.__table__ for step in steps}  # type: ignore[attr-defined]
    names = {step: described.name for step, described in tables.items()}
    return {
        company.id: {
            names[row["step"]]: json.dumps(row["row"])
            for row in views.results(store, company.id, tables)
        }
        for company in companies
    }

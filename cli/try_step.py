"""`tracer try`: run a step here and now on a few companies, and write nothing."""

import atexit
import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from cli.completion import step_names
from cli.reading import (
    ColumnMap,
    Delimiter,
    Encoding,
    FileFormat,
    KeyColumns,
    QuotesOption,
    SharedHosts,
    Sheet,
    SkipLines,
    System,
    open_file,
)
from cli.render import AsJson, document, out, say, table
from reconciler.contract.attributes import own_row
from reconciler.contract.error_kinds import ErrorKind
from reconciler.contract.errors import BadInput, WorkFailed
from reconciler.contract.results import Company, StepResult
from reconciler.contract.secrets import log_masked, masked_values, redacted
from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.operator import views
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.seeding.dialect import Quotes
from reconciler.operator.seeding.rows import Rejection
from reconciler.operator.store import OperatorStore
from reconciler.operator.wording import plural
from workers.kit import Step
from workers.runtime.loading import load_steps
from workers.runtime.trial import Rows, Trial, try_step

HERE = Path(__file__).parents[1]
LONGEST = 500  # characters of a text that a person is shown
LIMIT = 5


def try_(
    step: Annotated[str, typer.Argument(help="The step.", autocompletion=step_names)],
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A file of companies, or - for stdin.")
    ] = None,
    company: Annotated[
        str | None, typer.Option("--company", help="The key of a company that is known.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many rows of the file.")] = LIMIT,
    map_: ColumnMap = None,
    key: KeyColumns = None,
    shared_hosts: SharedHosts = None,
    system: System = None,
    format_: FileFormat = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = None,
    quotes: QuotesOption = Quotes.DOUBLED,
    skip_lines: SkipLines = None,
    sheet: Sheet = None,
    as_json: AsJson = False,
) -> None:
    """Run a step now, on the first rows of a file or on one company, and write nothing.

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
        known_by = (map_, key, shared_hosts, system)
        read_as = (*known_by, format_, encoding, delimiter, quotes, skip_lines, sheet)
        with open_file(str(file), *read_as) as source:
            first = enumerate(islice(source, limit), 1)
            given = [row_company(number, row) for number, row in first]
        found, stored = as_known(given, steps.values())
    trials = try_step(steps, steps[step], found, stored)
    rows = [shown(trial) for trial in trials]
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


def status(trial: Trial) -> Status:
    """How the row would have ended, at its last attempt."""
    if isinstance(trial.outcome, StepResult):
        return Status.COMPLETED
    return trial.outcome.ends or Status.FAILED


def shown(trial: Trial) -> dict[str, Any]:
    """One company of `--json`."""
    result = trial.outcome if isinstance(trial.outcome, StepResult) else None
    failure = trial.outcome if isinstance(trial.outcome, Failure) else None
    return {
        "company": trial.company.key,
        "status": status(trial),
        "result": values(result) if result else None,
        "error": redacted(failure.error) if failure and failure.error else None,
        "error_kind": failure.kind if failure and failure.error else None,
        "took_s": trial.took_s,
        "ran_first": trial.ran_first,
        "traceback": [redacted(line) for line in own_lines(trial.raised)],
    }


def values(result: StepResult) -> dict[str, Any]:
    """The fields of a result, as they would be written."""
    written: dict[str, Any] = masked_values(json.loads(result.model_dump_json()))
    return {name: value for name, value in written.items() if name not in StepResult.model_fields}


def print_trials(step: Step, trials: Sequence[dict[str, Any]]) -> None:
    """A row per company, as `shown` has it; then what went wrong, with the step's own lines."""
    fields = [name for name in step.table.model_fields if name not in StepResult.model_fields]
    rows = []
    for found in trials:
        took = "" if found["took_s"] is None else f"{found['took_s']:.2f} s"
        cells = [as_cell((found["result"] or {}).get(name)) for name in fields]
        rows.append([found["company"], found["status"], took, *cells])
    out.print(table(["company", "status", "#took", *fields], rows))
    for found in trials:
        if found["ran_first"]:
            say(f"{found['company']}: {', '.join(found['ran_first'])} ran first.")
        if found["error"]:
            out.print(Text(f"\n{found['company']}: {shorten(found['error'])}"))
        for line in found["traceback"]:
            out.print(Text(f"    {line}"), soft_wrap=True)
    say("Nothing was written.")


def as_cell(value: Any) -> Any:
    """A value for a table's cell."""
    text = json.dumps(value) if isinstance(value, dict | list) else value
    return shorten(text) if isinstance(text, str) else text


def shorten(text: str) -> str:
    """A text for a person, without the rest of a web page: rich takes minutes for 5 MB."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def own_lines(error: BaseException | None) -> Iterator[str]:
    """Where the error was raised: the lines of the author's own files.

    Those of Tracer, of Python and of libraries are left out; all are there if no other is.
    """
    frames = traceback.extract_tb(error.__traceback__) if error else []
    own = [frame for frame in frames if is_own(Path(frame.filename))]
    for frame in own or list(frames):
        yield f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"


def is_own(file: Path) -> bool:
    """Whether a file is neither Tracer's nor a library's."""
    ours = file.is_relative_to(HERE) and file.relative_to(HERE).parts[0] in ("cli", "reconciler")
    runtime = any(file.is_relative_to(HERE / "workers" / part) for part in ("runtime", "host"))
    library = "site-packages" in file.parts or file.is_relative_to(Path(traceback.__file__).parent)
    return not (ours or runtime or library)

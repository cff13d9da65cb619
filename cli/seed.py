"""`tracer seed`: make a batch from a file, and report every row of it."""

from types import TracebackType
from typing import Annotated, Any, Self

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.output_file import STDOUT
from cli.plan_table import print_plan
from cli.planning import planner
from cli.reading import ReadAs, reads_files
from cli.rejects import rejects_file
from cli.render import AsJson, document, err, say
from cli.seed_report import brief, changed, duplicate, identified, other_system
from cli.spending import (
    BlueprintOption,
    BuyOption,
    CapOption,
    ClientOption,
    check_steps,
    read_spending,
)
from reconciler.contract.errors import BadInput
from reconciler.operator.connect import operator
from reconciler.operator.diagnosis.secret_checks import says
from reconciler.operator.money.amounts import shown
from reconciler.operator.seeding.companies import Duplicates
from reconciler.operator.seeding.file import SeedFile, batch_name
from reconciler.operator.seeding.load import load
from reconciler.operator.seeding.route import parse_blueprint
from reconciler.operator.steering import HIGHEST, LOWEST
from reconciler.operator.wording import operand, plural

COLUMNS = 60  # the report for people lists this many column names; --json has all
SHOWN = 20  # the report for people lists this many rejected rows; --json has all


@reads_files
def seed(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file, its URL, or - for stdin.")],
    blueprint: BlueprintOption,
    name: Annotated[
        str | None, typer.Option(help="The batch's name. Default: the file's name.")
    ] = None,
    read_as: ReadAs = ReadAs(),  # noqa: B008 - the options' defaults
    duplicates: Annotated[
        Duplicates,
        typer.Option(help="Of rows with one key: fill the first from the others, or which counts."),
    ] = Duplicates.FILL,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what seeding would do, and write nothing.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="As --dry-run: it says what seeding may cost.")
    ] = False,
    priority: Annotated[
        int, typer.Option(min=LOWEST, max=HIGHEST, help="Higher ones are claimed first.")
    ] = 0,
    cap: CapOption = None,
    buy: BuyOption = None,
    client: ClientOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many rows of the file. Default: all.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first so many go; the rest waits for `approve`."),
    ] = None,
    rejects: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the rejected rows to this file, as CSV."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a batch from a CSV, TSV, JSON, JSON lines, Parquet or Excel file."""
    if as_json and rejects == STDOUT:
        raise BadInput("With --json, stdout is for the document: give --rejects a file.")
    route = parse_blueprint(blueprint)
    spending = read_spending(cap, buy, client)
    open_store = planner if dry_run or plan else operator
    with open_store() as store, read_as.open(file) as source:
        check_steps(store, route.steps, spending)
        batch = name or batch_name(file)
        with rejects_file(rejects, source.columns.attributes) as reject, Reading(source) as shown:
            how = (priority, limit, duplicates, dry_run or plan, spending, sample)
            told = (shown.rows, shown.phase, reject)
            report = load(store, source, batch, route, *how, *told)
    document(report) if as_json else print_report(report, wanted=batch)


class Reading:
    """Shows on a terminal how much of the file is read, and then what Postgres does."""

    def __init__(self, source: SeedFile) -> None:
        self._source = source
        self._count = 0
        columns = (
            *(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()),
            *(TextColumn("{task.fields[rows]:,} rows"), TimeElapsedColumn()),
        )
        self._progress = Progress(
            *columns, console=err, transient=True, disable=not err.is_terminal
        )
        self._shown = self._progress.add_task("reading", total=source.bytes_total, rows=0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def rows(self, count: int) -> None:
        """Show the number of rows read so far."""
        self._count = count
        self._progress.update(self._shown, completed=self._source.bytes_read, rows=count)

    def phase(self, name: str) -> None:
        """Show what Postgres does now, and since when."""
        self._progress.remove_task(self._shown)
        self._shown = self._progress.add_task(f"Postgres {name}", total=None, rows=self._count)


def print_report(report: dict[str, Any], wanted: str) -> None:
    """Print the report for people on stderr: rows, columns, duplicates and rejections."""
    if report["dry_run"]:
        say("Nothing was written. Seeding this file would do this:")
    elif report["batch"] != wanted:
        say(f"There is a batch {wanted} already, so this one is {report['batch']}.")
    say(
        f"Batch {report['batch']}: {plural(report['rows'], 'row', 'rows')}, "
        f"{plural(report['companies_new'], 'company', 'companies')} new, "
        f"{report['companies_known']:,} known, "
        f"{plural(report['duplicates'], 'duplicate', 'duplicates')}, "
        f"{len(report['rejected']):,} rejected."
    )
    if skipped := report["skipped_lines"]:
        lines = "Line 1 comes" if skipped == 1 else f"Lines 1 to {skipped} come"
        say(f"{lines} before the header: passed over. To say where it is, add --skip-lines.")
    if waiting := report["companies_unapproved"]:
        rest = plural(waiting, "company waits", "companies wait")
        say(f"Beyond the sample, {rest}: `tracer approve {operand(report['batch'])}`.")
    if report["client"]:
        say(f"It is for the client {report['client']}.")
    if report["cap"] is not None:
        say(f"It may cost {shown(report['cap'])}: no more is bought.")
    if report["buy"]:
        say(f"Bought anew, though an answer may be there: {', '.join(report['buy'])}.")
    columns = report["columns"]
    say("Mapped: " + ", ".join(f"{f} = {brief(c)!r}" for f, c in columns["mapped"].items()))
    kept = columns["attributes"]
    more = [f"… and {len(kept) - COLUMNS} more; --json lists all"] if len(kept) > COLUMNS else []
    say(f"Kept as attributes ({len(kept)}): {', '.join([*map(brief, kept[:COLUMNS]), *more])}")
    say(identified(report))
    some(list(map(duplicate, report["duplicate_rows"])))
    for line in changed(report):
        say(line)
    if warning := other_system(report):
        say(warning)
    if report["plan"] and report["plan"]["steps"]:
        print_plan(report["plan"])
    if missing := report["missing_secrets"]:
        say(f"Nothing of this is called yet: {says(missing)}.")
    some([f"Rejected line {r['line']}: {r['reason']}" for r in report["rejected"]])
    if not report["dry_run"]:
        say(f"Watch it: tracer inspect --watch {operand(report['batch'])}")


def some(lines: list[str]) -> None:
    """Print the first `SHOWN` lines, and the number of the others."""
    for line in lines[:SHOWN]:
        say(line)
    if len(lines) > SHOWN:
        say(f"… and {len(lines) - SHOWN} more; --json lists all.")

"""`tracer export`: a row per company, with the input's columns and the results of every step."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Annotated, BinaryIO, cast

import typer
from sqlalchemy import Table

from cli.completion import step_names
from cli.output_file import STDOUT, opened
from cli.render import AsJson, BatchName, answer, say
from reconciler.contract.errors import BadInput
from reconciler.contract.settings import load_settings
from reconciler.operator.batch import BatchView
from reconciler.operator.export import Which, columns_of, read_companies
from reconciler.operator.export_formats import SUFFIXES, Format, Writing
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.remote import file_name
from reconciler.operator.wording import plural
from workers.runtime.loading import load_steps

PACKED = (".gz", ".zst")


def export(
    batch: BatchName,
    format_: Annotated[
        Format | None, typer.Option("--format", help="Default: by the file's suffix, else csv.")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="The file or its URL; `-` is stdout.")
    ] = STDOUT,
    step: Annotated[
        str | None,
        typer.Option(
            help="Only this step's columns, and companies that have reached it.",
            autocompletion=step_names,
        ),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only companies that have failed, with the error.")
    ] = False,
    sources: Annotated[
        bool,
        typer.Option(
            "--sources", help="Where each result is from: batch, code version, order, price."
        ),
    ] = False,
    safe: Annotated[
        bool, typer.Option("--safe", help="CSV: no cell is a formula for a spreadsheet.")
    ] = False,
    bom: Annotated[
        bool, typer.Option("--bom", help="CSV: with a byte order mark, for Excel.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a batch's companies with their results as CSV, JSON lines, Parquet or Excel."""
    if as_json and output == STDOUT:
        raise BadInput("With --json, stdout is for the document: to write the rows, add -o FILE.")
    how = Writing(format_ or format_of(output), safe, bom, errors=failed, sources=sources)
    with read_only_store(ViewStore) as store:
        found = store.batch(batch)
        tables = result_tables(found, step)
        which = Which.FAILED if failed else Which.REACHED if step else Which.ALL
        rows = read_companies(store, found, tables, which, orders=sources)
        columns = columns_of(found, tables, errors=failed, origins=sources)
        with opened(output) as whole, packed(whole, output) as file:
            count = how.write(file, rows, columns, tables)
    done = {"batch": batch, "rows": count, "format": how.format, "file": output}
    answer(as_json, done, f"{plural(count, 'company', 'companies')} exported.")


def format_of(output: str) -> Format:
    """The format that the file's suffix names, before one of its packing; else CSV.

    Raises:
        BadInput: nothing is written that is packed so.
    """
    name = PurePath(file_name(output))
    if name.suffix.lower() == ".zip":
        raise BadInput(f"An export is not packed as {name.suffix}: use {' or '.join(PACKED)}.")
    name = name.with_suffix("") if name.suffix.lower() in PACKED else name
    return SUFFIXES.get(name.suffix.lower(), Format.CSV)


@contextmanager
def packed(whole: BinaryIO, output: str) -> Iterator[BinaryIO]:
    """What packs all that is written, as the suffix of `output` says."""
    suffix = PurePath(file_name(output)).suffix.lower()
    if suffix == ".gz":
        import gzip

        with gzip.GzipFile(fileobj=whole, mode="wb") as file:
            yield cast(BinaryIO, file)
    elif suffix == ".zst":
        import pyarrow

        with pyarrow.CompressedOutputStream(whole, "zstd") as file:
            yield file
    else:
        yield whole


def result_tables(batch: BatchView, step: str | None = None) -> dict[str, Table]:
    """The domain table of each step of the blueprint, or of the one that is named.

    Raises:
        BadInput: the code of a step is not here, and it defines the table; or the batch does not
            have that step.
    """
    if step is not None:
        batch.require_step(step)
    steps, wanted = (
        load_steps(on_fault=lambda fault: say(str(fault))),
        batch.steps if step is None else [step],
    )
    missing = [name for name in wanted if name not in steps]
    if missing:
        raise BadInput(
            f"There is no {', '.join(missing)} in {', '.join(load_settings().steps)}: set "
            "TRACER_STEPS, or export where the step's code is."
        )
    return {name: steps[name].table.__table__ for name in wanted}  # type: ignore[attr-defined]

"""`tracer export`: a row per company, with the input's columns and the results of every step."""

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Table

from cli.output_file import STDOUT, opened
from cli.render import AsJson, BatchName, answer
from reconciler.contract.errors import BadInput
from reconciler.contract.settings import load_settings
from reconciler.operator.batch import BatchView
from reconciler.operator.export import Format, write_batch
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.wording import plural
from workers.runtime.loading import load_steps


def export(
    batch: BatchName,
    format_: Annotated[Format, typer.Option("--format", help="The file's format.")] = Format.CSV,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file; `-` is stdout.")
    ] = STDOUT,
    as_json: AsJson = False,
) -> None:
    """Write a batch's companies with their results as CSV, JSON lines or Parquet."""
    if as_json and output == STDOUT:
        raise BadInput("With --json, stdout is for the document: to write the rows, add -o FILE.")
    with read_only_store(ViewStore) as store:
        found = store.batch(batch)
        tables = result_tables(found)
        with opened(output) as file:
            count = write_batch(store, found, tables, format_, file)
    done = {"batch": batch, "rows": count, "format": format_, "file": output}
    answer(as_json, done, f"{plural(count, 'company', 'companies')} exported.")


def result_tables(batch: BatchView) -> dict[str, Table]:
    """The domain table of each step of the blueprint.

    Raises:
        BadInput: the code of a step is not here, and it defines the table.
    """
    steps = load_steps()
    missing = [step for step in batch.blueprint if step not in steps]
    if missing:
        raise BadInput(
            f"There is no {', '.join(missing)} in {', '.join(load_settings().steps)}: set "
            "TRACER_STEPS, or export where the step's code is."
        )
    return {step: steps[step].table.__table__ for step in batch.blueprint}  # type: ignore[attr-defined]

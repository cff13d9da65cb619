"""`tracer report`: a batch's figures as one HTML file with plots."""

from pathlib import Path
from typing import Annotated

import typer

from cli.output_file import STDOUT, opened
from cli.render import AsJson, BatchName, document, say
from reconciler.contract.errors import BadInput
from reconciler.operator import views
from reconciler.operator.read_only import ViewStore, read_only_store
from reconciler.operator.report.figures import read_report
from reconciler.operator.report.html import MARK, render_report

HEAD_BYTES = 500  # a report has its mark within the first bytes
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="The file; `-` is stdout. An earlier report there is replaced."
    ),
]


def report(
    batch: BatchName,
    output: Output = Path("report.html"),
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file even if it is not a report.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a report of a batch as one HTML file: throughput, latency, failures, spend."""
    to_file = not as_json and str(output) != STDOUT
    replaced = to_file and check(output, force)
    with read_only_store(ViewStore) as store:
        found = store.batch(batch)
        steps = views.progress(store, found)["steps"]
        summed = read_report(store, found)
    if as_json:
        document({"batch": found.name, "steps": steps, **vars(summed)})
        return
    text = render_report(found, steps, summed)
    with opened(str(output)) as file:
        file.write(text.encode())
    if to_file:
        size = f"{len(text.encode()) / 1e6:.1f} MB"
        say(f"{output} {'replaced' if replaced else 'written'}, {size}: open it in a browser.")


def check(path: Path, force: bool) -> bool:
    """Whether `path` exists and may be replaced.

    Raises:
        BadInput: it is not a file; or it is not a report, and `force` is not set.
    """
    try:
        if not path.exists():
            return False
        if not path.is_file():
            raise BadInput(f"{path} exists and is not a file: name another one, or - for stdout.")
        with path.open("rb") as file:
            is_report = MARK.encode() in file.read(HEAD_BYTES)
    except OSError as error:
        raise BadInput(f"Cannot write {path}: {error.strerror}.") from error
    if not (is_report or force):
        raise BadInput(f"{path} exists and is not a report: name another file, or add --force.")
    return True

"""`tracer init`: write a project for steps of your own."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from cli.render import AsJson, answer
from reconciler.contract.errors import BadInput
from reconciler.operator.wording import operand
from reconciler.prefect.schedule import PREFECT_FILE

PROJECT = Path(__file__).parent / "project"


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The project's folder; it may exist already.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write a project for your own steps: an example step with its test, settings, prefect.yaml."""
    files = {path: PROJECT / path for path in project_files()}
    # Git ignores `.env`, so the other members of a team get only the example.
    files |= {Path(".env"): PROJECT / ".env.example", Path("prefect.yaml"): PREFECT_FILE}
    if existing := [str(path) for path in files if os.path.lexists(folder / path)]:
        raise BadInput(f"{folder} has {', '.join(existing)} already: nothing was written.")
    try:
        for path, source in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / path)
    except OSError as error:
        raise BadInput(f"Cannot write {error.filename}: {error.strerror}.") from error
    names = [str(path) for path in sorted(files)]
    answer(
        as_json,
        {"folder": folder, "files": names},
        f"Wrote {', '.join(names)}.",
        f"Now: cd {operand(str(folder))} && tracer up, and see its README.md.",
    )


def project_files() -> list[Path]:
    """The project's files, without Python's compiled ones."""
    files = (path for path in PROJECT.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(path.relative_to(PROJECT) for path in files)

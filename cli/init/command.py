"""`tracer init`: write a project for steps of your own."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
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
        write({folder / path: source for path, source in files.items()})
    except OSError as error:
        says = f"Cannot write {error.filename or folder}: {error.strerror}. Nothing was written."
        raise BadInput(says) from error
    names = [str(path) for path in sorted(files)]
    answer(
        as_json,
        {"folder": folder, "files": names},
        f"Wrote {', '.join(names)}.",
        f"Now: cd {operand(str(folder))} && tracer up, and see its README.md.",
    )


def write(files: Mapping[Path, Path]) -> None:
    """Copy to each path its source; if that fails half-way, take all away again."""
    with ExitStack() as undo:
        for path, source in files.items():
            for parent in reversed([path.parent, *path.parent.parents]):
                if not parent.exists():
                    parent.mkdir()
                    undo.callback(try_to, parent.rmdir)
            undo.callback(try_to, path.unlink)
            shutil.copyfile(source, path)
        undo.pop_all()


def try_to(remove: Callable[[], None]) -> None:
    """Remove a file or a folder, unless it was never made or someone else has filled it."""
    with suppress(OSError):
        remove()


def project_files() -> list[Path]:
    """The project's files, without Python's compiled ones."""
    files = (path for path in PROJECT.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(path.relative_to(PROJECT) for path in files)

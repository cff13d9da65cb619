"""`tracer init`: a project of one's own, which works at once."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from cli.render import AsJson, answer
from reconciler.contract.errors import BadInput
from reconciler.prefect.schedule import PREFECT_FILE

PROJECT = Path(__file__).parent / "project"


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="It may be there already.")],
    as_json: AsJson = False,
) -> None:
    """Write a project: a step of your own with its test, settings, and Prefect's deployment."""
    files = {path: PROJECT / path for path in project_files()}
    # Git keeps `.env` out, so the example is what the others of a team get.
    files |= {Path(".env"): PROJECT / ".env.example", Path("prefect.yaml"): PREFECT_FILE}
    if there := [str(path) for path in files if (folder / path).exists()]:
        raise BadInput(f"{folder} has {', '.join(there)} already: nothing was written.")
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
        f"Now: cd {folder} && tracer demo, or read its README.md.",
    )


def project_files() -> list[Path]:
    """What the project consists of, less what Python leaves beside it."""
    files = (path for path in PROJECT.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(path.relative_to(PROJECT) for path in files)

"""How the tests of seed files write one, and read it whole."""

import json
from pathlib import Path
from typing import Any

from reconciler.operator.seeding.file import Columns, Record, Rejection, open_seed_file


def read(path: Path | str, **options: Any) -> tuple[Columns, list[Record], list[Rejection]]:
    """Its columns, records with their attributes as Python has them, and rejections."""
    options = {"mapping": {}, "key": None, **options}
    with open_seed_file(str(path), **options) as seed:
        rows = list(seed)
        return (
            seed.columns,
            [
                row._replace(attributes=json.loads(row.attributes))
                for row in rows
                if type(row) is Record
            ],
            [row for row in rows if isinstance(row, Rejection)],
        )


def saved(folder: Path, content: str | bytes, name: str = "seed.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path

"""Where a command writes what it was asked for: a file that is whole or not there, or a stream."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reconciler.contract.errors import BadInput

STDOUT = Path("-")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of one that is there at the end, with its mode.

    A link stays one; a device or a pipe is written to as it is, and `-` is stdout.

    Raises:
        BadInput: it cannot be written; what was there before still is.
    """
    if path == STDOUT:
        yield sys.stdout.buffer
        return
    try:
        path = path.resolve()
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as stream:
                yield stream
        else:
            with _beside(path) as file:
                yield file
    except (OSError, RuntimeError) as error:  # the second: a link that leads to itself
        why = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"Cannot write {path}: {why}.") from error


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """A file of this command's own, since another may be writing to the same path."""
    if path.is_dir():
        raise IsADirectoryError(0, "it is a directory")
    mode = path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask()
    number, part = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
        Path(part).chmod(mode)
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""Opens a command's output: stdout, or a file or URL that appears only when it is complete."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from reconciler.contract.errors import BadInput
from reconciler.operator.remote import is_remote, put_remote

STDOUT = "-"


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for writing; at the end of the block it replaces `path`, and keeps its mode.

    A symbolic link is kept: its target is replaced. A device or a pipe is written directly. `-` is
    stdout. What is for a URL is first written to a temporary file.

    Raises:
        BadInput: it cannot be written; an earlier file at `path` is unchanged.
    """
    if path == STDOUT:
        yield sys.stdout.buffer
    elif is_remote(str(path)):
        with tempfile.NamedTemporaryFile() as whole:
            yield cast(BinaryIO, whole)
            whole.flush()
            put_remote(whole.name, str(path))
    else:
        with _local(Path(path)) as file:
            yield file


@contextmanager
def _local(path: Path) -> Iterator[BinaryIO]:
    try:
        with suppress(FileNotFoundError):
            path.stat()  # a link that leads to itself: from Python 3.13 on, `resolve` lets it pass
        path = path.resolve()
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as stream:
                yield stream
        else:
            with _replacing(path) as file:
                yield file
    except OSError as error:
        raise BadInput(f"Cannot write {path}: {error.strerror}.") from error


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file that replaces `path` at the end.

    Its name is unique, because another command may be writing to the same path.
    """
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

"""Reads the bytes of a seed file: from a path, a URL or standard input, packed or not."""

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO, cast

from reconciler.contract.errors import BadInput
from reconciler.operator.remote import file_name, is_remote, open_remote, shown_url
from reconciler.operator.seeding.packed import Counted, explain_damage, unpacked

_BLOCK = 256 * 1024


class Source:
    """A file, a URL or standard input. What is packed with gzip, zstd or zip is unpacked.

    `name` is for messages; `content` is the name of what was packed. `size` is the number of bytes
    before unpacking, None for a pipe; `read` counts those read so far.
    """

    def __init__(self, path: str) -> None:
        """Open it, and read its first block into `head`.

        Raises:
            BadInput: the file cannot be read.
        """
        self.is_stdin = path == "-"
        self.name = _shown(path)
        self.read = 0
        self._copy: BinaryIO | None = None
        self._raw, self.size = _opened(path)
        self.is_pipe = self.size is None
        try:
            self._unpack(file_name(path))
        except BaseException:
            self.close()
            raise

    def _unpack(self, name: str) -> None:
        with explain_damage(self.name):
            start = self._raw.read1(_BLOCK)
            self._packed = Counted(start, self._raw)
            found = unpacked(self._packed, start, name, self._seekable)
            self.content = found.name if found else name
            self._stream = found.stream if found else self._raw
            self.head = found.stream.read1(_BLOCK) if found else start
        self.is_packed = found is not None

    def blocks(self) -> Iterator[bytes]:
        """The bytes in pieces; the last one is empty.

        Raises:
            BadInput: what is packed is damaged.
        """
        block = self.head
        with explain_damage(self.name):
            while block:
                self.read = self._position() if self.is_packed else self.read + len(block)
                yield block
                block = self._stream.read1(_BLOCK)
        yield b""

    def _position(self) -> int:
        """The bytes read so far; a zip is read past what counts them."""
        return self._raw.tell() if self._packed.count == 0 else self._packed.count

    def seekable(self) -> BinaryIO:
        """The same bytes as a seekable file, for Parquet: a pipe is copied to disk first.

        Raises:
            BadInput: what is packed is damaged.
        """
        with explain_damage(self.name):
            return self._copied(self.head, self._stream) if self.is_packed else self._seekable()

    def _seekable(self) -> BinaryIO:
        if self._copy is not None:
            self._copy.seek(0)
            return self._copy
        try:
            self._raw.seek(0)
        except (OSError, ValueError):  # a pipe, or a server that sends from the start only
            return self._copied(b"", cast(io.BufferedReader, self._packed))
        return cast(BinaryIO, self._raw)

    def _copied(self, head: bytes, stream: io.BufferedReader) -> BinaryIO:
        self._copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - close() ends it
        self._copy.write(head)
        copyfileobj(stream, self._copy)
        self.size = self._copy.tell()
        self._copy.seek(0)
        return self._copy

    def set_progress(self, share: float) -> None:
        """Set `read` to this share of the file, 0 to 1, for a reader that jumps in it."""
        self.read = int(share * (self.size or 0))

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._copy is not None:
            self._copy.close()
        if not self.is_stdin:
            self._raw.close()


def _shown(path: str) -> str:
    if path == "-":
        return "Standard input"
    return shown_url(path) if is_remote(path) else path


def _opened(path: str) -> tuple[io.BufferedReader, int | None]:
    """The bytes, and their number, None if it is not known."""
    if path == "-":
        return cast(io.BufferedReader, sys.stdin.buffer), None
    if is_remote(path):
        return open_remote(path)
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 - close() ends it
    except FileNotFoundError:
        raise BadInput(f"There is no file {path}: check the path.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a directory: name one file in it.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise BadInput(f"{path!r} is not a path: {error}.") from None
    return stream, Path(path).stat().st_size if Path(path).is_file() else None

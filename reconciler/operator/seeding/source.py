"""Reads the bytes of a seed file or of standard input, and splits them into lines of text."""

import codecs
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO, cast

from reconciler.contract.errors import BadInput

_BLOCK = 256 * 1024
_LINE_LIMIT = 64 * 1024 * 1024


class Source:
    """A file or standard input. `size` is in bytes, None for a pipe; `read` counts bytes so far."""

    def __init__(self, path: str) -> None:
        """Open a path, or standard input for "-", and read its first block into `head`.

        Raises:
            BadInput: the file cannot be read.
        """
        self.is_stdin = path == "-"
        self.name = "Standard input" if self.is_stdin else path
        self.size: int | None = None
        self.read = 0
        self._copy: BinaryIO | None = None
        self._stream = cast(io.BufferedReader, sys.stdin.buffer) if self.is_stdin else _opened(path)
        if not self.is_stdin and Path(path).is_file():
            self.size = Path(path).stat().st_size
        self.head = self._stream.read1(_BLOCK)

    def blocks(self) -> Iterator[bytes]:
        """The bytes in pieces; the last one is empty."""
        block = self.head
        while block:
            self.read += len(block)
            yield block
            block = self._stream.read1(_BLOCK)
        yield b""

    def seekable(self) -> BinaryIO:
        """The same bytes as a seekable file, for Parquet: a pipe is copied to disk first."""
        if self.size is not None:
            self._stream.seek(0)
            return self._stream
        self._copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - close() ends it
        self._copy.write(self.head)
        copyfileobj(self._stream, self._copy)
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
            self._stream.close()


def _opened(path: str) -> io.BufferedReader:
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        raise BadInput(f"There is no file {path}: check the path.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a directory: name one file in it.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise BadInput(f"{path!r} is not a path: {error}.") from None


def check_encoding(encoding: str) -> None:
    """Check that Python knows this text encoding.

    Raises:
        BadInput: Python does not.
    """
    try:
        codecs.getincrementaldecoder(encoding)
        b"    ".decode(encoding)
    except UnicodeDecodeError:
        return
    except (LookupError, ValueError):
        raise BadInput(
            f"No encoding is called {encoding!r}: try utf-8, latin-1, windows-1252 or utf-16."
        ) from None


def lines_in(source: Source, encoding: str) -> Iterator[list[str]]:
    """The lines of text, one list per block, with their endings (LF, CRLF or the old Mac's CR).

    Raises:
        BadInput: bytes are not of this encoding, or a line is longer than 64 MB.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    rest: list[str] = []
    done = taken = 0
    for block in source.blocks():
        taken += len(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as error:
            line = done + 1 + sum(_line_ends(part) for part in rest)
            raise BadInput(_undecodable(source, encoding, error, line, taken)) from None
        lines, rest = _split(rest, text, last=not block)
        if lines and not done:
            lines[0] = lines[0].removeprefix("\ufeff")
        done += len(lines)
        if sum(map(len, rest)) > _LINE_LIMIT:
            raise BadInput(
                f"{source.name}: line {done + 1} is longer than 64 MB: check the format."
            )
        yield lines


def _split(rest: list[str], text: str, *, last: bool) -> tuple[list[str], list[str]]:
    # A long value spans many blocks: its parts are joined once, at its end.
    if not (last or "\n" in text or "\r" in text):
        return [], [*rest, text]
    lines = list(io.StringIO("".join([*rest, text]), newline=""))
    if last or not lines or lines[-1].endswith("\n"):
        return lines, []
    return lines, [lines.pop()]


def _line_ends(text: str) -> int:
    return len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1


def _undecodable(source: Source, encoding: str, error: UnicodeError, line: int, taken: int) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return f"{source.name} is not {encoding} text ({error}): name another with --encoding."
    before = error.object[: error.start].decode(encoding, errors="replace")
    # The decoder's bytes end with the last block; they may begin in the block before.
    offset = taken - len(error.object) + error.start
    where = f"line {line + _line_ends(before)}, byte offset {offset}"
    found = f"byte 0x{error.object[error.start]:02X} on {where}" if error.object else where
    return f"{source.name} is not {encoding} text ({found}). {_remedy(source, error)}"


def _remedy(source: Source, error: UnicodeDecodeError) -> str:
    if source.head.startswith(b"PK\x03\x04"):
        return "It looks like a workbook or an archive: save it as CSV."
    if source.head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "It looks like UTF-16: add --encoding utf-16."
    if 4 * source.head.count(0) > len(source.head):
        return "It looks like UTF-16: add --encoding utf-16-le, or --encoding utf-16-be."
    if error.encoding.replace("_", "-") != "utf-8":
        return "Name another with --encoding."
    # Windows-1252 has quotes, dashes and the euro where latin-1 has control characters.
    if any(0x80 <= byte < 0xA0 for byte in error.object[error.start :]):
        return "It looks like windows-1252: add --encoding windows-1252, or --encoding latin-1."
    return "It looks like latin-1: add --encoding latin-1."

"""Unpacks a seed file that is packed with gzip, zstd or zip, while it is read."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, cast

from reconciler.contract.errors import BadInput

GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
SUFFIXES = (".gz", ".zst", ".zip")
# A workbook is a zip too: this is in those of Excel, and in those of LibreOffice.
_OF_WORKBOOKS = {"[Content_Types].xml", "mimetype"}
_OF_MACS = "__MACOSX/"
_ENCRYPTED = 1  # a zip member's flag


class Unpacked(NamedTuple):
    """What was packed: its bytes, and its name."""

    stream: io.BufferedReader
    name: str


class Counted(io.RawIOBase):
    """The bytes of a stream whose first block was already read; `count` is how many were read."""

    def __init__(self, start: bytes, stream: io.BufferedReader) -> None:
        self.count = 0
        self._start = start
        self._stream = stream

    def readable(self) -> bool:
        """Always: see `io.RawIOBase`."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See `io.RawIOBase`."""
        block = self._start[: len(buffer)] or self._stream.read1(len(buffer))
        self._start = self._start[len(buffer) :]
        buffer[: len(block)] = block
        self.count += len(block)
        return len(block)


def bare_name(name: str) -> str:
    """A file's name without the suffix of its packing: companies.csv of companies.csv.gz."""
    return name[: -len(PurePosixPath(name).suffix)] if name.lower().endswith(SUFFIXES) else name


def unpacked(
    stream: Counted, start: bytes, name: str, seekable: Callable[[], BinaryIO]
) -> Unpacked | None:
    """What is packed in `stream`, None if nothing is; its first bytes say so, not its name.

    Raises:
        BadInput: a zip that has not exactly one file, or is encrypted.
    """
    if start.startswith(GZIP):
        opened = gzip.GzipFile(fileobj=io.BufferedReader(stream))
        return Unpacked(cast(io.BufferedReader, opened), bare_name(name))
    if start.startswith(ZSTD):
        import pyarrow as pa  # takes 0.25 s

        opened = pa.CompressedInputStream(io.BufferedReader(stream), "zstd")
        return Unpacked(cast(io.BufferedReader, opened), bare_name(name))
    if start.startswith((ZIP, _EMPTY_ZIP)):
        return _in_zip(zipfile.ZipFile(seekable()), name)
    return None


def _in_zip(archive: zipfile.ZipFile, name: str) -> Unpacked | None:
    members = [
        each
        for each in archive.infolist()
        if not (each.is_dir() or each.filename.startswith(_OF_MACS))
    ]
    if _OF_WORKBOOKS & {each.filename for each in members}:
        return None
    if len(members) != 1:
        names = ", ".join(each.filename for each in members[:5])
        has = f"{len(members):,} files ({names}{', …' if len(members) > 5 else ''})"
        says = f"{name or 'The archive'} has {has if members else 'no file'}"
        raise BadInput(f"{says}: unpack it, and name one file.")
    if members[0].flag_bits & _ENCRYPTED:
        raise BadInput(f"{name or 'The archive'} is encrypted: unpack it first.")
    return Unpacked(cast(io.BufferedReader, archive.open(members[0])), members[0].filename)


@contextmanager
def explain_damage(name: str) -> Iterator[None]:
    """Turn what the unpackers raise into one sentence.

    Raises:
        BadInput: what is packed is damaged, or packed in an unknown way.
    """
    try:
        yield
    except (EOFError, OSError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise BadInput(f"{name} is damaged, or not complete: {reason}.") from error
    except (NotImplementedError, RuntimeError) as error:
        says = f"{name} is packed in a way that is not known here ({error})"
        raise BadInput(f"{says}: unpack it first.") from error

"""Splits the bytes of a seed file into lines of text."""

import codecs
import io
from collections.abc import Iterator

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.packed import ZIP
from reconciler.operator.seeding.source import Source

_LINE_LIMIT = 64 * 1024 * 1024
_CTRL_Z = "\x1a"  # the end of a text file for DOS, and for some programs still
# What a program writes that gives "\r\n" to a stream which makes "\r\n" of each "\n".
_DOUBLED = "\r\r\n"
_NOT_OF_WINDOWS = frozenset(b"\x81\x8d\x8f\x90\x9d")  # bytes that windows-1252 has no letter for


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
            f"No encoding is called {encoding!r}: try utf-8, windows-1252 or utf-16."
        ) from None


def lines_in(source: Source, encoding: str) -> Iterator[list[str]]:
    """The lines of text, one list per block, with their endings (LF, CRLF or the old Mac's CR).

    A file whose first line ends with CR CR LF has that for a line's end. A Ctrl-Z at the very end
    is no part of the text.

    Raises:
        BadInput: bytes are not of this encoding, or a line is longer than 64 MB.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    rest: list[str] = []
    done = taken = 0
    doubled = False
    for block in source.blocks():
        taken += len(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as error:
            line = done + 1 + sum(_line_ends(part) for part in rest)
            raise BadInput(_undecodable(source, encoding, error, line, taken)) from None
        if not (done or rest):
            text = text.removeprefix("\ufeff")
            doubled = text.partition("\n")[0].endswith("\r\r")
        lines, rest = _split(rest, text, last=not block, doubled=doubled)
        done += len(lines)
        if sum(map(len, rest)) > _LINE_LIMIT:
            raise BadInput(
                f"{source.name}: line {done + 1} is longer than 64 MB: check the format."
            )
        yield lines


def _split(rest: list[str], text: str, *, last: bool, doubled: bool) -> tuple[list[str], list[str]]:
    # A long value spans many blocks: its parts are joined once, at its end.
    if not (last or "\n" in text or "\r" in text):
        return [], [*rest, text]
    whole = "".join([*rest, text])
    # The next block may go on with the LF of these CRs.
    ends = "" if last else whole[len(whole.rstrip("\r")) :]
    whole = whole.removesuffix(_CTRL_Z if last else ends)
    lines = list(io.StringIO(whole.replace(_DOUBLED, "\r\n") if doubled else whole, newline=""))
    if last:
        return lines, []
    begun = lines.pop() if lines and not lines[-1].endswith("\n") else ""
    return lines, [begun + ends] if begun or ends else []


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
    if source.head.startswith(ZIP):
        return "It looks like a workbook: add --format xlsx."
    if source.head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "It looks like UTF-16: add --encoding utf-16."
    if 4 * source.head.count(0) > len(source.head):
        return "It looks like UTF-16: add --encoding utf-16-le, or --encoding utf-16-be."
    if error.encoding.replace("_", "-") != "utf-8":
        return "Name another with --encoding."
    # What Windows writes. Its quotes, dashes and euro are control characters in latin-1, which has
    # all else in common: so latin-1 is never the better guess.
    if not any(byte in _NOT_OF_WINDOWS for byte in error.object[error.start :]):
        return "It looks like windows-1252: add --encoding windows-1252."
    return "It is of an older kind: name it with --encoding, such as mac-roman or cp437."

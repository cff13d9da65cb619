"""What is packed with gzip, zstd or zip is read as it is."""

import gzip
import io
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha512
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.file import batch_name, open_seed_file
from tests.reconciler.operator.seeding.reading import read, saved

ROWS = 6_000
# As long as a file of ten times as many usual rows, and no packing makes it short.
CSV = b"id,name\n" + b"".join(
    b"%d,%s\n" % (n, sha512(b"%d" % n).hexdigest().encode()) for n in range(ROWS)
)


class Pipe(io.BytesIO):
    """Bytes that can be read once."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation("seek")


def zipped(*members: tuple[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return made.getvalue()


def one(content: bytes) -> bytes:
    return zipped(("folder/", b""), ("folder/seed.csv", content), ("__MACOSX/._seed.csv", b"x"))


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return packed


PACKED: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd, ".zip": one}


@pytest.mark.parametrize("suffix", PACKED)
def test_it_is_unpacked_while_it_is_read(tmp_path: Path, suffix: str) -> None:
    file = saved(tmp_path, PACKED[suffix](CSV), f"seed.csv{suffix}")
    with open_seed_file(str(file), mapping={}, key=None) as seed:
        assert (seed.bytes_total, seed.name) == (file.stat().st_size, f"seed.csv{suffix}")
        assert len(list(seed)) == ROWS
        assert seed.bytes_read <= file.stat().st_size
        assert seed.bytes_read > file.stat().st_size / 2
    assert batch_name(str(file)) == "seed"


@pytest.mark.parametrize("suffix", PACKED)
def test_a_pipe_is_unpacked_by_its_first_bytes(
    monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(PACKED[suffix](CSV))))
    assert len(read("-")[1]) == ROWS


def test_parquet_is_unpacked_too(tmp_path: Path) -> None:
    made = io.BytesIO()
    parquet.write_table(pa.table({"id": ["1"]}), made)
    file = saved(tmp_path, gzip.compress(made.getvalue()), "seed.parquet.gz")
    assert read(file)[1][0].key == "1"


def encrypted() -> bytes:
    content = bytearray(zipped(("seed.csv", b"id\n1\n")))
    for header in (b"PK\x03\x04", b"PK\x01\x02"):
        at = content.index(header) + (6 if header == b"PK\x03\x04" else 8)
        content[at] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("seed.csv.gz", gzip.compress(CSV)[:-100], "seed.csv.gz is damaged, or not complete"),
        ("seed.csv.zst", zstd(CSV)[:-100], "seed.csv.zst is damaged, or not complete: Truncated"),
        ("seed.zip", one(CSV)[:-100], "seed.zip is damaged, or not complete"),
        ("seed.zip", zipped(), "has no file: unpack it"),
        ("seed.zip", zipped(("a.csv", b""), ("b.csv", b"")), "has 2 files (a.csv, b.csv): unpack"),
        ("seed.zip", zipped(("__MACOSX/a", b"")), "has no file: unpack it"),
        ("seed.zip", encrypted(), "is encrypted: unpack it first"),
    ],
)
def test_what_cannot_be_unpacked_is_one_clear_sentence(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    with pytest.raises(BadInput, match=r"^[^\n]+$") as raised:
        read(saved(tmp_path, content, name))
    assert says in str(raised.value)

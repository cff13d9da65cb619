"""JSON lines, Parquet and pipes give the same records as CSV does."""

import datetime as dt
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.file import FORMATS, Rejection, open_seed_file
from tests.reconciler.operator.seeding.reading import read, saved


def test_json_lines_keep_nested_values_and_learn_columns_as_they_come(tmp_path: Path) -> None:
    late = {"id": 2, "extra": {"a": [1, {"b": None}]}}
    rows = [{"id": 10**30, "name": "A", "ok": True}, {"id": 66740.0, "f": 0.1}, late]
    filler = [{"id": n, "note": "x" * 1000} for n in range(2000)]
    text = "\n".join(json.dumps(row) for row in [*rows[:2], *filler, late])
    columns, records, rejected = read(saved(tmp_path, text, "seed.jsonl"))
    assert columns.attributes == ["id", "name", "ok", "f", "note", "extra"]
    assert [record.key for record in records[:2]] == [str(10**30), "66740"]
    assert (records[-1].line, records[-1].attributes) == (2003, late)
    assert rejected == []


def test_json_lines_that_cannot_be_kept_exactly_are_rejected(tmp_path: Path) -> None:
    bad = [
        ('{"id": 1', "bad JSON at column"),
        ("[1, 2]", "not a JSON object"),
        ("", "empty row"),
        ('{"id": NaN}', "NaN is not a JSON number"),
        ('{"id": 1e999}', "1e999 is too large a number"),
        ('{"id": 1, "id": 2}', "a name occurs twice"),
        ('{"id": 1, "x": ["\\u0000"]}', "holds a NUL character"),
        ('{"id": 1, "x": {"\\ud800": 1}}', "half of a surrogate pair"),
        ('{"id": 1, "x": ' + "[" * 102 + "]" * 102 + "}", "nested more than 100 deep"),
        ('{"id": 1, "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "bad JSON"),
        ('{"id": ' + "9" * 5000 + "}", "bad JSON"),
        ('{"id": {"a": 1}}', "no value that is text or a number in key column 'id'"),
        ('{"name": "x"}', "no value in key column 'id'"),
    ]
    text = "\n".join([line for line, _ in bad] + ['{"id": "last", "x": "\\\\u0000"}'])
    _, records, rejected = read(saved(tmp_path, text, "seed.ndjson"), key="id")
    assert [each.line for each in rejected] == list(range(1, len(bad) + 1))
    for each, (_, reason) in zip(rejected, bad, strict=True):
        assert reason in each.reason
    assert records[0].attributes == {"id": "last", "x": "\\u0000"}


def test_parquet_values_become_json_that_says_the_same(tmp_path: Path) -> None:
    when = dt.datetime(2024, 5, 1, 12, 30, tzinfo=dt.UTC)
    table = pa.table(
        {
            "CIK": pa.array([66740.0, None, 5.0]),
            "Name": pa.array(["3M", "x", "y"]).dictionary_encode(),
            "at": pa.array([when, None, None], pa.timestamp("us", "UTC")),
            "fine": pa.array([1, None, None], pa.timestamp("ns")),
            "day": [dt.date(1957, 3, 4), None, None],
            "money": [Decimal("1.50"), None, None],
            "ratio": [float("nan"), 1.5, float("inf")],
            "nested": [{"a": [dt.date(2020, 1, 1)]}, None, None],
            "bytes": [b"text", b"\xff", None],
        }
    )
    parquet.write_table(table, tmp_path / "seed.parquet")
    columns, records, rejected = read(tmp_path / "seed.parquet", key="cik")
    assert columns.attributes == table.column_names
    assert (records[0].line, records[0].key, records[0].name) == (1, "66740", "3M")
    assert records[0].attributes == {
        "CIK": 66740.0,
        "Name": "3M",
        "at": "2024-05-01T12:30:00+00:00",
        "fine": "1970-01-01 00:00:00.000000001",
        "day": "1957-03-04",
        "money": "1.50",
        "ratio": None,
        "nested": {"a": ["2020-01-01"]},
        "bytes": "text",
    }
    assert rejected == [
        Rejection(2, "column 'bytes' holds bytes that are not UTF-8 text"),
        Rejection(3, "column 'ratio' holds Infinity, which JSON does not have"),
    ]


def test_parquet_columns_of_one_name_are_both_kept(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1, 2]), pa.array(["a", None])], names=["id", "id"])
    parquet.write_table(table, tmp_path / "seed.pq")
    _, records, _ = read(tmp_path / "seed.pq")
    assert [each.attributes for each in records] == [
        {"id": 1, "id_2": "a"},
        {"id": 2, "id_2": None},
    ]


def parquet_bytes() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"id": ["1"], "name": ["é"]}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"id,name\n1,\xc3\xa9\n",
        b"\xef\xbb\xbfid\tname\n1\t\xc3\xa9\n",
        b'\xef\xbb\xbf {"id": "1", "name": "\xc3\xa9"}\n',
        parquet_bytes(),
    ],
)
def test_standard_input_is_read_by_its_first_bytes_and_left_open(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stdin)
    _, records, rejected = read("-")
    assert [(each.key, each.attributes) for each in records] == [("1", {"id": "1", "name": "é"})]
    assert rejected == []
    assert not stdin.closed


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(parquet_bytes(),))
    writer.start()
    yield path
    writer.join()


def test_a_named_pipe_needs_no_suffix(pipe: Path) -> None:
    assert read(pipe)[1][0].key == "1"


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "seed.parquet").write_bytes(parquet_bytes())
    for file in (saved(tmp_path, "id\n" + "1\n" * 200_000), tmp_path / "seed.parquet"):
        with open_seed_file(str(file), mapping={}, key=None) as seed:
            assert seed.bytes_total == file.stat().st_size
            for _ in seed:
                assert seed.bytes_read <= seed.bytes_total
            assert seed.bytes_read == seed.bytes_total


STARTS = (b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"[", b'{"a": [')


@given(st.sampled_from(STARTS), st.binary())
def test_no_bytes_bring_a_traceback(start: bytes, content: bytes) -> None:
    for format in FORMATS:
        fed = io.TextIOWrapper(io.BytesIO(b"id,name\n" * (format == "csv") + start + content))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", fed)
            with suppress(BadInput):
                read("-", format=format)

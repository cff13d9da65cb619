"""`tracer export`: the formats by their suffix, one step, failed companies, and spreadsheets."""

import csv
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet
from python_calamine import CalamineWorkbook
from sqlalchemy import Column, Float, MetaData, Numeric, Table

from reconciler.contract.states import Status
from reconciler.contract.worker_store import Failure
from reconciler.operator import export_formats
from reconciler.operator.export_formats import no_formula, write_parquet
from tests.cli.test_commands import SEED
from tests.terminal import Terminal
from tests.world import World, finish

ROWS = '{"id": "00123", "n": 12345678901234567.5, "e": "1.2E+07", "f": "=1+1", "w": 1.50}'


def batch(tracer: Terminal, folder: Path, rows: str = ROWS) -> None:
    """A batch `b` of these JSON lines."""
    (folder / "seed.jsonl").write_text(rows)
    tracer("seed", str(folder / "seed.jsonl"), "--blueprint", "normalize,step_a", "--name", "b")


def test_the_suffix_decides_and_format_wins(tracer: Terminal, tmp_path: Path) -> None:
    batch(tracer, tmp_path)
    first = {}
    for name in ("x", "x.csv", "x.jsonl", "x.parquet", "x.PQ", "x.xlsx", "x.csv.gz", "x.csv.zst"):
        done = tracer.json("export", "b", "-o", str(tmp_path / name))
        first[name] = (done["format"], (tmp_path / name).read_bytes()[:4])
    assert first == {
        "x": ("csv", b"key,"),
        "x.csv": ("csv", b"key,"),
        "x.jsonl": ("jsonl", b'{"ke'),
        "x.parquet": ("parquet", b"PAR1"),
        "x.PQ": ("parquet", b"PAR1"),
        "x.xlsx": ("xlsx", b"PK\x03\x04"),
        "x.csv.gz": ("csv", b"\x1f\x8b\x08\x00"),
        "x.csv.zst": ("csv", b"\x28\xb5\x2f\xfd"),
    }
    plain = (tmp_path / "x.csv").read_bytes()
    assert gzip.decompress((tmp_path / "x.csv.gz").read_bytes()) == plain
    zstd = pa.CompressedInputStream(pa.BufferReader((tmp_path / "x.csv.zst").read_bytes()), "zstd")
    assert zstd.read() == plain
    tracer("export", "b", "-o", str(tmp_path / "x.parquet"), "--format", "csv")
    assert (tmp_path / "x.parquet").read_bytes() == plain
    tracer("export", "b", "-o", str(tmp_path / "x.zip"), code=2)
    assert "not packed as .zip: use .gz or .zst" in tracer.err


def test_numbers_and_text_come_out_as_they_went_in(tracer: Terminal, tmp_path: Path) -> None:
    batch(tracer, tmp_path)
    for name in ("x.csv", "x.jsonl", "x.xlsx"):
        tracer("export", "b", "-o", str(tmp_path / name))
    (row,) = csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text()))
    assert list(row.values())[:6] == [
        *("00123", "00123", "12345678901234567.5", "1.2E+07", "=1+1", "1.50")
    ]
    assert '"n": 12345678901234567.5, ' in (tmp_path / "x.jsonl").read_text()
    (sheet,) = CalamineWorkbook.from_path(tmp_path / "x.xlsx").sheet_names
    cells = CalamineWorkbook.from_path(tmp_path / "x.xlsx").get_sheet_by_name(sheet).to_python()
    assert cells[1][:6] == ["00123", "00123", "12345678901234567.5", "1.2E+07", "=1+1", 1.5]


def test_formulas_are_defused_where_that_is_asked_for(tracer: Terminal, tmp_path: Path) -> None:
    batch(tracer, tmp_path, '{"id": "1", "=cmd": "=1+1", "n": "-5,3", "at": "@x"}')
    asked = tracer("export", "b", "--safe").splitlines()
    assert asked[0].startswith("key,id,'=cmd,n,at,")
    assert asked[1].startswith("1,1,'=1+1,\"-5,3\",'@x,")
    assert tracer("export", "b").splitlines()[1].startswith('1,1,=1+1,"-5,3",@x,')


@pytest.mark.parametrize(
    "cell", ["=1", "+cmd", "-2+3", "@sum", "\t=1", "\r=1", "\uff1d1", "+49 89 1"]
)
def test_what_a_spreadsheet_takes_for_a_formula_gets_a_mark(cell: str) -> None:
    assert no_formula(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["", "a=1", "-5", "+1.5e3", "-1,234.50", "-3%", "-", 5, None, True]
)
def test_numbers_and_other_text_stay(cell: object) -> None:
    assert no_formula(cell) == cell


def test_a_mark_for_excel_is_asked_for(tracer: Terminal, tmp_path: Path) -> None:
    batch(tracer, tmp_path)
    tracer("export", "b", "--bom", "-o", str(tmp_path / "x.csv"))
    assert (tmp_path / "x.csv").read_bytes().startswith(b"\xef\xbb\xbfkey,")
    for option in ("--bom", "--safe"):
        tracer("export", "b", option, "-o", str(tmp_path / "x.xlsx"), code=2)
        assert f"{option} is for CSV, and this is xlsx" in tracer.err


def test_failed_companies_come_with_their_error(
    tracer: Terminal, file: str, world: World, tmp_path: Path
) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    world.tick()
    held = world.worker.begin("normalize", world.ids()[:1])
    world.worker.fail(held, [Failure("no luck", Status.FAILED)])
    finish(world)
    (row,) = csv.DictReader(io.StringIO(tracer("export", "b", "--failed")))
    assert (row["key"], row["normalize.status"]) == (held[0].company.key, "FAILED")
    assert (row["normalize.error"], row["step_a.error"]) == ("no luck", "")
    tracer("export", "b", "--failed", "-o", str(tmp_path / "x.jsonl"))
    (line,) = (tmp_path / "x.jsonl").read_text().splitlines()
    assert json.loads(line)["steps"]["normalize"]["error"] == "no luck"
    assert tracer("export", "b", "--failed", "--step", "step_a").splitlines()[1:] == []


def test_one_step_has_its_columns_and_the_companies_that_have_reached_it(
    tracer: Terminal, file: str, world: World
) -> None:
    tracer("seed", file, *SEED, "--name", "b")
    world.tick()
    world.work("normalize", world.ids()[:1])
    world.tick()
    rows = list(csv.DictReader(io.StringIO(tracer("export", "b", "--step", "step_a"))))
    assert [row["step_a.status"] for row in rows] == ["QUEUED"]
    assert not [name for name in rows[0] if name.startswith("normalize.")]
    tracer("export", "b", "--step", "step_x", code=2)
    assert "has no step 'step_x'. Did you mean 'step_a'?" in " ".join(tracer.err.split())


def test_a_sheet_that_is_too_small_is_named(
    tracer: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch(tracer, tmp_path, json.dumps({"id": "1", "note": "x" * 40_000}))
    path = tmp_path / "x.xlsx"
    tracer("export", "b", "-o", str(path), code=2)
    assert "'note' of row 1 has 40,000: export as CSV" in " ".join(tracer.err.split())
    monkeypatch.setattr(export_formats, "SHEET_ROWS", 1)
    tracer("export", "b", "-o", str(path), code=2)
    monkeypatch.setattr(export_formats, "SHEET_COLUMNS", 1)
    tracer("export", "b", "-o", str(path), code=2)
    assert {*tmp_path.iterdir()} == {tmp_path / "seed.jsonl"}


def test_an_export_goes_to_a_url_when_it_is_complete(tracer: Terminal, tmp_path: Path) -> None:
    batch(tracer, tmp_path)
    tracer("export", "b", "-o", "memory://bucket/x.csv")
    with fsspec.open("memory://bucket/x.csv") as file:
        assert file.read().startswith(b"key,id,")
    tracer("export", "b", "-o", "https://user:secret@127.0.0.1:9/x.csv?sig=secret", code=2)
    assert "Cannot" in tracer.err or "cannot be written" in tracer.err
    assert "secret" not in tracer.err


def test_floats_of_results_are_floats_in_parquet(tmp_path: Path) -> None:
    table = Table("t", MetaData(), Column("x", Float), Column("n", Numeric))
    exact = Decimal("12345678901234567.5")
    row = {"key": "1", "s.result": {"x": Decimal("1.5"), "n": exact}}
    columns = {"key": (None, None), "s.x": ("s", "x"), "s.n": ("s", "n")}
    path = tmp_path / "x.parquet"
    with path.open("wb") as file:
        assert write_parquet(file, [row], columns, {"s": table}) == 1
    assert parquet.read_table(path).to_pylist() == [{"key": "1", "s.x": 1.5, "s.n": str(exact)}]

"""A workbook's sheet is read with the values that it keeps, not with those that it shows."""

import datetime as dt
import gzip
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from reconciler.contract.errors import BadInput
from tests.reconciler.operator.seeding.reading import read
from tests.reconciler.operator.seeding.test_packed import Pipe

ROWS = [
    ["Company", "Website", "Code", "Revenue", "Founded", "Listed"],
    ["Acme", "acme.com", "00123", 12_000_000.0, dt.date(1999, 5, 1), True],
    ["B", "b.com", "1.2E+07", 1.5, None, None],
]
DATE = {"default_date_format": "d mmm yy", "strings_to_formulas": False}


def book(folder: Path, sheets: Mapping[str, Sequence[Sequence[Any]]], hidden: str = "") -> Path:
    path = folder / "seed.xlsx"
    with xlsxwriter.Workbook(path, DATE) as workbook:
        for name, rows in sheets.items():
            sheet = workbook.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
            if name == hidden:
                sheet.hide()
    return path


def test_a_cell_has_the_value_that_the_workbook_keeps(tmp_path: Path) -> None:
    columns, records, rejected = read(book(tmp_path, {"Companies": ROWS, "Notes": []}))
    assert columns.mapped == {"key": "Website", "name": "Company", "domain": "Website"}
    assert [(record.line, record.key) for record in records] == [(2, "acme.com"), (3, "b.com")]
    assert list(records[0].attributes.values()) == [
        *("Acme", "acme.com", "00123", 12000000, "1999-05-01", True)
    ]
    assert list(records[1].attributes.values()) == ["B", "b.com", "1.2E+07", 1.5, None, None]
    assert rejected == []


def test_rows_before_the_header_and_empty_rows_are_passed_over(tmp_path: Path) -> None:
    rows = [["Exported from CRM"], [], *ROWS[:2], [], ROWS[2]]
    _, records, rejected = read(book(tmp_path, {"A": rows}))
    assert [record.line for record in records] == [4, 6]
    assert [(each.line, each.reason) for each in rejected] == [(5, "empty row")]
    assert read(book(tmp_path, {"A": rows}), skip_lines=2)[1] == records


def test_a_sheet_is_named_where_several_may_be_meant(tmp_path: Path) -> None:
    file = book(tmp_path, {"Leads": ROWS, "Old": ROWS[:2], "Secret": ROWS}, hidden="Secret")
    with pytest.raises(BadInput, match=r"has the sheets 'Leads', 'Old': name one with --sheet"):
        read(file)
    with pytest.raises(BadInput, match=r"no sheet 'leads'\. Did you mean 'Leads'\?"):
        read(file, sheet="leads")
    assert len(read(file, sheet="Old")[1]) == 1
    assert len(read(file, sheet="Secret")[1]) == 2


@pytest.mark.parametrize(
    ("sheets", "says"),
    [({"A": []}, "The workbook is empty"), ({"A": ROWS[:1]}, "has columns but no rows")],
)
def test_an_empty_sheet_is_refused(
    tmp_path: Path, sheets: dict[str, list[list[Any]]], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        read(book(tmp_path, sheets))


def test_a_workbook_comes_through_a_pipe_and_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = book(tmp_path, {"A": ROWS}).read_bytes()
    for given in (content, gzip.compress(content)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(given)))
        assert [record.key for record in read("-")[1]] == ["acme.com", "b.com"]


def test_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seed.xlsx"
    path.write_bytes(b"id,name\n")
    with pytest.raises(BadInput, match="This is not a readable workbook"):
        read(path)
    whole = book(tmp_path, {"A": ROWS}).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="is damaged, or not complete"):
        read(path)

"""However a CSV was written, its rows are read where it is plain what is meant, else named."""

from pathlib import Path

import pytest

from reconciler.operator.seeding.rows import Rejection
from tests.reconciler.operator.seeding.reading import read, saved

REVENUE = "Revenue (EUR, millions, 2023, est.)"


def lines(*texts: str, end: str = "\n") -> str:
    return "".join(text + end for text in texts)


@pytest.mark.parametrize(
    ("text", "columns", "cells"),
    [
        (
            lines(f'Company;Website;"{REVENUE}"', "A, B & C, GmbH;a.de;1,5"),
            ["Company", "Website", REVENUE],
            ["A, B & C, GmbH", "a.de", "1,5"],
        ),
        (
            lines("Firma, Name;Website", "Müller, AG;m.de"),
            ["Firma, Name", "Website"],
            ["Müller, AG", "m.de"],
        ),
        (lines("sep=;", "name;site,x", "A;b"), ["name", "site,x"], ["A", "b"]),
        (
            lines('"name\nof, it, all;";website;x', 'A;"a.de";1'),
            ["name\nof, it, all;", "website", "x"],
            ["A", "a.de", "1"],
        ),
        (lines("id,name|x", "1,a|b"), ["id", "name|x"], ["1", "a|b"]),
        (lines("name", "Acme"), ["name"], ["Acme"]),
    ],
    ids=["prose in the header", "one of each", "sep=", "a break in the header", "tie", "one"],
)
def test_the_delimiter_is_the_one_that_gives_rows_the_same_number_of_fields(
    tmp_path: Path, text: str, columns: list[str], cells: list[str]
) -> None:
    found, records, rejected = read(saved(tmp_path, text))
    assert found.attributes == columns
    assert [list(record.attributes.values()) for record in records] == [cells]
    assert rejected == []


@pytest.mark.parametrize(("name", "character"), [("#", "#"), ("tab", "\t"), ("Semicolon", ";")])
def test_a_delimiter_that_is_given_wins(tmp_path: Path, name: str, character: str) -> None:
    text = lines(f"id{character}a,b,c", f"1{character}x,y,z")
    columns, records, _ = read(saved(tmp_path, text), delimiter=name)
    assert (columns.attributes, records[0].key) == (["id", "a,b,c"], "1")


@pytest.mark.parametrize(
    "before",
    [
        ["Exported from CRM, by A. Person", "2024-05-01 12:00"],
        ["Exported from CRM,,,", "2024-05-01 12:00,,,"],
        ['"Exported from\nCRM"'],
        ["Exported", "", ""],
    ],
    ids=["prose", "padded", "quoted", "blank lines"],
)
def test_lines_before_the_header_are_passed_over(tmp_path: Path, before: list[str]) -> None:
    file = saved(tmp_path, lines(*before, "Company,Website,City", "A,a.com,X", "B,b.com,Y"))
    columns, records, rejected = read(file)
    skipped = sum(text.count("\n") + 1 for text in before)
    assert columns.attributes == ["Company", "Website", "City"]
    assert [(record.line, record.key) for record in records] == [
        (skipped + 2, "a.com"),
        (skipped + 3, "b.com"),
    ]
    assert rejected == []


@pytest.mark.parametrize(
    "text",
    [
        lines("id", "1,a", "2,b"),
        lines("id", "x,name", "2,b"),
        lines("a,b", "x,y", "c,d,e", "f,g,h"),
    ],
    ids=["numbers", "a known column", "no known column"],
)
def test_a_header_that_may_be_one_is_not_passed_over(tmp_path: Path, text: str) -> None:
    columns, *_ = read(saved(tmp_path, text), key=text.partition("\n")[0].partition(",")[0])
    assert columns.attributes == text.partition("\n")[0].split(",")


def test_lines_can_be_skipped_by_number(tmp_path: Path) -> None:
    file = saved(tmp_path, lines("id,old", "0,x", "id,name", "1,a"))
    columns, records, _ = read(file, skip_lines=2)
    assert (columns.attributes, records[0].line) == (["id", "name"], 4)
    assert read(file, skip_lines=0)[0].attributes == ["id", "old"]


@pytest.mark.parametrize(
    ("row", "cell"),
    [
        (r'1,"a \"b\" c",z', 'a "b" c'),
        (r'1,"a \"",z', 'a "'),
        ('1,"6" pipe",z', '6" pipe'),
        ('1,6" pipe,z', '6" pipe'),
        ('1,"a ""b"" 6" pipe",z', 'a "b" 6" pipe'),
        ('1,"Big" Company,z', '"Big" Company'),
        ('1,"never closed,z', '"never closed'),
        (r"1,C:\new,z", r"C:\new"),
        ('1,"C:\\",z', "C:\\"),
    ],
)
def test_quotes_that_are_plain_are_read(tmp_path: Path, row: str, cell: str) -> None:
    text = lines("id,note,last", "0,x,y", row, "2,x,y")
    _, records, rejected = read(saved(tmp_path, text))
    assert [(each.line, each.key) for each in records] == [(2, "0"), (3, "1"), (4, "2")]
    assert records[1].attributes == {"id": "1", "note": cell, "last": "z"}
    assert rejected == []


def test_quotes_that_are_not_plain_name_the_option(tmp_path: Path) -> None:
    rows = ('1,"Big" Company, Inc.', r'2,"say \"x\"', '3,"a", "b"')
    file = saved(tmp_path, lines("id,note", *rows))
    *_, rejected = read(file)
    assert [each.line for each in rejected] == [2, 3, 4]
    assert "see --quotes" in rejected[0].reason
    plain = saved(tmp_path, lines("id,note", '1,"Big"'))
    assert read(plain, quotes="none")[1][0].attributes == {"id": "1", "note": '"Big"'}
    told = saved(tmp_path, lines("id,note", r'1,"say \"x\""', r'2,"C:\new \\"'))
    assert [each.attributes["note"] for each in read(told, quotes="backslash")[1]] == [
        'say "x"',
        r"C:\new \\",
    ]


def test_a_row_that_is_torn_by_a_quote_is_put_together(tmp_path: Path) -> None:
    """With quotes doubled, the first row would end in the next one."""
    text = lines("id,note,last", r'1,"a \"",x', '2,"b",y')
    _, records, rejected = read(saved(tmp_path, text))
    assert [(each.line, each.attributes["note"]) for each in records] == [(2, 'a "'), (3, "b")]
    assert rejected == []


@pytest.mark.parametrize("end", ["\r\r\n", "\r\n", "\n"])
@pytest.mark.parametrize("last", ["", "\x1a"])
def test_line_ends_and_the_end_of_the_file_are_no_rows(tmp_path: Path, end: str, last: str) -> None:
    count = 6_000  # of several blocks, which end anywhere
    rows = [f"{number},{number:0200}" for number in range(count)]
    _, records, rejected = read(saved(tmp_path, lines("id,name", *rows, end=end) + last))
    assert (len(records), rejected) == (count, [])
    assert records[-1].name == f"{count - 1:0200}"


def test_a_cell_may_have_such_line_ends(tmp_path: Path) -> None:
    _, records, _ = read(saved(tmp_path, 'id,note\n1,"a\r\r\nb"\n'))
    assert records[0].attributes["note"] == "a\r\r\nb"


def test_rows_that_a_quote_has_taken_in_are_rows_again(tmp_path: Path) -> None:
    rows = ['1,"never closed,x', "2,b,y", "", '3,"c, d",z', "4,e,v", '5,f,"w', "6,g,u"]
    _, records, rejected = read(saved(tmp_path, lines("id,note,last", *rows)))
    assert [(each.line, each.key, each.attributes["note"]) for each in records] == [
        *((2, "1", '"never closed'), (3, "2", "b"), (5, "3", "c, d"), (6, "4", "e")),
        *((7, "5", "f"), (8, "6", "g")),
    ]
    assert rejected == [Rejection(4, "empty row")]


def test_numbers_are_the_text_that_the_file_has(tmp_path: Path) -> None:
    _, records, rejected = read(saved(tmp_path, lines("id,n", "00123,1.2E+07", "1.2E+07,0.10")))
    assert [(each.key, each.attributes["n"]) for each in records] == [
        ("00123", "1.2E+07"),
        ("1.2E+07", "0.10"),
    ]
    assert rejected == []


def test_a_rejection_has_what_the_file_has_there(tmp_path: Path) -> None:
    *_, rejected = read(saved(tmp_path, lines("id,note", "1,a,b", ",c", 'x,"q"r,s')))
    assert [each.row for each in rejected] == [["1", "a", "b"], ["", "c"], 'x,"q"r,s']
    assert rejected[0] == Rejection(2, "3 fields, the header has 2")

"""A seed file becomes records; nothing in it is lost without a line and a reason."""

import csv
import io
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.delimited import FIELD_LIMIT
from reconciler.operator.seeding.file import Rejection, open_seed_file
from tests.reconciler.operator.seeding.reading import read, saved


def test_a_header_with_spaces_and_other_case_maps_by_itself_and_every_column_is_kept(
    tmp_path: Path,
) -> None:
    file = saved(
        tmp_path,
        "COMPANY name,Company Website Full,Sector\n Apple Inc. ,https://www.Apple.com/,Tech\n",
    )
    columns, records, rejected = read(file)
    website = "Company Website Full"
    assert columns.mapped == {"key": website, "name": "COMPANY name", "domain": website}
    assert columns.attributes == ["COMPANY name", website, "Sector"]
    attributes = {"COMPANY name": " Apple Inc. ", website: "https://www.Apple.com/"}
    assert records == [
        (2, "apple.com", "Apple Inc.", "apple.com", {**attributes, "Sector": "Tech"})
    ]
    assert rejected == []


def test_repeated_and_empty_headers_keep_both_columns(tmp_path: Path) -> None:
    columns, records, _ = read(saved(tmp_path, "Name,Name,,Name_2\na,b,c,d\n"))
    assert columns.attributes == ["Name", "Name_3", "column_3", "Name_2"]
    assert list(records[0].attributes.values()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_delimiter_and_line_ending_is_read(
    tmp_path: Path, delimiter: str, ending: str
) -> None:
    text = ending.join([delimiter.join(["name", '"x, y"']), delimiter.join(["3M", "1"]), ""])
    columns, records, rejected = read(saved(tmp_path, text))
    assert columns.attributes == ["name", "x, y"]
    assert ([record.key for record in records], rejected) == (["3M"], [])


def test_lines_are_counted_through_quoted_newlines_and_blank_lines(tmp_path: Path) -> None:
    text = '\nid,note\n1,"two\r\nlines"\n\n2,"a ""quoted"" word"\n,\n3,\n'
    _, records, rejected = read(saved(tmp_path, text))
    assert [(record.line, record.key) for record in records] == [(3, "1"), (6, "2"), (8, "3")]
    assert records[0].attributes == {"id": "1", "note": "two\r\nlines"}
    assert records[2].attributes == {"id": "3", "note": ""}
    assert rejected == [Rejection(5, "empty row"), Rejection(7, "empty row")]


def test_rows_that_are_no_company_are_rejected_with_their_line_and_reason(tmp_path: Path) -> None:
    rows = ["id,name", "1,a,b", "2", ",c", 'x,"q"r,s', "4,\0", "5,e,,", "9" * 601 + ",f", "6,g"]
    _, records, rejected = read(saved(tmp_path, "\n".join(rows)), key="id")
    assert [(each.line, each.key) for each in records] == [(7, "5"), (9, "6")]
    assert [each.line for each in rejected] == [2, 3, 4, 5, 6, 8]
    assert [each.reason for each in rejected] == [
        "3 fields, the header has 2",
        "1 field, the header has 2",
        "no value in key column 'id'",
        "a quote inside a value, or one not closed: ',' expected after '\"'; see --quotes",
        "holds a NUL character",
        "the key in column 'id' is longer than 600 characters",
    ]


def test_a_quote_that_is_never_closed_says_which_lines_it_swallowed(tmp_path: Path) -> None:
    _, records, rejected = read(saved(tmp_path, 'id,name\n1,a\n2,"b\n3,c\n4,d\n'))
    assert [record.key for record in records] == ["1"]
    assert rejected == [
        Rejection(
            3, "a quote that opens in this row is never closed (lines 3 to 5 were read as one row)"
        )
    ]


def test_rows_after_an_endless_quote_are_read_again(tmp_path: Path) -> None:
    filler = "x" * 1023 + "\n"
    text = f'id,name\n1,"{filler * (FIELD_LIMIT // 1024 + 1)}2,b\n'
    _, records, rejected = read(saved(tmp_path, text))
    assert records[-1].key == "2"
    assert "longer than 16,777,216 characters" in rejected[0].reason


def test_two_hundred_columns_and_a_value_of_ten_megabytes_are_kept(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(199)]
    big = "é" * 5_000_000
    text = ",".join(["id", *names]) + "\n" + ",".join(["1", *names[1:], big]) + "\n"
    columns, records, _ = read(saved(tmp_path, text))
    assert len(columns.attributes) == 200
    assert records[0].attributes["c198"] == big


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path, encoding: str) -> None:
    file = saved(tmp_path, "id,name\n1,Nestlé\n".encode(encoding))
    columns, records, _ = read(file, encoding=encoding.removesuffix("-sig"))
    assert (columns.attributes, records[0].name) == (["id", "name"], "Nestlé")


@pytest.mark.parametrize(
    ("name", "encoding", "advice"),
    [
        ("Nestlé", "windows-1252", "windows-1252: add --encoding windows-1252"),
        ("Nestlé\u2019s", "windows-1252", "windows-1252: add --encoding windows-1252"),
        ("Nestlé", "utf-16", "UTF-16: add --encoding utf-16"),
        ("Nestlé", "utf-16-le", "UTF-16: add --encoding utf-16-le"),
    ],
)
def test_text_that_is_not_utf8_names_the_place_and_the_likely_encoding(
    tmp_path: Path, name: str, encoding: str, advice: str
) -> None:
    content = f"id,name\n1,a\n2,{name}\n".encode(encoding)
    file = saved(tmp_path, content)
    with pytest.raises(BadInput) as raised:
        read(file)
    assert advice in str(raised.value)
    assert str(file) in str(raised.value)
    if not encoding.startswith("utf-16"):
        assert f"0xE9 on line 3, byte offset {content.index(0xE9)}" in str(raised.value)
    assert read(file, encoding=encoding)[1][1].name == name


def test_the_place_of_a_bad_byte_is_exact_in_a_file_of_many_blocks(tmp_path: Path) -> None:
    content = b"id,name\n" + b"1,\xc3\xa9\r\n" * 100_000 + b"2,\xe9\n" + b"3,x\n" * 100_000
    with pytest.raises(BadInput, match=r"0xE9 on line 100002, byte offset 600010\)"):
        read(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("path", "options", "says"),
    [
        ("absent.csv", {}, "There is no file"),
        (".", {}, "is a directory"),
        ("a\0b.csv", {}, "is not a path"),
        ("seed.txt", {}, "does not name a format. Known are .csv"),
        ("seed.csv", {"format": "xml"}, "No format is called 'xml': use csv, tsv"),
        ("seed.csv", {"encoding": "utf-9"}, "No encoding is called 'utf-9'"),
        ("seed.csv", {"delimiter": ";;"}, "give one character, or one of tab"),
        ("seed.csv", {"quotes": "odd"}, "use doubled, backslash, none"),
        ("seed.csv", {"sheet": "A"}, "has no sheets: leave --sheet out"),
        ("seed.csv", {"skip_lines": 2}, "The file is empty"),
        ("old.csv", {}, "of an older kind: name it with --encoding"),
        ("seed.csv", {"encoding": "base64"}, "No encoding is called 'base64'"),
        ("seed.csv", {"encoding": "utf-16"}, "is not utf-16 text"),
        ("empty.csv", {}, "The file is empty"),
        ("blank.csv", {}, "The file is empty"),
        ("header.csv", {}, "has columns but no rows"),
        ("quote.csv", {}, "The header cannot be read"),
        ("nul.csv", {}, "add --encoding utf-16"),
        ("empty.jsonl", {}, "there is no line"),
        ("bad.jsonl", {}, "line 1: bad JSON at column 1"),
        ("empty.parquet", {}, "not a readable Parquet file"),
        ("zip.csv", {}, "is damaged, or not complete"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_sentence(
    tmp_path: Path, path: str, options: dict[str, str], says: str
) -> None:
    contents = {
        "seed.csv": b"id\n1\n",
        "seed.txt": b"",
        "empty.csv": b"",
        "blank.csv": b"\n \n",
        "header.csv": b"id,name\n",
        "quote.csv": b'id,"name\n1,a\n',
        "nul.csv": "id,name\n1,a\n".encode("utf-16-le"),
        "empty.jsonl": b"",
        "bad.jsonl": b"oops\n[1]\n",
        "old.csv": b"id,name\n1,caf\x8e\x8f\n",
        "empty.parquet": b"",
        "zip.csv": b"PK\x03\x04\x14\x00\xff\xfe",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=r"^[^\n]+$") as raised:
        read(tmp_path / path, **options)
    assert says in str(raised.value)


def test_a_file_many_times_the_memory_it_takes_is_streamed(tmp_path: Path) -> None:
    file = saved(tmp_path, "id,name,note\n" + f"7,A,{'x' * 4000}\n" * 10_000)
    tracemalloc.start()
    try:
        with open_seed_file(str(file), mapping={}, key=None) as seed:
            rows = sum(1 for _ in seed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 10_000
    assert peak < file.stat().st_size / 8


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3), min_size=1))
def test_every_csv_row_comes_out_as_it_went_in_or_is_reported(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["id", "name", "note"], *rows])
    content = text.getvalue().encode(errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        try:
            _, records, rejected = read("-", format="csv")
        except BadInput:
            return
    assert len(records) + len(rejected) == len(rows)
    assert all(list(each.attributes.values()) in rows for each in records)

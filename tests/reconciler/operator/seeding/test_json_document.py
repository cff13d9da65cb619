"""A JSON document with a list of companies gives the same records as JSON lines do."""

import json
from pathlib import Path

import pytest

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.file import open_seed_file
from tests.reconciler.operator.seeding.reading import read, saved

TWO = [{"id": 1, "name": "A"}, {"id": 2, "late": [1]}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(TWO),
        json.dumps(TWO, indent=2),
        json.dumps({"count": 2, "of": [1, 2], "companies": TWO}, indent=1),
        "\n".join(map(json.dumps, TWO)),
        "\ufeff\n" + json.dumps(TWO),
    ],
    ids=["list", "printed", "inside", "lines", "mark"],
)
def test_the_list_of_companies_is_found(tmp_path: Path, text: str) -> None:
    columns, records, rejected = read(saved(tmp_path, text, "seed.json"))
    assert columns.attributes == ["id", "name", "late"]
    assert [record.attributes for record in records] == TWO
    assert rejected == []


@pytest.mark.parametrize(
    ("names", "field"), [(["acme.com", "https://b.com"], "domain"), (["Acme Inc.", "B"], "name")]
)
def test_texts_are_domains_or_names(tmp_path: Path, names: list[str], field: str) -> None:
    columns, records, _ = read(saved(tmp_path, json.dumps(names), "seed.json"))
    assert columns.mapped[field] == field
    assert [record.attributes for record in records] == [{field: name} for name in names]


def test_lines_are_counted_and_what_is_no_company_is_rejected(tmp_path: Path) -> None:
    text = '[\n{"id": 1},\n 5, {"id": {}},\n\n{"id": 2}]'
    _, records, rejected = read(saved(tmp_path, text, "seed.json"))
    assert [record.line for record in records] == [2, 5]
    assert [(each.line, each.reason) for each in rejected] == [
        (3, "neither a JSON object nor a text"),
        (3, "no value that is text or a number in key column 'id'"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("oops", "This is not JSON"),
        ("[]", "No company was found: the file needs a list of companies"),
        ("[1, 2]", "No company was found"),
        ('{"a": [{}], "b": [{}]}', "has several lists"),
        ('[{"id": 1}, ', "cannot be read from line 1 on"),
        ('[{"id": 1}', "cut off, or damaged, after line 1"),
        ('[{"id": 1}\n{"id": 2}]', "cut off, or damaged, after line 1"),
        ("[" * 100_000, "cannot be read"),
        ("", "This is not JSON"),
        ("5", "No company was found"),
    ],
)
def test_what_has_no_such_list_is_one_clear_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=r"^[^\n]+$") as raised:
        read(saved(tmp_path, text, "seed.json"))
    assert says in str(raised.value)


@pytest.mark.parametrize("name", ["seed.jsonl", "seed.json"])
def test_numbers_stay_as_they_are_written(tmp_path: Path, name: str) -> None:
    line = '{"id": 12345678901234567.5, "n": [0.10, {"a": 1E+2}], "whole": 12345678901234567.0}'
    with open_seed_file(str(saved(tmp_path, line, name)), mapping={}, key=None) as seed:
        (record,) = seed
    assert not hasattr(record, "reason")
    assert (record.key, record.attributes) == ("12345678901234567.5", line)

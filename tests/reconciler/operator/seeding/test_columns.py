"""The columns of a seed file are found by their names, or as the caller says."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.columns import map_columns, unique_names


@pytest.mark.parametrize(
    ("header", "mapped"),
    [
        (["id", "name", "url"], {"key": "id", "name": "name", "domain": "url"}),
        (["Account Name", "Web Site"], {"name": "Account Name", "domain": "Web Site"}),
        (["organization_name", "homepage"], {"name": "organization_name", "domain": "homepage"}),
        (["CompanyName", "CompanyDomain"], {"name": "CompanyName", "domain": "CompanyDomain"}),
        (["Legal Name", "External ID"], {"key": "External ID", "name": "Legal Name"}),
        (["Company", "LinkedIn URL", "Website Traffic"], {"name": "Company"}),
        (["Name", "Company Name", "Company ID"], {"key": "Company ID", "name": "Company Name"}),
    ],
)
def test_columns_are_recognised_by_their_names(header: list[str], mapped: dict[str, str]) -> None:
    found = map_columns(header, {}, None)
    tried = [mapped[field] for field in ("key", "domain", "name") if field in mapped]
    assert found.keys == tried
    assert found.mapped == {"key": tried[0], **mapped}


def test_what_the_caller_says_wins_and_one_column_may_serve_twice() -> None:
    names = ["id", "Name", "Ticker Symbol"]
    columns = map_columns(names, {"name": "ticker symbol"}, "TICKER SYMBOL")
    assert columns.mapped == {"key": "Ticker Symbol", "name": "Ticker Symbol"}


@pytest.mark.parametrize(
    ("mapping", "key", "says"),
    [
        ({"name": "Securty"}, None, "no column 'Securty'. Nearest: 'Security'"),
        ({}, "zzz", "no column 'zzz'. The columns are 'Security', 'A b', 'a_B'"),
        ({"nmae": "Security"}, None, "No field is called 'nmae'"),
        ({"key": "Security"}, "A b", "given twice"),
        ({}, "AB", "may be any of 'A b', 'a_B'"),
        ({}, None, "--key COLUMN"),
    ],
)
def test_a_column_that_cannot_be_found_is_one_clear_sentence(
    mapping: dict[str, str], key: str | None, says: str
) -> None:
    with pytest.raises(BadInput, match=r"^[^\n]+$") as raised:
        map_columns(["Security", "A b", "a_B"], mapping, key)
    assert says in str(raised.value)


@given(st.lists(st.sampled_from(["", " ", "a", "a_2", "a_3", "column_1", "column_2", "b "])))
def test_column_names_are_unique_whatever_the_header(header: list[str]) -> None:
    names = unique_names(header)
    assert len(names) == len(header) == len(set(names))
    assert all(names)


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("CIK", ["CIK"]),
        ("cik, Website ,CIK", ["CIK", "Website"]),
        ("Revenue (EUR, millions)", ["Revenue (EUR, millions)"]),
        ("revenue (eur,millions)", ["Revenue (EUR, millions)"]),
        ("Website,", ["Website"]),
        ("C,IK", ["C", "IK"]),
    ],
)
def test_several_columns_may_be_the_key_and_a_column_may_have_commas_in_its_name(
    key: str, keys: list[str]
) -> None:
    names = ["Name", "Website", "CIK", "C", "IK", "Revenue (EUR, millions)"]
    found = map_columns(names, {}, key)
    assert (found.keys, found.mapped["key"]) == (keys, keys[0])


def test_eighty_thousand_columns_take_no_time_whatever_their_names() -> None:
    """Each of these took from 30 s to minutes when names were looked for in a list."""
    for header in (
        [f"column {number}" for number in range(80_000)],
        ["x"] * 80_000,
        [""] * 80_000,
    ):
        started = time.process_time()
        names = unique_names(header)
        assert len(set(names)) == 80_000
        map_columns(names, {}, names[-1])
        assert time.process_time() - started < 5

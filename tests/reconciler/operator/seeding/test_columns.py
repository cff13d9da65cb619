"""The columns of a seed file are found by their names, or as the caller says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.columns import host_of, map_columns, unique_names


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
    found = map_columns(header, {}, None).mapped
    stand_in = mapped.get("domain") or mapped.get("name")
    assert found == {"key": stand_in, **mapped}


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


@given(st.text())
def test_the_host_of_a_host_is_itself(text: str) -> None:
    host = host_of(text)
    assert host is None or host_of(host) in (host, host.removeprefix("www."))

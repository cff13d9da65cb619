"""In which forms a secret is found."""

import json
from html import escape

import pytest
from yarl import URL

from reconciler.contract import secrets
from reconciler.contract.secrets import masked, masked_values, remember

KEY = 'aB/c+d==\\"é'


@pytest.fixture(autouse=True)
def _nothing_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_read", set())


@pytest.mark.parametrize(
    "text",
    [
        str(URL("http://api/").with_query(key=KEY)),  # aiohttp's errors have the URL
        str(URL("http://api/") / f"v1 {KEY}"),
        repr([KEY]),
        json.dumps(KEY),
        json.dumps(KEY, ensure_ascii=False),
        escape(KEY),
    ],
)
def test_a_secret_is_found_as_libraries_write_it(text: str) -> None:
    remember(KEY)
    assert "***" in masked(text)
    assert "aB" not in masked(text)


def test_numbers_are_not_masked_so_that_json_stays_json() -> None:
    remember("123456")
    found = {"company_id": 1234567, "of": {"x 123456": ["a 123456", 123456, None]}}
    hidden = {"company_id": 1234567, "of": {"x ***": ["a ***", 123456, None]}}
    assert masked_values(found) == hidden

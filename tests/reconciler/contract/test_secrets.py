"""In which forms a secret is found."""

import json
import logging
from html import escape

import pytest
from yarl import URL

from reconciler.contract import secrets
from reconciler.contract.results import Company
from reconciler.contract.secrets import Masking, masked, masked_values, redacted, remember
from reconciler.spawners.protocol import Refused
from tests.world import World, doing
from workers.steps.normalize import Normalized

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


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("GET https://a.com/x?key=K-1&y=2: 500", "GET https://a.com/x?***: 500"),
        ("403, url='https://a.com/x?key=K-1'", "403, url='https://a.com/x?***'"),
        ("url: /v1/x?api_key=K-1 (Caused by", "url: /v1/x?*** (Caused by"),
        ("(see https://a.com/?K-1).", "(see https://a.com/?***)."),
        ("https://a.com/x?k=K'1)K-1 failed", "https://a.com/x?*** failed"),
        ('{"url": "http://a.com?k=K-1"}', '{"url": "http://a.com?***"}'),
        ("https://me:K-1@a.com/x failed", "https://***@a.com/x failed"),
        ("postgresql://me:K-1@h/db", "postgresql://***@h/db"),
        ("two: a.com?k=K-1 b.com?k=K-1", "two: a.com?*** b.com?***"),
        ("is it so? a=b", "is it so? a=b"),
        ("what? https://a.com/x", "what? https://a.com/x"),
        ("me@a.com said no", "me@a.com said no"),
    ],
)
def test_an_error_names_no_query_and_no_password(text: str, kept: str) -> None:
    assert redacted(text) == kept


def test_an_error_is_kept_and_logged_without_its_query(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(Masking())
    world.claimed(1)

    def function(_: Company) -> Normalized:
        logging.getLogger("of a step").warning("asks %s", "https://a.com/x?key=K-1234567")
        raise ValueError("403, url='https://a.com/x?key=K-1234567'")

    world.work(doing(function))
    assert world.rows()[0]["error"] == "ValueError: 403, url='https://a.com/x?***'"
    assert "asks https://a.com/x?***" in caplog.text
    assert "K-1234567" not in caplog.text


def test_a_refused_call_is_kept_without_its_query(world: World) -> None:
    world.seed(1)
    world.spawner.answer = Refused("POST https://a.com/x?key=K-1234567: 500")
    world.tick()
    assert "K-1234567" not in json.dumps(world.rows(), default=str)
    assert "K-1234567" not in json.dumps(world.sql("SELECT * FROM throttles"), default=str)

"""DATABASE_URL as other programs write it is read, or what is wrong with it is named."""

import logging

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from reconciler.contract.database import connect
from reconciler.contract.database_url import FOREIGN, _say_left_out, libpq_url, location
from reconciler.contract.errors import BadInput
from tests.terminal import Terminal

URL = "postgresql://u:p@h:6543/d"


@pytest.fixture(autouse=True)
def _said_anew() -> None:
    _say_left_out.cache_clear()


@pytest.mark.parametrize(
    ("query", "kept", "said"),
    [
        ("pgbouncer=true&connection_limit=1", "", "pgbouncer, connection_limit are for another"),
        ("schema=public", "", "schema is for another program, and left out here."),
        (
            "schema=public&sslmode=require&pool_timeout=0",
            "?sslmode=require",
            "schema, pool_timeout",
        ),
        ("sslmode=require&options=-c%20a%3Db", "?sslmode=require&options=-c%20a%3Db", ""),
    ],
)
def test_parameters_of_other_programs_are_left_out_with_a_word(
    caplog: pytest.LogCaptureFixture, query: str, kept: str, said: str
) -> None:
    for _ in range(2):
        assert libpq_url(f"{URL}?{query}") == f"{URL}{kept}"
    assert location(f"{URL}?{query}") == "database d at h:6543"
    assert [said in record.message for record in caplog.records] == [True] * bool(said)


def test_all_that_are_known_are_refused_by_libpq_itself() -> None:
    """Else they would be of use to it."""
    for name in FOREIGN:
        with pytest.raises(psycopg.ProgrammingError, match=name):
            conninfo_to_dict(f"host=h {name}=1")


def test_a_parameter_that_nobody_knows_is_named() -> None:
    with pytest.raises(BadInput, match=r"Postgres does not know: take sslmod out\."):
        location(f"{URL}?sslmod=require")


@pytest.mark.parametrize("name", ["schema", "currentSchema", "search_path"])
def test_another_schema_is_not_left_out_in_silence(name: str) -> None:
    with pytest.raises(BadInput, match=f"has {name}=sales, .* SET search_path = sales"):
        libpq_url(f"{URL}?{name}=sales")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f'"{URL}"', 'begins with a quote (")'),
        (f"'{URL}'", "begins with a quote (')"),
        (f'{URL}"', 'ends with a quote (")'),
        (f" {URL}", "begins with a space"),
        (f"\t{URL}", "begins with the character U+0009"),
        (f"\ufeff{URL}", "begins with a zero width no-break space"),
        (f"\u00a0{URL}", "begins with a no-break space"),
        (f"{URL}\n", "ends with a line break"),
        (f"{URL}\r\n", "ends with a line break"),
        (f"{URL} ", "ends with a space"),
    ],
)
def test_a_character_that_does_not_belong_there_is_named(
    tracer: Terminal, monkeypatch: pytest.MonkeyPatch, url: str, says: str
) -> None:
    with pytest.raises(BadInput) as raised:
        connect(url)
    assert says in str(raised.value)
    monkeypatch.setenv("DATABASE_URL", url)
    tracer("batches", code=2)
    assert f"DATABASE_URL {says}" in " ".join(tracer.err.split())


def test_a_connection_string_may_end_with_a_quote() -> None:
    assert location("host=h dbname='a b'") == "database a b at h:5432"


def test_the_url_that_is_printed_is_one_for_psql(
    tracer: Terminal, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{url}&pgbouncer=true")
    with caplog.at_level(logging.WARNING):
        assert tracer("db", "url") == f"{url}\n"
        tracer("batches")
    assert len(caplog.records) == 1

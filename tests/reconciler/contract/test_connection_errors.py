"""A database that does not let one in says why, and the advice fits that."""

import re

import psycopg
import pytest

from reconciler.contract.connection_errors import refusal
from reconciler.contract.database import connect
from reconciler.contract.errors import Unreachable
from tests.roles import as_role

REFUSED = {
    'FATAL:  password authentication failed for user "bob"': "Check user and password in ",
    "fe_sendauth: no password supplied": "Check user and password in DATABASE_URL",
    'FATAL:  role "bob" does not exist': "Check user and password in DATABASE_URL",
    'FATAL:  database "a b" does not exist': "or create it. | createdb 'a b'",
    'FATAL:  no pg_hba.conf entry for host "10.0.0.1", no encryption': "or add sslmode=require",
    "FATAL:  sorry, too many clients already": "raise max_connections",
    "FATAL:  the database system is starting up": "Wait a moment and run the command again",
    'FATAL:  invalid value for parameter "TimeZone": "X"': "or in the environment: PGTZ",
    "FATAL:  der Server mag nicht": "The server answers: check user, password and database",
    'could not translate host name "nowhere" to address: unknown': "Check the host in",
    'server certificate for "a" does not match host name "b"': "sslrootcert",
    "Connection refused": "Start it, or set DATABASE_URL",
    "timeout expired": "Start it, or set DATABASE_URL",
}


@pytest.mark.parametrize(("reason", "advice"), REFUSED.items())
def test_advice_fits_the_reason(reason: str, advice: str) -> None:
    where = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '
    says, fix = refusal(psycopg.OperationalError(f"{where}{reason}\nIs it running?"))
    said = f"{says} | {fix}" if fix else says
    assert advice in said
    assert said.startswith(reason.replace("FATAL:  ", ""))
    assert ("Start it" in said) == ("Start it" in advice)


def test_a_server_that_answers_is_not_to_be_started(url: str) -> None:
    with pytest.raises(Unreachable, match=r'"nobody" does not exist\. Check user and password'):
        connect(as_role(url, "nobody"))
    with pytest.raises(
        Unreachable, match=r'"gone" does not exist\. .*, or create it: run `createdb gone`'
    ):
        connect(re.sub(r"/test_\d+", "/gone", url))

"""The operator's question why a row is where it is."""

from dataclasses import replace

from reconciler.contract.claimed import LIMIT
from reconciler.contract.database import Connection, Database
from reconciler.operator.batch import BatchView, no_company
from reconciler.operator.diagnosis.row_facts import COUNTED, Facts, Turn
from reconciler.operator.diagnosis.rules.pending import waits_for_its_turn
from reconciler.operator.sql.diagnosis import EXPLAIN, SNAPSHOT, TURN


class Explaining(Database):
    """What the database knows of one row."""

    def facts(self, batch: BatchView, key: str) -> Facts:
        """All that can explain where a company is in the batch.

        Raises:
            BadInput: the batch has no such company.
        """
        with self.transaction() as connection:
            connection.execute(SNAPSHOT)
            found = connection.execute(EXPLAIN, {"batch_id": batch.id, "key": key}).fetchone()
            if found:
                facts = Facts(**found)
                waits = waits_for_its_turn(facts)
                return replace(facts, turn=_turn(connection, facts)) if waits else facts
        raise no_company(self, batch, key)


def _turn(connection: Connection, facts: Facts) -> Turn:
    names = ("batch_id", "step", "company_id", "available_at", "priority", "now")
    values = {name: getattr(facts, name) for name in names}
    row = connection.execute(TURN, values | {"limit": LIMIT, "counted": COUNTED}).fetchone()
    assert row is not None  # it has no condition
    return Turn(**row)

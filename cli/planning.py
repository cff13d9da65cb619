"""The database that a plan reads."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.render import say
from reconciler.contract.settings import load_settings
from reconciler.operator.connect import has_database, operator
from reconciler.operator.store import OperatorStore
from reconciler.schema.scratch import scratch_database
from workers.runtime.loading import load_steps

NOTHING_KNOWN = "so every company is new, and there is no cap. Prices are those in the steps' code."


@contextmanager
def planner() -> Iterator[OperatorStore]:
    """A store for a plan. Where there is no database yet, none is made: it has a temporary one.

    Raises:
        Unreachable: no database answers.
        BadInput: its schema is missing, older or newer.
    """
    settings = load_settings()
    if has_database(settings):
        with operator() as store:
            yield store
        return
    say(f"There is no Tracer database in {settings.home}, {NOTHING_KNOWN}")
    steps = load_steps(on_fault=lambda fault: say(str(fault)))
    with scratch_database(steps) as (_, url), OperatorStore.connect(url) as store:
        yield store

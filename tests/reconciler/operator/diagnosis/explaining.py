"""The words in which tests ask why a row is where it is."""

import json
from typing import Any

from reconciler.operator.diagnosis.explain import explain, read_row
from reconciler.operator.diagnosis.reason import Reason
from reconciler.operator.diagnosis.row_facts import RowFacts
from tests.terminal import Terminal
from tests.world import World


def facts(world: World, key: str = "company-0", batch: str = "batch") -> RowFacts:
    return read_row(world.operator, world.operator.batch(batch), key)


def reason(world: World, key: str = "company-0", batch: str = "batch") -> Reason:
    return explain(facts(world, key, batch))


def told(tracer: Terminal, batch: str = "batch", company: str = "company-0") -> dict[str, Any]:
    """What the command line says to a program."""
    found: dict[str, Any] = json.loads(tracer("explain", "--json", "--", batch, company))
    return found

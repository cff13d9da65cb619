"""The words in which tests ask why a row is where it is."""

from reconciler.contract.explain import explain
from reconciler.contract.facts import Facts, Reason
from tests.world import World


def facts(world: World, key: str = "company-0", batch: str = "batch") -> Facts:
    return world.operator.facts(world.operator.batch(batch), key)


def reason(world: World, key: str = "company-0", batch: str = "batch") -> Reason:
    return explain(facts(world, key, batch))

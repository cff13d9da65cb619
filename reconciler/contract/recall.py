"""What may be done about a call whose answer never came."""

from enum import StrEnum


class Recall(StrEnum):
    """`enrichment_registry.recall`."""

    KEY = "key"  # the provider knows the key again, so the call is repeated
    LOOKUP = "lookup"  # the step's `lookup` asks the provider whether the order has arrived
    NONE = "none"  # nothing: a person decides whether to pay again
    AGAIN = "again"  # the step calls without `paid`: at least once, as if it had no price

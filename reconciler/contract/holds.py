"""Why a step is held: it is at fault for every company, so none of them is tried."""

from dataclasses import dataclass
from enum import StrEnum


class HoldKind(StrEnum):
    """What has to be mended before the step goes on; `holds.kind`."""

    TABLE = "table"  # its table, or one that it reads, is missing or differs from its class
    GRANT = "grant"  # the workers' role may not read or write it
    SECRET = "secret"  # a secret that it needs is not set
    FAILURES = "failures"  # many companies in a row have failed alike


@dataclass(frozen=True)
class Hold:
    """A step is held: no row of it is claimed or begun until somebody lets it go on."""

    kind: HoldKind
    reason: str

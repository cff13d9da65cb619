"""Why a step is held: it is at fault for every company, so none of them is tried."""

from dataclasses import dataclass
from enum import StrEnum


class HoldKind(StrEnum):
    """What has to be mended before the step goes on; `holds.kind`."""

    TABLE = "table"  # its table, or one that it reads, is missing or differs from its class
    GRANT = "grant"  # the workers' role may not read or write it
    SECRET = "secret"  # a secret that it needs is not set
    FAILURES = "failures"  # many companies in a row have failed alike
    IMPORT = "import"  # its workers cannot import its file, or find what it takes


@dataclass(frozen=True)
class Hold:
    """A step is held: no row of it is claimed or begun until somebody lets it go on."""

    kind: HoldKind
    reason: str


@dataclass(frozen=True)
class Unloaded:
    """A file that cannot be imported, or one step that no worker could call; `says` is why.

    `module` is the file's name; without a `step`, all steps of it are meant, and of its folder.
    """

    says: str
    module: str
    step: str | None = None

    def __str__(self) -> str:
        return self.says

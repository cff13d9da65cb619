"""Two tiers: of what `make proof` enumerates, `make test` runs some telling cases."""

from collections.abc import Iterable
from typing import Any

import pytest


def all_but(kept: Iterable[str], cases: Iterable[str]) -> list[Any]:
    """The cases as parameters of a test; those that are not `kept` are left to `make proof`."""
    marks = {True: (), False: pytest.mark.proof}
    return [pytest.param(case, marks=marks[case in kept]) for case in cases]

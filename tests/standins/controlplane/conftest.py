"""What the tests of the stand-in share."""

import modal
import pytest

from tests.standins.controlplane.client import Deployed
from tests.standins.controlplane.plane import ControlPlane


@pytest.fixture
def function(plane: ControlPlane) -> Deployed:  # noqa: ARG001 - there it was deployed
    """A handle that was not used yet."""
    return modal.Function.from_name("tracer", "normalize")

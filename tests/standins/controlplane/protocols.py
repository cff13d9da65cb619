"""What a control plane is given from outside: who executes what waits, and how it is reached."""

from typing import TYPE_CHECKING, Protocol

from tests.standins.controlplane.deployed import DeployedFunction

if TYPE_CHECKING:
    from tests.standins.controlplane.plane import ControlPlane


class Runner(Protocol):
    """What executes the inputs that wait. All methods are called on the plane's loop."""

    async def start(self, plane: "ControlPlane") -> None:
        """Begin to take inputs."""

    async def stop(self) -> None:
        """End every worker; what they had is waiting again."""

    def workers(self, function: DeployedFunction, /) -> int:
        """How many workers the function has now."""


class Port(Protocol):
    """Where the plane is reached. On the plane's loop."""

    async def open(self) -> str:
        """Be reachable; the URL, the same every time."""

    async def close(self) -> None:
        """Cut every connection and accept none."""

"""Chooses the spawner by the settings."""

from collections.abc import Callable

from reconciler.contract.settings import Settings, workers_socket
from reconciler.spawners.protocol import Spawner


def make_spawner(settings: Settings, no_host: Callable[[], None] = lambda: None) -> Spawner:
    """The spawner that `TRACER_WORKERS` names; only its libraries are imported.

    `no_host`: see `LocalSpawner`.
    """
    if settings.workers == "modal":
        from reconciler.spawners.modal import ModalSpawner

        return ModalSpawner(settings.spawn_timeout_s)
    from reconciler.spawners.local import LocalSpawner

    return LocalSpawner(workers_socket(settings.home), settings.spawn_timeout_s, no_host)

"""Chooses the spawner by the settings."""

from reconciler.contract.settings import Settings, workers_socket
from reconciler.spawners.protocol import Spawner


def make_spawner(settings: Settings) -> Spawner:
    """The spawner that `TRACER_WORKERS` names; only its libraries are imported."""
    if settings.workers == "modal":
        from reconciler.spawners.modal import ModalSpawner

        return ModalSpawner(settings.spawn_timeout_s)
    from reconciler.spawners.local import LocalSpawner

    return LocalSpawner(workers_socket(settings.home), settings.spawn_timeout_s)

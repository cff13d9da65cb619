"""Which spawner the settings ask for."""

from reconciler.contract.settings import Settings, workers_socket
from reconciler.spawners.protocol import Spawner


def make_spawner(settings: Settings) -> Spawner:
    """The spawner of `TRACER_WORKERS`; only the chosen one's libraries are imported."""
    if settings.workers == "modal":
        from reconciler.spawners.modal import ModalSpawner

        return ModalSpawner(settings.spawn_timeout_s)
    from reconciler.spawners.local import LocalSpawner

    return LocalSpawner(workers_socket(settings.home), settings.spawn_timeout_s)

"""Prefect's work pool, where the runs of the loop wait for a Prefect worker."""

from typing import Any

from reconciler.prefect.api import Api

POOL = "tracer"  # prefect.yaml names it too


def read_pool(api: Api, deployment: dict[str, Any] | None, usual: str) -> dict[str, Any]:
    """The deployment's work pool and queue, as fields of `Schedule`: paused, full, no worker.

    `pool` and `queue` are names, None if the deployment has lost them. `pool_online`: whether a
    worker polls the pool, None if there is no such pool. Without a deployment, or if it has lost
    its pool, that is about the `usual` pool, which a deploy names. A limit is a number of runs at
    the same time.
    """
    name = deployment["work_pool_name"] if deployment else usual
    queue = deployment["work_queue_name"] if deployment else None
    pool = _find(api, f"work_pools/{name or usual}")
    waiting = _find(api, f"work_pools/{name}/queues/{queue}") if pool and name and queue else {}
    return {
        "pool": name,
        "pool_online": _online(api, name or usual) if pool else None,
        "pool_paused": bool(pool.get("is_paused")),
        "pool_limit": pool.get("concurrency_limit"),
        "queue": queue,
        "queue_paused": bool(waiting.get("is_paused")),
        "queue_limit": waiting.get("concurrency_limit"),
    }


def _find(api: Api, path: str) -> dict[str, Any]:
    """The object at `path`, {} if there is none."""
    try:
        found: dict[str, Any] = api.call("GET", path)
    except LookupError:
        return {}
    return found


def _online(api: Api, pool: str) -> bool:
    wanted = {"workers": {"status": {"any_": ["ONLINE"]}}}
    return bool(api.call("POST", f"work_pools/{pool}/workers/filter", wanted))

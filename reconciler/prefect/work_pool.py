"""Prefect's work pool, where the runs of the loop wait for a worker."""

from typing import Any

from reconciler.prefect.api import Api


def read_pool(api: Api, deployment: dict[str, Any] | None, usual: str) -> dict[str, Any]:
    """What can keep the deployment's runs waiting, by the names that `Schedule` has for it.

    `pool` and `queue` are None where the deployment has lost them; then, and where there is no
    deployment, `pool_online` is of the `usual` pool, which a deploy names. It says whether a worker
    asks the pool for runs, None where there is no such pool. A limit is of runs at once.
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
    """What is there; nothing where there is no such thing."""
    try:
        found: dict[str, Any] = api.call("GET", path)
    except LookupError:
        return {}
    return found


def _online(api: Api, pool: str) -> bool:
    wanted = {"workers": {"status": {"any_": ["ONLINE"]}}}
    return bool(api.call("POST", f"work_pools/{pool}/workers/filter", wanted))

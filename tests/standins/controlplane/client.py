"""Points Modal's client, which this process has one of, at a control plane."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import modal
from modal.client import _Client

from tests.standins.controlplane.plane import ControlPlane

Deployed: TypeAlias = modal.Function[..., Any, Any]  # a handle, as `from_name` returns it


@contextmanager
def use(plane: ControlPlane) -> Iterator[None]:
    """Within the block, everything that asks Modal asks this plane.

    Handles from before the block keep speaking to where they were looked up, and those from
    within it are dead after it: look functions up anew.
    """
    with environment(plane.environment()):
        yield


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Within the block, Modal's client is a new one, made from these variables.

    `os.environ` and the client that was there come back afterwards.
    """
    before = {name: os.environ.get(name) for name in values}
    cached = _Client._client_from_env
    os.environ.update(values)
    _Client._set_env_client(None)
    _Client._client_from_env_lock = None  # an attempt that found nobody may hold it for a minute
    try:
        yield
    finally:
        if _Client._client_from_env:
            modal.Client.from_env().close()
        _Client._set_env_client(cached)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

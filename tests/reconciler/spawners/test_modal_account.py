"""Modal's account, asked for with the real client: what a Modal that is away leaves behind."""

import asyncio
import gc
import weakref
from contextlib import closing
from threading import Event
from typing import Any

import modal
import pytest
from modal._utils import grpc_utils
from modal._utils.async_utils import retry

from reconciler.contract.errors import Unreachable
from reconciler.spawners.modal import ModalSpawner
from reconciler.spawners.modal_account import check_account
from reconciler.spawners.protocol import Refused
from tests.standins.controlplane.client import environment
from tests.standins.controlplane.faults import dead_url
from tests.world import chunk_of

ACCOUNT = {"MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x"}


def test_a_connect_that_fails_after_its_caller_has_gone_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client would try 18 times, for a minute. Here it tries twice, in a second."""
    connect, gone = grpc_utils.create_channel_with_fallbacks.__wrapped__, Event()
    twice = retry(n_attempts=2, base_delay=1.0)(connect)

    async def watched(*given: Any, **named: Any) -> Any:
        weakref.finalize(asyncio.current_task(), gone.set)
        return await twice(*given, **named)

    monkeypatch.setattr(grpc_utils, "create_channel_with_fallbacks", watched)
    with environment({"MODAL_SERVER_URL": dead_url(), **ACCOUNT}):
        with pytest.raises(Unreachable, match="Modal does not answer"):
            check_account(timeout_s=0.5)
        while not gone.wait(0.1):
            gc.collect()
    gc.collect()
    assert caplog.text == ""


def test_the_fault_of_any_other_task_is_still_said(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(error: Exception) -> None:
        raise error

    async def forgotten() -> None:
        for error in (ValueError("a step's"), modal.exception.Error("not Modal's client's own")):
            task = asyncio.ensure_future(fails(error))
            await asyncio.wait([task])

    asyncio.run(forgotten())
    gc.collect()
    assert "a step's" in caplog.text
    assert "not Modal's client's own" in caplog.text


def test_without_a_token_a_call_is_refused_and_says_what_to_set() -> None:
    with (
        environment(dict.fromkeys(ACCOUNT, "")),
        closing(ModalSpawner()) as spawner,
    ):
        (outcome,) = spawner.spawn([chunk_of()])
    says = "There is no Modal token. Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or make one"
    assert outcome == Refused(says)

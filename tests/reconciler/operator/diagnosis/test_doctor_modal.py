"""`tracer doctor` where workers are Modal's: each part broken on purpose, one at a time."""

import time
from typing import Any

import pytest

from reconciler.operator.diagnosis.reason import Code
from tests.standins.controlplane.client import environment
from tests.standins.controlplane.faults import dead_url, silent_server
from tests.standins.controlplane.plane import ControlPlane
from tests.terminal import Terminal
from tests.world import World

PARTS = ("modal", "app", "functions")
CODES = {
    *(Code.MODAL_UNREACHABLE, Code.MODAL_REFUSES, Code.MODAL_APP_DIFFERS, Code.MODAL_APP_MISSING),
    *(Code.FUNCTION_NOT_DEPLOYED, Code.FUNCTION_NOT_REGISTERED),
}


@pytest.fixture(autouse=True)
def on_modal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER_WORKERS", "modal")
    monkeypatch.setenv("TRACER_SPAWN_TIMEOUT_S", "1")


def findings(tracer: Terminal) -> dict[str, dict[str, Any]]:
    found = {finding["part"]: finding for finding in tracer.json("doctor", code=1)}
    return {part: found[part] for part in PARTS if part in found}


@pytest.mark.usefixtures("plane")
def test_all_is_well(tracer: Terminal) -> None:
    found = findings(tracer)
    assert [finding["ok"] for finding in found.values()] == [True] * 3
    assert "token accepted" in found["modal"]["says"]
    assert found["app"]["says"] == "deployed: tracer"
    assert found["functions"]["says"] == "3 deployed, as in the registry"


@pytest.mark.parametrize("away", ["unreachable", "silent"])
def test_a_modal_that_does_not_answer(tracer: Terminal, away: str) -> None:
    with silent_server() as silent:
        url = dead_url() if away == "unreachable" else silent
        account = {"MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x"}
        with environment({"MODAL_SERVER_URL": url, **account}):
            found = findings(tracer)
    assert list(found) == ["modal"]
    assert not found["modal"]["ok"]
    assert found["modal"]["code"] == Code.MODAL_UNREACHABLE
    assert found["modal"]["says"].startswith(f"Modal does not answer at {url} (")


def test_a_token_that_is_not_accepted(tracer: Terminal, plane: ControlPlane) -> None:
    with environment({**plane.environment(), "MODAL_TOKEN_SECRET": "as-wrong"}):
        found = findings(tracer)
    assert list(found) == ["modal"]
    assert "does not accept the token" in found["modal"]["says"]
    assert found["modal"]["fix"] == "modal token new"
    assert found["modal"]["code"] == Code.MODAL_REFUSES
    assert "as-wrong" not in str(found)


def test_no_token_at_all(tracer: Terminal, plane: ControlPlane) -> None:
    account = {"MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": ""}
    with environment({**plane.environment(), **account}):
        found = findings(tracer)
        tracer("modal", "deploy", code=2)
    assert found["modal"]["says"].startswith("There is no Modal token. Set MODAL_TOKEN_ID and ")
    assert found["modal"]["fix"] == "modal token new"
    assert found["modal"]["code"] == Code.MODAL_REFUSES
    says = "There is no Modal token. Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or make one: run"
    assert says in " ".join(tracer.err.split())


@pytest.mark.usefixtures("plane")
def test_an_app_that_is_not_deployed(
    tracer: Terminal, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sql("UPDATE enrichment_registry SET app_name = 'tracer-staging'")
    found = findings(tracer)["app"]
    assert found["code"] == Code.MODAL_APP_DIFFERS
    assert found["says"] == (
        "The registry has tracer-staging, and TRACER_MODAL_APP here is tracer: change the "
        "setting, or write it to the registry"
    )
    assert found["fix"] == "tracer steps sync"
    monkeypatch.setenv("TRACER_MODAL_APP", "tracer-staging")
    found = findings(tracer)
    assert list(found) == ["modal", "app"]
    assert found["app"]["says"].startswith("The app 'tracer-staging' is not deployed")
    assert found["app"]["fix"] == "tracer modal deploy"
    assert found["app"]["code"] == Code.MODAL_APP_MISSING


@pytest.mark.usefixtures("plane")
def test_a_registered_function_that_is_not_deployed(tracer: Terminal, world: World) -> None:
    world.sql(
        "INSERT INTO enrichment_registry (step_name, app_name, function_name)"
        " VALUES ('headcount', 'tracer', 'headcount')"
    )
    found = findings(tracer)["functions"]
    assert found["says"] == "Not deployed: headcount (app tracer)"
    assert found["code"] == Code.FUNCTION_NOT_DEPLOYED
    assert found["fix"] == "tracer steps sync && tracer modal deploy"


@pytest.mark.usefixtures("plane")
def test_a_deployed_function_that_is_not_registered(tracer: Terminal, world: World) -> None:
    world.sql("DELETE FROM enrichment_registry WHERE step_name = 'step_b'")
    found = findings(tracer)["functions"]
    assert found["says"].startswith("Deployed, and not in the registry: step_b (app tracer); ")
    assert found["code"] == Code.FUNCTION_NOT_REGISTERED
    assert found["fix"] == "tracer steps sync"


def test_an_app_that_was_stopped(
    tracer: Terminal, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(tracer)["app"]["ok"]
    monkeypatch.setattr(plane.apps["tracer"], "stopped_at", time.time())
    monkeypatch.delitem(plane.apps, "tracer")
    assert not findings(tracer)["app"]["ok"]

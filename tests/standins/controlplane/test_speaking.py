"""The stand-in for Modal's servers, as the real client and the real command see it."""

import tomllib
from importlib.metadata import version

import modal
import pytest
from modal.exception import AuthError, ConflictError, NotFoundError

from tests.standins.controlplane.client import Deployed, environment, use
from tests.standins.controlplane.plane import ControlPlane
from tests.standins.controlplane.server import serve
from tests.standins.controlplane.terminal import ROOT, deploy
from tests.standins.controlplane.terminal import modal as command
from tests.standins.controlplane.version import SPEAKS
from tests.world import STEPS


def test_the_version_that_is_spoken_is_the_one_that_is_pinned_and_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pinned,) = [line for line in project["dependencies"] if line.startswith("modal")]
    advice = (
        "The pin of modal moved. Run tests/standins/controlplane with the new version; where an "
        "RPC or a field changed, follow it there; then set SPEAKS in "
        "tests/standins/controlplane/version.py."
    )
    assert (pinned, version("modal")) == (f"modal=={SPEAKS}", SPEAKS), advice


def test_the_real_command_deploys_every_step(plane: ControlPlane) -> None:
    app = plane.apps["tracer"]
    assert set(app.functions) == set(STEPS)
    assert plane.secrets == {"tracer-database": {"DATABASE_URL": "postgresql://unused"}}
    definition = app.functions["normalize"].definition
    assert (definition.module_name, definition.implementation_name) == (
        "workers.app",
        "call_normalize",
    )
    paths = {str(path) for path, _ in plane.uploads.files(definition)}
    assert {"workers/app.py", "reconciler/contract/worker_store.py"} <= paths
    assert not plane.missing


def test_a_second_deploy_replaces_the_first(plane: ControlPlane) -> None:
    before, number = plane.apps["tracer"].functions["normalize"], plane.apps["tracer"].version
    plane.apps["tracer"].publish([("normalize", before.function_id), ("gone", "fu-gone")])
    deploy(plane, "-m", "workers.app")
    app = plane.apps["tracer"]
    assert app.version == number + 2
    assert set(app.functions) == set(STEPS)
    assert app.functions["normalize"].function_id == before.function_id


def test_a_secret_is_created_once_and_must_have_the_keys(plane: ControlPlane) -> None:
    again = command(plane, "secret", "create", "tracer-database", "DATABASE_URL=other")
    assert again.returncode != 0
    with pytest.raises(NotFoundError):
        modal.Secret.from_name("nobody").hydrate()
    with pytest.raises(ConflictError, match="missing key"):
        modal.Secret.from_name("tracer-database", required_keys=["TOKEN"]).hydrate()


def test_a_spawn_is_a_call_with_its_arguments(plane: ControlPlane, function: Deployed) -> None:
    handle = function.spawn([1, 2, 3])
    (call,) = plane.calls
    assert (call.call_id, call.app, call.function) == (handle.object_id, "tracer", "normalize")
    assert call.arguments == (([1, 2, 3],), {})
    assert (call.done, call.deliveries) == (False, 0)
    with pytest.raises(TimeoutError):
        modal.FunctionCall.from_id(handle.object_id).get(timeout=0)


def test_arguments_over_8_kib_travel_as_a_blob(plane: ControlPlane, function: Deployed) -> None:
    ids = list(range(10_000))
    function.spawn(company_ids=ids)
    (call,) = plane.calls
    assert plane.counts["BlobCreate"] == 1
    assert call.payload_bytes > 8 * 1024
    assert call.company_ids == ids


def test_the_backlog_is_what_waits_or_what_is_claimed(
    plane: ControlPlane, function: Deployed
) -> None:
    before = plane.waiting("normalize")
    function.spawn([1])
    assert function.get_current_stats().backlog == plane.waiting("normalize") == before + 1
    plane.set_backlog("normalize", 5_000)
    assert function.get_current_stats().backlog == 5_000
    plane.set_backlog("normalize", 0)


def test_a_cancelled_call_leaves_the_queue(plane: ControlPlane, function: Deployed) -> None:
    before = plane.waiting("normalize")
    handle = function.spawn([1])
    modal.FunctionCall.from_id(handle.object_id).cancel()
    assert plane.calls[0].cancelled
    assert plane.waiting("normalize") == before
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        handle.get(timeout=1)


def test_what_is_not_deployed_is_not_found(plane: ControlPlane) -> None:
    for name in (("tracer", "nobody"), ("nobody", "normalize")):
        with pytest.raises(NotFoundError):
            modal.Function.from_name(*name).spawn([1])
    assert not plane.calls


def test_a_stopped_app_is_not_found_even_by_a_handle_that_knew_it() -> None:
    with serve() as plane, use(plane):
        deploy(plane, "tests/standins/controlplane/sample.py")
        function = modal.Function.from_name("sample", "nap")
        function.spawn(1)
        assert "sample" in command(plane, "app", "list").stdout
        assert command(plane, "app", "stop", "sample", "--yes").returncode == 0
        with pytest.raises(NotFoundError):
            function.spawn(1)
        with pytest.raises(NotFoundError):
            modal.Function.from_name("sample", "nap").spawn(1)


def test_a_bad_token_is_refused(plane: ControlPlane) -> None:
    with environment(plane.environment() | {"MODAL_TOKEN_SECRET": "as-wrong"}):
        with pytest.raises(AuthError):
            modal.Client.from_env().hello()
        with pytest.raises(AuthError):
            modal.Function.from_name("tracer", "normalize").spawn([1])


def test_an_rpc_that_is_not_spoken_is_named(
    plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(modal.exception.UnimplementedError, match="does not speak QueueGetOrCreate"):
        modal.Queue.from_name("any", create_if_missing=True).hydrate()
    assert plane.missing == {"QueueGetOrCreate"}
    assert "does not speak QueueGetOrCreate" in caplog.text
    plane.missing.clear()


def test_the_client_that_was_there_comes_back(plane: ControlPlane) -> None:
    before = modal.Client.from_env()
    with use(plane):
        within = modal.Client.from_env()
        assert within is not before
    assert within.is_closed()
    assert modal.Client.from_env() is before
    before.hello()
    assert plane.counts["ClientHello"] == 1

"""The RPCs of `modal deploy`, `modal secret` and `modal app`, and of lookups by name."""

import time
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.standins.controlplane.calls import fresh_id
from tests.standins.controlplane.deployed import DeployedApp, data_of, metadata_of
from tests.standins.controlplane.dispatch import answers

if TYPE_CHECKING:
    from tests.standins.controlplane.plane import ControlPlane

ENVIRONMENT = "main"
BUILDER = "2025.06"


class Deploying:
    """What becomes of an app between its code and its functions."""

    def __init__(self, plane: "ControlPlane") -> None:
        self._plane = plane

    def _app(self, app_id: str) -> DeployedApp:
        if found := self._plane.apps_by_id.get(app_id):
            return found
        raise GRPCError(Status.NOT_FOUND, f"No app {app_id}")

    @answers("ClientHello")
    async def hello(self, _request: Empty) -> api_pb2.ClientHelloResponse:
        """The token is good, or the dispatch would have said so."""
        return api_pb2.ClientHelloResponse(image_builder_version=BUILDER)

    @answers("EnvironmentGetOrCreate")
    async def environment(
        self, request: api_pb2.EnvironmentGetOrCreateRequest
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        """The one environment, whatever its name."""
        settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER)
        name = request.deployment_name or ENVIRONMENT
        metadata = api_pb2.EnvironmentMetadata(name=name, settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-main", metadata=metadata)

    @answers("AppGetByDeploymentName")
    async def app_by_name(
        self, request: api_pb2.AppGetByDeploymentNameRequest
    ) -> api_pb2.AppGetByDeploymentNameResponse:
        """The app that is deployed under a name, or the one that was."""
        answer = api_pb2.AppGetByDeploymentNameResponse(environment_name=ENVIRONMENT)
        if app := self._plane.apps.get(request.name):
            answer.app_id = app.app_id
            answer.lifecycle.CopyFrom(app.lifecycle())
            return answer
        stopped = [app for app in self._plane.apps_by_id.values() if app.stopped_at]
        for app in stopped:
            if app.name == request.name:
                answer.previous_app_id = app.app_id
                answer.lifecycle.CopyFrom(app.lifecycle())
        return answer

    @answers("AppGetOrCreate")
    async def app_by_name_or_new(
        self, request: api_pb2.AppGetOrCreateRequest
    ) -> api_pb2.AppGetOrCreateResponse:
        """The app that is deployed under a name; nothing is created here.

        Raises:
            GRPCError: no app of that name is deployed.
        """
        if app := self._plane.apps.get(request.app_name):
            return api_pb2.AppGetOrCreateResponse(app_id=app.app_id)
        raise GRPCError(Status.NOT_FOUND, f"App {request.app_name!r} is not deployed")

    @answers("AppCreate")
    async def create_app(self, request: api_pb2.AppCreateRequest) -> api_pb2.AppCreateResponse:
        """An app that nobody sees before it is published."""
        app = DeployedApp(request.description)
        self._plane.apps_by_id[app.app_id] = app
        return api_pb2.AppCreateResponse(app_id=app.app_id)

    @answers("AppGetLayout")
    async def layout(self, request: api_pb2.AppGetLayoutRequest) -> api_pb2.AppGetLayoutResponse:
        """The functions that an app has now, so that a deploy keeps their ids."""
        return api_pb2.AppGetLayoutResponse(app_layout=self._app(request.app_id).layout())

    @answers("AppHeartbeat")
    async def app_heartbeat(self, _request: api_pb2.AppHeartbeatRequest) -> Empty:
        """A deploy is under way."""
        return Empty()

    @answers("AppClientDisconnect")
    async def disconnect(self, request: api_pb2.AppClientDisconnectRequest) -> Empty:
        """A deploy failed: its drafts are void."""
        self._app(request.app_id).drafts.clear()
        return Empty()

    @answers("FunctionPrecreate")
    async def precreate(
        self, request: api_pb2.FunctionPrecreateRequest
    ) -> api_pb2.FunctionPrecreateResponse:
        """An id for a function, the old one if it has one."""
        definition = api_pb2.Function(
            function_name=request.function_name,
            function_type=request.function_type,
            function_schema=request.function_schema,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
        )
        return api_pb2.FunctionPrecreateResponse(
            function_id=request.existing_function_id or fresh_id("fu"),
            handle_metadata=metadata_of(definition, request.app_id),
        )

    @answers("FunctionCreate")
    async def create_function(
        self, request: api_pb2.FunctionCreateRequest
    ) -> api_pb2.FunctionCreateResponse:
        """A draft of a function."""
        definition = request.function
        if request.function_data.ranked_functions:
            definition = request.function_data.ranked_functions[0].function
        function_id = request.existing_function_id or fresh_id("fu")
        self._app(request.app_id).drafts[function_id] = definition
        return api_pb2.FunctionCreateResponse(
            function_id=function_id,
            function=definition,
            function_data=data_of(definition),
            handle_metadata=metadata_of(definition, request.app_id),
        )

    @answers("AppPublish")
    async def publish(self, request: api_pb2.AppPublishRequest) -> api_pb2.AppPublishResponse:
        """The drafts replace what was deployed, all at once."""
        app = self._app(request.app_id)
        app.name = request.name or app.name
        gone = app.publish(request.function_ids.items())
        self._plane.apps[app.name] = app
        self._plane.functions |= {one.function_id: one for one in app.functions.values()}
        self._plane.retire(gone)
        return api_pb2.AppPublishResponse(
            url=f"{self._plane.url}/apps/{app.name}", deployed_at=app.deployed_at
        )

    @answers("AppList")
    async def list_apps(self, _request: api_pb2.AppListRequest) -> api_pb2.AppListResponse:
        """Every app that was ever published, deployed or stopped."""
        answer = api_pb2.AppListResponse()
        for app in self._plane.apps_by_id.values():
            state = app.lifecycle()
            running = [c for c in self._plane.containers if c.deployed.app is app]
            answer.apps.add(
                app_id=app.app_id,
                name=app.name,
                description=app.name,
                state=state.app_state,
                created_at=state.created_at,
                stopped_at=state.stopped_at,
                n_running_tasks=len(running),
            )
        return answer

    @answers("AppGetLifecycle")
    async def lifecycle(
        self, request: api_pb2.AppGetLifecycleRequest
    ) -> api_pb2.AppGetLifecycleResponse:
        """Whether an app is deployed or stopped."""
        return api_pb2.AppGetLifecycleResponse(lifecycle=self._app(request.app_id).lifecycle())

    @answers("TaskList")
    async def list_containers(self, request: api_pb2.TaskListRequest) -> api_pb2.TaskListResponse:
        """The containers of an app."""
        answer = api_pb2.TaskListResponse()
        for container in self._plane.containers:
            if request.app_id in ("", container.deployed.app.app_id):
                answer.tasks.add(
                    task_id=container.container_id, app_id=container.deployed.app.app_id
                )
        return answer

    @answers("AppStop")
    async def stop_app(self, request: api_pb2.AppStopRequest) -> Empty:
        """Lookups of the app fail from now on, and its containers end."""
        self._plane.stop_app(self._app(request.app_id))
        return Empty()

    @answers("ImageGetOrCreate")
    async def image(
        self, _request: api_pb2.ImageGetOrCreateRequest
    ) -> api_pb2.ImageGetOrCreateResponse:
        """Every image is built already."""
        result = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
        metadata = api_pb2.ImageMetadata(image_builder_version=BUILDER)
        return api_pb2.ImageGetOrCreateResponse(
            image_id=fresh_id("im"), result=result, metadata=metadata
        )

    @answers("MountGetOrCreate")
    async def mount(
        self, request: api_pb2.MountGetOrCreateRequest
    ) -> api_pb2.MountGetOrCreateResponse:
        """A list of uploaded files; one that is looked up by name is Modal's own and empty here."""
        mount_id = fresh_id("mo")
        self._plane.uploads.mounts[mount_id] = list(request.files)
        return api_pb2.MountGetOrCreateResponse(mount_id=mount_id)

    @answers("MountBatchedCheckExistence")
    async def missing_files(
        self, request: api_pb2.MountBatchedCheckExistenceRequest
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        """Which of these contents were not uploaded yet."""
        known = self._plane.uploads.contents
        answer = api_pb2.MountBatchedCheckExistenceResponse(
            missing_sha256_hex_hashes=[one for one in request.sha256_hex_hashes if one not in known]
        )
        answer.checked_at.FromSeconds(int(time.time()))
        return answer

    @answers("MountPutFile")
    async def put_file(self, request: api_pb2.MountPutFileRequest) -> api_pb2.MountPutFileResponse:
        """A file's content, inline or from a blob."""
        blob = request.data_blob_id
        content = self._plane.blobs.read(blob) if blob else request.data
        self._plane.uploads.contents[request.sha256_hex] = content
        return api_pb2.MountPutFileResponse(exists=True)

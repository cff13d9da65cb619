"""What is deployed: apps, their functions, and the files that were uploaded for them."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from modal_proto import api_pb2

from tests.standins.controlplane.calls import Queue, fresh_id

CODE = PurePosixPath("/root")  # where Modal mounts a user's packages


@dataclass(eq=False)
class DeployedFunction:
    """A function: its definition as the client sent it, and the inputs that wait for it.

    `crashes` counts containers in a row that could not import their code, and `failure` is what
    the last one said.
    """

    tag: str
    app: "DeployedApp"
    definition: api_pb2.Function = field(default_factory=api_pb2.Function, repr=False)
    function_id: str = field(default_factory=lambda: fresh_id("fu"))
    queue: Queue = field(default_factory=Queue)
    crashes: int = 0
    failure: str = ""

    def metadata(self) -> api_pb2.FunctionHandleMetadata:
        """What a client must know to call the function."""
        return metadata_of(self.definition, self.app.app_id)

    def data(self) -> api_pb2.FunctionData:
        """The definition in the wrapping in which lookups return it."""
        return data_of(self.definition)


@dataclass(eq=False)
class DeployedApp:
    """An app by its deployment name; `version` counts the deploys that were published.

    `drafts` are the functions of a deploy under way, by id: nobody sees them until it is published.
    """

    name: str
    app_id: str = field(default_factory=lambda: fresh_id("ap"))
    version: int = 0
    functions: dict[str, DeployedFunction] = field(default_factory=dict)
    drafts: dict[str, api_pb2.Function] = field(default_factory=dict)
    created_at: float = field(default_factory=time.time)
    deployed_at: float = 0.0
    stopped_at: float = 0.0

    def publish(self, function_ids: Iterable[tuple[str, str]]) -> list[DeployedFunction]:
        """Make the drafts under these tags and ids the app; returns the functions that are gone."""
        before = {function.function_id: function for function in self.functions.values()}
        after: dict[str, DeployedFunction] = {}
        for tag, function_id in function_ids:
            found = before.pop(function_id, None)
            function = found or DeployedFunction(tag, self, function_id=function_id)
            function.definition = self.drafts.get(function_id, function.definition)
            function.crashes = 0
            after[tag] = function
        self.functions, self.drafts = after, {}
        self.version, self.deployed_at, self.stopped_at = self.version + 1, time.time(), 0.0
        return list(before.values())

    def lifecycle(self) -> api_pb2.AppLifecycle:
        """What the `modal app` commands show."""
        state = api_pb2.APP_STATE_STOPPED if self.stopped_at else api_pb2.APP_STATE_DEPLOYED
        return api_pb2.AppLifecycle(
            app_state=state,
            created_at=self.created_at,
            deployed_at=self.deployed_at,
            stopped_at=self.stopped_at,
            version=self.version,
        )

    def layout(self) -> api_pb2.AppLayout:
        """Every function by tag, and every object that a container of the app refers to."""
        layout = api_pb2.AppLayout()
        for function in self.functions.values():
            layout.function_ids[function.tag] = function.function_id
            layout.objects.add(
                object_id=function.function_id, function_handle_metadata=function.metadata()
            )
        known = {found.object_id for found in layout.objects}
        for function in self.functions.values():
            for needed in function.definition.object_dependencies:
                if needed.object_id not in known:
                    known.add(needed.object_id)
                    layout.objects.add(object_id=needed.object_id)
        return layout


def metadata_of(definition: api_pb2.Function, app_id: str) -> api_pb2.FunctionHandleMetadata:
    """A definition as a handle sees it. No input plane is named, so calls stay on this server."""
    return api_pb2.FunctionHandleMetadata(
        function_name=definition.function_name,
        function_type=definition.function_type,
        function_schema=definition.function_schema,
        supported_input_formats=definition.supported_input_formats,
        supported_output_formats=definition.supported_output_formats,
        app_id=app_id,
    )


def data_of(definition: api_pb2.Function) -> api_pb2.FunctionData:
    """The client demands at least one ranked function."""
    return api_pb2.FunctionData(
        module_name=definition.module_name,
        function_name=definition.function_name,
        function_type=definition.function_type,
        timeout_secs=definition.timeout_secs,
        ranked_functions=[api_pb2.FunctionData.RankedFunction(rank=0, function=definition)],
    )


@dataclass
class Uploads:
    """Files by content, and mounts as lists of them, as the client uploaded them."""

    contents: dict[str, bytes] = field(default_factory=dict)
    mounts: dict[str, list[api_pb2.MountFile]] = field(default_factory=dict)

    def files(self, definition: api_pb2.Function) -> Iterator[tuple[PurePosixPath, bytes]]:
        """The code of a function: paths below Modal's code folder, and contents."""
        for mount_id in definition.mount_ids:
            for file in self.mounts.get(mount_id, ()):
                path = PurePosixPath(file.filename)
                if path.is_relative_to(CODE):
                    yield path.relative_to(CODE), self.contents[file.sha256_hex]

    def lay_out(self, definition: api_pb2.Function, folder: Path) -> None:
        """Write a function's code into `folder`, so that what was not uploaded is missing there."""
        for path, content in self.files(definition):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

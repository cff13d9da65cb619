"""The RPCs of Modal's secrets."""

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.standins.controlplane.calls import fresh_id
from tests.standins.controlplane.dispatch import answers

if TYPE_CHECKING:
    from tests.standins.controlplane.plane import ControlPlane

UNNAMED = (
    api_pb2.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP,
    api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL,
)


class Secrets:
    """Secrets by name, and those without one that belong to an app."""

    def __init__(self, plane: "ControlPlane") -> None:
        self._plane = plane

    @answers("SecretGetOrCreate")
    async def get_or_create(
        self, request: api_pb2.SecretGetOrCreateRequest
    ) -> api_pb2.SecretGetOrCreateResponse:
        """Look a secret up, or make one.

        Raises:
            GRPCError: ALREADY_EXISTS, NOT_FOUND, or FAILED_PRECONDITION when keys are missing.
        """
        if request.object_creation_type in UNNAMED:
            return self._answer(fresh_id("st"), "", dict(request.env_dict))
        if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            return self._create(request)
        values = self._plane.secrets.get(request.deployment_name)
        if values is None:
            name = request.deployment_name
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found in environment 'main'")
        if missing := [key for key in request.required_keys if key not in values]:
            message = f"Secret is missing key(s): {', '.join(missing)}"
            raise GRPCError(Status.FAILED_PRECONDITION, message)
        known = self._plane.secret_ids.setdefault(request.deployment_name, fresh_id("st"))
        return self._answer(known, request.deployment_name, values)

    def _create(
        self, request: api_pb2.SecretGetOrCreateRequest
    ) -> api_pb2.SecretGetOrCreateResponse:
        name = request.deployment_name
        once = api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS
        if name in self._plane.secrets and request.object_creation_type == once:
            raise GRPCError(Status.ALREADY_EXISTS, f"Secret '{name}' already exists")
        self._plane.secrets[name] = dict(request.env_dict)
        known = self._plane.secret_ids.setdefault(name, fresh_id("st"))
        return self._answer(known, name, self._plane.secrets[name])

    def _answer(
        self, secret_id: str, name: str, values: dict[str, str]
    ) -> api_pb2.SecretGetOrCreateResponse:
        self._plane.secrets_by_id[secret_id] = values
        return api_pb2.SecretGetOrCreateResponse(
            secret_id=secret_id, metadata=api_pb2.SecretMetadata(name=name, keys=list(values))
        )

    @answers("SecretList")
    async def list_secrets(self, _request: api_pb2.SecretListRequest) -> api_pb2.SecretListResponse:
        """Every named secret, without its values."""
        answer = api_pb2.SecretListResponse(environment_name="main")
        for name, values in self._plane.secrets.items():
            known = self._plane.secret_ids.setdefault(name, fresh_id("st"))
            metadata = api_pb2.SecretMetadata(name=name, keys=list(values))
            answer.items.add(label=name, secret_id=known, metadata=metadata)
        return answer

    @answers("SecretDelete")
    async def delete(self, request: api_pb2.SecretDeleteRequest) -> Empty:
        """Later lookups of the name fail."""
        for name, secret_id in list(self._plane.secret_ids.items()):
            if secret_id == request.secret_id:
                del self._plane.secret_ids[name], self._plane.secrets[name]
        return Empty()

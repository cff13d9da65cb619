"""Where arguments and results over the inline limit go: a store with PUT and GET."""

import hashlib
from base64 import b64encode

from aiohttp import web
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from tests.standins.controlplane.calls import fresh_id
from tests.standins.controlplane.dispatch import answers

LARGEST = 1 << 30  # bytes


class Blobs:
    """Blobs by id, and the HTTP server on which they come and go. Single part uploads only."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self._url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        app = web.Application(client_max_size=LARGEST)
        app.add_routes([web.put("/{blob}", self._put), web.get("/{blob}", self._get)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._runner:
            await self._runner.cleanup()

    def read(self, blob_id: str) -> bytes:
        """What was uploaded.

        Raises:
            GRPCError: nothing was.
        """
        if blob_id not in self.contents:
            raise GRPCError(Status.NOT_FOUND, f"No blob {blob_id}")
        return self.contents[blob_id]

    async def _put(self, request: web.Request) -> web.Response:
        content = await request.read()
        digest = hashlib.md5(content)
        sent = request.headers.get("Content-MD5")
        if sent and sent != b64encode(digest.digest()).decode():
            return web.Response(status=400, text="The Content-MD5 did not match.")
        self.contents[request.match_info["blob"]] = content
        return web.Response(headers={"ETag": f'"{digest.hexdigest()}"'})

    async def _get(self, request: web.Request) -> web.Response:
        content = self.contents.get(request.match_info["blob"])
        if content is None:
            return web.Response(status=404)
        return web.Response(body=content)

    @answers("BlobCreate")
    async def create(self, _request: api_pb2.BlobCreateRequest) -> api_pb2.BlobCreateResponse:
        """Where to put a new blob."""
        blob = fresh_id("bl")
        urls = api_pb2.UploadUrlList(items=[f"{self._url}/{blob}"])
        return api_pb2.BlobCreateResponse(blob_id=blob, blob_ids=[blob], upload_urls=urls)

    @answers("BlobGet")
    async def get(self, request: api_pb2.BlobGetRequest) -> api_pb2.BlobGetResponse:
        """Where to get a blob from."""
        self.read(request.blob_id)
        return api_pb2.BlobGetResponse(download_url=f"{self._url}/{request.blob_id}")

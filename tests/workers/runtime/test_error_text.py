"""What a row's error says of an HTTP error: plain text, and no name of a variable."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import httpx
import pytest
from aiohttp import web

from reconciler.operator.failures import kind
from workers.runtime.outcome import failure

Call = Callable[[str], Awaitable[object]]


async def refuse(_: web.Request) -> web.StreamResponse:
    raise web.HTTPForbidden(reason="Forbidden 'by us'", text="no")


async def page(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>", content_type="text/html")


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport
    request.transport.close()
    return response


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.get("/refuse", refuse), web.get("/page", page), web.get("/cut", cut)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def by_aiohttp(url: str) -> object:
    async with aiohttp.ClientSession(raise_for_status=True) as http, http.get(url) as answer:
        return await answer.json()


async def by_httpx(url: str) -> object:
    async with httpx.AsyncClient() as http:
        return (await http.get(url)).raise_for_status()


def text_of(call: Call, path: str) -> str:
    """The text of the failure of a step that makes this call; PLACE is the server's address."""

    async def made() -> str:
        async with serving() as place:
            with pytest.raises((aiohttp.ClientError, httpx.HTTPError)) as raised:
                await call(place + path)
            return str(failure(raised.value).error).replace(place, "PLACE")

    return asyncio.run(made())


@pytest.mark.parametrize(
    ("call", "path", "says"),
    [
        (
            by_aiohttp,
            "/refuse?domain=a.com",
            "ClientResponseError: 403 Forbidden 'by us', from 'PLACE/refuse?domain=a.com'",
        ),
        (
            by_httpx,
            "/refuse?domain=a.com",
            "HTTPStatusError: 403 Forbidden 'by us', from 'PLACE/refuse?domain=a.com'",
        ),
        (
            by_aiohttp,
            "/page",
            "ContentTypeError: 200 Attempt to decode JSON with unexpected mimetype: text/html",
        ),
        (
            by_aiohttp,
            "/cut",
            "ClientPayloadError: Response payload is not completed: "
            "Not enough data to satisfy content length header",
        ),
    ],
)
def test_what_a_server_has_answered_is_plain_text(call: Call, path: str, says: str) -> None:
    found = text_of(call, path)
    assert found.startswith(says), found
    assert "message" not in found


def test_an_error_with_words_of_the_steps_author_keeps_them() -> None:
    request = httpx.Request("GET", "http://x.example")
    own = httpx.HTTPStatusError("no credits", request=request, response=httpx.Response(402))
    assert failure(own).error == "HTTPStatusError: no credits"
    assert failure(ValueError("403, message='x'")).error == "ValueError: 403, message='x'"


def test_refusals_of_different_addresses_are_of_one_kind_and_those_of_a_status_too() -> None:
    texts = [text_of(by_aiohttp, f"/refuse?domain={name}.com") for name in ("a", "b")]
    assert len(set(texts)) == 2
    assert len(set(map(kind, texts))) == 1
    assert kind(text_of(by_aiohttp, "/nowhere")) != kind(texts[0])

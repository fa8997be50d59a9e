"""Whose a connection is, and how long one may do nothing."""

import asyncio
import os
import socket
import subprocess
import sys
import time

import pytest

from echoseg.web import connections
from echoseg.web.connections import is_stranger

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request):
    with (
        socket.create_server((request.param, 0), family=family(request.param)) as server,
        socket.create_connection(server.getsockname()[:2]) as client,
    ):
        yield client.getsockname()[:2], server.getsockname()[:2]


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@linux
def test_a_connection_of_this_account_is_not_a_strangers(pair, monkeypatch):
    client, server = pair
    assert not is_stranger(client, server)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    monkeypatch.setattr(connections, "_owner", lambda *ends: 12346)
    assert is_stranger(client, server)


@linux
def test_the_owner_is_read_from_the_kernel(pair):
    client, server = pair
    assert connections._owner(client, server) == os.getuid()
    assert connections._owner((client[0], client[1] % 65535 + 1), server) is None
    assert connections._owner(("testclient", 1), server) is None


def test_what_is_unknown_is_not_a_stranger():
    assert not is_stranger(None, ("127.0.0.1", 8080))
    assert not is_stranger(("127.0.0.1", 1), ("127.0.0.1", 8080))
    assert not is_stranger(("testclient", 50000), ("testserver", 80))


@linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="takes root to be another")
def test_another_account_is_a_stranger(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 1000)  # root may always
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]}; read <&3"
        words = ["bash", "-c", code]
        with subprocess.Popen(words, user=65534, cwd="/") as process:
            accepted, client = server.accept()
            with accepted:
                assert connections._owner(client, accepted.getsockname()) == 65534
                assert is_stranger(client, accepted.getsockname())
            process.wait(10)


class Idle:
    """A server on a free port whose requests must come within a fifth of a second."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(connections, "_REQUEST_TIMEOUT_S", 0.2)

    async def serve(self, talk):
        import uvicorn

        async def answer(scope, receive, send):
            await asyncio.sleep(0.5 if scope["path"] == "/slow" else 0)
            await send({"type": "http.response.start", "status": 200,
                        "headers": [(b"content-length", b"2")]})  # fmt: skip
            await send({"type": "http.response.body", "body": b"ok"})

        config = uvicorn.Config(answer, port=0, http=connections.Protocol, lifespan="off",
                                log_config=None)  # fmt: skip
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            port = server.servers[0].sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return await talk(reader, writer)
            finally:
                writer.close()
        finally:
            server.should_exit = True
            await task


async def until_closed(reader):
    start = time.monotonic()
    text = await asyncio.wait_for(reader.read(), 5)
    return text, time.monotonic() - start


REQUEST = b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_what_sends_no_whole_request_is_closed(monkeypatch, sent):
    async def talk(reader, writer):
        writer.write(sent)
        for _ in range(3):  # a letter now and then does not help
            await asyncio.sleep(0.05)
            writer.write(sent[:1] and b"a")
        return await until_closed(reader)

    text, seconds = asyncio.run(Idle(monkeypatch).serve(talk))
    assert text == b"" and seconds < 2


def test_a_request_may_take_longer_than_its_head(monkeypatch):
    async def talk(reader, writer):
        writer.write(REQUEST % b"/slow")
        return await until_closed(reader)

    text, seconds = asyncio.run(Idle(monkeypatch).serve(talk))
    assert text.endswith(b"ok") and seconds > 0.5


def test_the_rest_of_a_refused_body_is_not_waited_for(monkeypatch):
    async def talk(reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        return await until_closed(reader)

    text, seconds = asyncio.run(Idle(monkeypatch).serve(talk))
    assert text.endswith(b"ok") and seconds < 2


def test_requests_on_one_connection_are_all_answered(monkeypatch):
    async def talk(reader, writer):
        writer.write((REQUEST % b"/slow") * 2 + REQUEST % b"/")
        return await until_closed(reader)

    text, _ = asyncio.run(Idle(monkeypatch).serve(talk))
    assert text.count(b"200 OK") == 3

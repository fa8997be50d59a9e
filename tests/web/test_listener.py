"""How many connections are open, and which of them gives way to a new one."""

import asyncio
import contextlib
import socket
import ssl
import urllib.request
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.web import listener as listeners
from echoseg.web.listener import Listener, Loop
from node_makers import Clock
from page_makers import PASSWORD, make_certificate, running_page


class Clients:
    """Connections to a listener, as if from given addresses."""

    def __init__(self, monkeypatch, **options):
        self.clock, self.opened, self.place = Clock(), [], ("192.0.2.1", 1)
        self.listener = Listener(
            socket.create_server(("127.0.0.1", 0)), clock=self.clock, **options
        )
        plain = socket.socket.accept
        monkeypatch.setattr(socket.socket, "accept", lambda one: (plain(one)[0], self.place))

    def connect(self, address="192.0.2.1", wait_s=1):
        """(the client's end, the server's end or None where it was refused)"""
        self.place = address, 1
        self.clock.wait(wait_s)
        client = socket.create_connection(self.listener.getsockname())
        client.settimeout(5)
        self.opened.append(client)
        try:
            one = self.listener.accept()[0]
        except ConnectionAbortedError:
            return client, None
        self.opened.append(one)
        return client, one

    def close(self):
        for one in (*self.opened, self.listener):
            one.close()


@pytest.fixture
def clients(monkeypatch):
    monkeypatch.setattr(listeners, "MAX_CONNECTIONS", 6)
    monkeypatch.setattr(listeners, "MAX_PER_CLIENT", 3)
    with contextlib.closing(Clients(monkeypatch, proxy="192.0.2.9")) as one:
        yield one


def test_a_proxy_may_have_an_address_of_ipv6(monkeypatch):
    monkeypatch.setattr(listeners, "MAX_PER_CLIENT", 3)
    with contextlib.closing(Clients(monkeypatch, proxy="2001:db8::9")) as clients:
        pairs = [clients.connect("2001:db8::9") for _ in range(7)]
        assert not any(is_ended(client) for client, _ in pairs)


def is_ended(client):
    client.settimeout(0.05)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


def test_the_connection_that_waited_longest_gives_way(clients):
    pairs = [clients.connect() for _ in range(3)]
    clients.listener.work(pairs[0][1].fileno())
    assert clients.connect()[1] is not None
    assert [is_ended(client) for client, _ in pairs] == [False, True, False]
    clients.listener.wait(pairs[0][1].fileno())  # it waits for a shorter time than the third
    assert clients.connect()[1] is not None
    assert [is_ended(client) for client, _ in pairs] == [False, True, True]


def test_where_all_are_served_the_new_one_is_refused(clients):
    for _ in range(3):
        clients.listener.work(clients.connect()[1].fileno())
    client, one = clients.connect()
    assert one is None and is_ended(client)
    assert clients.connect("192.0.2.2")[1] is not None  # of another client


def test_a_client_is_a_network_where_addresses_are_cheap(clients):
    pairs = [clients.connect(f"2001:db8::{number}") for number in range(1, 5)]
    assert [is_ended(client) for client, _ in pairs] == [True, False, False, False]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.9"])
def test_this_machine_and_the_proxy_have_the_bound_of_all_alone(clients, address):
    pairs = [clients.connect(address) for _ in range(7)]
    assert [is_ended(client) for client, _ in pairs] == [True, *[False] * 6]


def test_closed_connections_do_not_count(clients):
    for _ in range(9):
        client, one = clients.connect()
        assert one is not None and not is_ended(client)
        one.close()


def test_connections_that_come_too_fast_are_refused(clients):
    refused = 0
    for _ in range(520):
        client, one = clients.connect(wait_s=0)
        refused += one is None
        for end in filter(None, (client, one)):
            end.close()
    assert refused == 20


def test_half_open_handshakes_do_not_hold_the_server(tmp_path):
    """More connections than the server takes, which send nothing or half of a greeting."""
    folder = tmp_path / "data"
    words = ["serve", "account", "add", "meier", "--data", str(folder)]
    assert CliRunner().invoke(app, words, input=PASSWORD).exit_code == 0
    certificate, key = make_certificate(tmp_path)
    options = ["--sign-in", "--tls-certificate", str(certificate), "--tls-key", str(key)]
    trust = ssl.create_default_context(cafile=str(certificate))
    with running_page(folder, *options) as (address, _), contextlib.ExitStack() as stack:
        parts = urlsplit(address)
        ends = []
        for number in range(listeners.MAX_CONNECTIONS + 20):
            end = socket.create_connection((parts.hostname, parts.port), timeout=20)
            stack.enter_context(end)
            ends.append(end)
            if number % 2:
                end.sendall(b"\x16\x03\x01\x02\x00\x01")
        with urllib.request.urlopen(f"{address}/sign-in", timeout=10, context=trust) as answer:
            assert answer.status == 200
        assert is_ended(ends[0]) and not is_ended(ends[-1])


def test_a_handshake_has_a_time_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(listeners, "_HANDSHAKE_TIMEOUT_S", 0.2)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*make_certificate(tmp_path))

    async def wait():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            with contextlib.closing(writer):
                return await asyncio.wait_for(reader.read(), 5)

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(wait()) == b""

"""Signing in and out, and what an attacker may try there."""

import time

import pytest
from starlette.websockets import WebSocketDisconnect

from echoseg.errors import ConfigError
from echoseg.web import sockets
from echoseg.web.limits import RateLimit, SignInLimit
from echoseg.web.records import Account, Role
from echoseg.web.refusal import Refusal
from echoseg.web.serve import serve_page
from echoseg.web.sessions import IDLE_S
from node_makers import Clock
from page_makers import ADDRESS, PASSWORD, csrf_of, page_client, sign_in


@pytest.fixture
def client(settings):
    with page_client(settings.model_copy(update={"sign_in": True}), "/sign-in") as one:
        one.app.state.page.accounts.add("meier", PASSWORD, Role.READER)
        yield one


def notes(client):
    return [(one.event, one.options["account"]) for one in client.app.state.page.audit.records()][
        1:
    ]


def test_only_the_sign_in_page_and_static_files_are_open(client):
    for path in ("/", "/clip/a", "/live", "/nothing"):
        response = client.get(path, follow_redirects=False)
        assert response.status_code == 303
        assert response.headers["location"] == f"/sign-in?next={path}"
    assert client.get("/api/clips").status_code == 401
    assert client.post("/clip/a").status_code == 401
    assert client.get("/static/nothing").status_code == 404
    assert client.get("/sign-in%3F", follow_redirects=False).status_code == 303
    assert client.get("/static/../api/clips").status_code == 401
    assert client.get("/static/%2e%2e/%2e%2e/app.py").status_code == 404


def test_sign_in_and_out(client):
    response = sign_in(client, next="/clip/a")
    assert (response.status_code, response.headers["location"]) == (303, "/clip/a")
    html = client.get("/").text
    assert "meier" in html
    response = client.post("/sign-out", data={"csrf_token": csrf_of(html)}, follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    assert client.get("/api/clips").status_code == 401
    assert notes(client) == [("sign-in", "meier"), ("sign-out", "meier")]


def test_the_token_changes_at_sign_in_so_that_none_can_be_fixed(client):
    client.get("/sign-in")
    (before,) = client.cookies.values()
    old_csrf = client.headers["X-CSRF-Token"]
    cookie = sign_in(client).headers["set-cookie"]
    (after,) = client.cookies.values()
    assert after != before and {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert client.post("/api/nothing", headers={"X-CSRF-Token": old_csrf}).status_code == 403
    client.cookies.clear()
    client.cookies.set("echoseg-8080", before)
    assert client.get("/api/clips").status_code == 401
    client.cookies.clear()
    client.cookies.set("echoseg-8080", after)
    assert client.get("/").status_code == 200
    sign_in(client, "meier")  # the earlier session ends
    client.cookies.clear()
    client.cookies.set("echoseg-8080", after)
    assert client.get("/api/clips").status_code == 401


def test_a_sign_out_needs_the_token_of_the_page(client):
    sign_in(client)
    assert client.post("/sign-out", data={"csrf_token": "0" * 64}).status_code == 403
    assert client.get("/").status_code == 200


def test_a_sign_in_that_another_page_sends_is_refused(client):
    for data in ({}, {"csrf_token": "0" * 64}):
        response = client.post("/sign-in", data={"name": "meier", "password": PASSWORD, **data})
        assert response.status_code == 403
    client.cookies.clear()
    data = {"name": "meier", "password": PASSWORD, "csrf_token": client.headers["X-CSRF-Token"]}
    assert client.post("/sign-in", data=data).status_code == 403


def test_a_wrong_name_and_a_wrong_password_look_alike(client):
    first = sign_in(client, "meier", "a wrong password")
    second = sign_in(client, "nobody", PASSWORD)
    assert (first.status_code, second.status_code) == (401, 401)
    assert first.text == second.text
    assert "do not fit" in first.text
    # what was typed as a name may be a password: unknown ones are not noted
    assert notes(client) == [("sign-in failed", "meier"), ("sign-in failed", "")]


def test_tries_are_slowed_down(client):
    for _ in range(5):
        assert sign_in(client, "meier", "a wrong password").status_code == 401
    response = sign_in(client)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert "Too many failed tries" in response.text


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "/\r\nSet-Cookie: a=b",
             "javascript:alert(1)", "/\t/evil.example", "\\\\evil.example"]
)  # fmt: skip
def test_a_sign_in_leads_to_pages_of_this_server_only(client, path):
    assert sign_in(client, next=path).headers["location"] == "/"
    client.cookies.clear()
    assert 'name="next" value="/"' in client.get("/sign-in", params={"next": path}).text


def test_markup_in_fields_stays_text(client):
    path = '/"><script>alert(1)</script>'
    html = client.get("/sign-in", params={"next": path}).text
    assert "<script>" not in html
    assert "<script>" not in client.get("/clip/<script>alert(1)<%2Fscript>").text


def test_a_removed_account_is_out_at_once_and_a_role_holds_at_once(client):
    sign_in(client)
    page = client.app.state.page
    assert client.get("/").status_code == 200
    page.accounts.remove("meier")
    assert client.get("/api/clips").status_code == 401


@pytest.fixture
def fast_checks(monkeypatch):
    monkeypatch.setattr(sockets, "CHECK_INTERVAL_S", 0.05)


def closing_code(client, act):
    """The code by which a live connection is closed after an act."""
    headers = {"Origin": ADDRESS}
    with client.websocket_connect("ws://127.0.0.1:8080/api/live", headers=headers) as socket:
        with pytest.raises(WebSocketDisconnect) as end:
            act()
            socket.receive_text()
    return end.value.code


def test_a_web_socket_ends_with_its_session(client, fast_checks):
    page = client.app.state.page
    for act in (
        lambda: client.post("/sign-out", data={"csrf_token": csrf_of(client.get("/").text)}),
        lambda: page.accounts.set_password("meier", PASSWORD),
        lambda: set_role(page, "meier", Role.ADMIN),
        lambda: page.accounts.remove("meier"),
    ):
        sign_in(client)
        assert closing_code(client, act) == 4401


def set_role(page, name, role):
    with page.database.transaction() as session:
        session.get_one(Account, name).role = role


def test_a_web_socket_is_no_use_of_its_session(client, fast_checks):
    """One that is left open does not keep the session from ending."""
    sign_in(client)
    page = client.app.state.page
    clock = page.sessions._clock = Clock()
    clock.now = time.time()

    def wait():
        clock.wait(0.6 * IDLE_S)
        time.sleep(0.3)  # it is asked for again and again
        clock.wait(0.6 * IDLE_S)

    assert closing_code(client, wait) == 4401


def test_waits_double_and_are_forgotten():
    clock = Clock()
    limit = SignInLimit(clock)
    for _ in range(5):
        limit.begin("a", "1")
    waits = []
    for _ in range(9):
        with pytest.raises(Refusal) as refusal:
            limit.begin("A ", "2")
        waits.append(float(refusal.value.headers["Retry-After"]))
        clock.wait(waits[-1])
        limit.begin("a", "1")
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    limit.begin("b", "2")
    limit.succeed("b", "2")
    clock.wait(3601)
    for _ in range(5):
        limit.begin("a", "1")


def test_names_are_not_tried_out_from_one_address():
    clock = Clock()
    limit = SignInLimit(clock)
    for number in range(20):
        limit.begin(f"name{number}", "1")
    with pytest.raises(Refusal):
        limit.begin("another", "1")
    limit.begin("another", "2")
    limit.succeed("another", "2")


def test_a_sign_in_that_succeeds_is_no_failure():
    limit = SignInLimit(Clock())
    for _ in range(100):
        limit.begin("a", "1")
        limit.succeed("a", "1")


def test_requests_of_a_client_are_limited():
    clock = Clock()
    limit = RateLimit(per_s=10, burst=20, clock=clock)
    for _ in range(20):
        limit.take("a")
    with pytest.raises(Refusal) as refusal:
        limit.take("a")
    assert refusal.value.status_code == 429
    limit.take("b")
    clock.wait(0.5)
    for _ in range(5):
        limit.take("a")
    with pytest.raises(Refusal):
        limit.take("a")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_without_an_account_no_one_listens_elsewhere(settings, host):
    elsewhere = settings.model_copy(update={"host": host, "port": 0})
    if host == "10.1.2.3":
        with pytest.raises(ConfigError, match="cannot listen"):
            serve_page(elsewhere)
    else:
        with pytest.raises(ConfigError, match="account add NAME"):
            serve_page(elsewhere)

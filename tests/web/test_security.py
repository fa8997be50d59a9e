"""What the page refuses: foreign names and pages, changes without a token, large bodies."""

from pathlib import Path

import pytest
from starlette.websockets import WebSocketDisconnect

from echoseg.errors import FormatError, OutputError
from echoseg.web.listener import client_network
from echoseg.web.records import Role
from echoseg.web.security import CONTENT_SECURITY_POLICY
from page_makers import ADDRESS, PASSWORD, csrf_of, page_client, sign_in

LIVE = ADDRESS.replace("http", "ws") + "/api/live"


def error_of(response):
    assert response.headers["content-type"] == "application/json"
    return response.json()["error"]


def test_every_answer_has_the_headers(client):
    for path in ("/", "/static/nothing.js", "/api/nothing", "/clip/x"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    assert "unsafe" not in CONTENT_SECURITY_POLICY


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200), ("localhost", 200), ("[::1]:9", 200), ("LOCALHOST:1", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example:8080", 421), ("10.0.0.1", 421),
        ("", 421), ("[::1", 421), ("user@evil.example", 421), ("127.0.0.1@evil.example", 421),
    ],
)  # fmt: skip
def test_a_name_that_may_be_bound_to_this_machine_is_refused(client, host, status):
    assert client.get("/", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "0" * 64},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_a_change_that_no_page_of_ours_sent_is_refused(client, headers):
    assert client.post("/api/nothing").status_code == 404
    response = client.post("/api/nothing", headers=headers)
    assert response.status_code == 403
    assert "page" in error_of(response)


def test_a_token_of_another_browser_is_refused(client, settings):
    other = client.cookies.jar
    token = client.headers["X-CSRF-Token"]
    client.cookies.clear()
    client.get("/")
    assert other is not None
    assert client.post("/api/nothing", headers={"X-CSRF-Token": token}).status_code == 403


def test_a_page_elsewhere_may_link_to_the_page_and_not_embed_it(client):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=headers).status_code == 200
    headers["Sec-Fetch-Mode"] = "no-cors"
    assert client.get("/", headers=headers).status_code == 403


def test_a_proxy_does_not_open_the_page_to_others(client):
    response = client.get("/", headers={"X-Forwarded-For": "10.0.0.1"})
    assert response.status_code == 403
    assert "--proxy" in error_of(response)


def test_a_body_is_limited_before_it_is_read(client):
    response = client.post("/sign-in", content=b"a" * (2**20 + 1))
    assert response.status_code == 413
    assert "1 MiB" in error_of(response)


def test_a_body_without_a_length_is_limited_while_it_is_read(client):
    sent = []

    def pieces():
        for number in range(64):
            sent.append(number)
            yield b"a" * 2**16

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = client.post("/sign-in", content=pieces(), headers=headers)
    assert response.status_code == 413


def test_the_cookie_is_for_this_page_alone(client):
    client.cookies.clear()
    cookie = client.get("/").headers["set-cookie"]
    assert cookie.startswith("echoseg-8080=")
    assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
    assert "set-cookie" not in client.get("/").headers
    assert ADDRESS.endswith(":8080")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"), ("2001:db8::1:2:3:4", "2001:db8::/64"), ("testclient",) * 2,
        ("2001:db8::5", "2001:db8::/64"), ("::1", "::/64"), ("", ""),
    ],
)  # fmt: skip
def test_a_client_is_an_address_or_a_network_of_one_subscriber(address, client):
    assert client_network(address) == client


def test_an_admin_elsewhere_adds_clips_from_named_folders_only(settings, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "link").symlink_to("/etc")
    named = {"host": "0.0.0.0", "clip_folders": (tmp_path / "clips",)}
    away = settings.model_copy(update=named)
    assert settings.may_add(tmp_path) and away.may_add(tmp_path / "clips" / "a.dcm")
    for path in (tmp_path, tmp_path / "clips/../b", tmp_path / "clips/link/passwd", Path("/etc")):
        assert not away.may_add(path)
    with page_client(away, "/sign-in") as client:
        client.app.state.page.accounts.add("chief", PASSWORD, Role.ADMIN)
        sign_in(client, "chief")
        token = {"X-CSRF-Token": csrf_of(client.get("/").text)}
        for path in ("/etc/passwd", "/no/such/file"):  # and it does not say what is there
            for route, field in (("folders", "path"), ("training", "folder")):
                response = client.post(f"/api/{route}", json={field: path}, headers=token)
                assert response.status_code == 403
                assert "--clip-folder" in error_of(response)
        for source in ("/etc/passwd", "file:///etc/passwd", "rtsp://10.0.0.1/", "0"):
            with client.websocket_connect(LIVE, headers={"Origin": ADDRESS}) as live:
                live.send_json({"address": source})
                assert "--live-source" in live.receive_json()["ended"]
            with client.websocket_connect(LIVE, headers={"Origin": ADDRESS}) as live:
                live.send_json({"source": source})  # a name, and none of the server's
                assert "no such source" in live.receive_json()["ended"]
        client.app.state.page.accounts.add("meier", PASSWORD, Role.READER)
        sign_in(client, "meier")
        token = {"X-CSRF-Token": csrf_of(client.get("/").text)}
        path = {"path": str(tmp_path / "clips")}
        response = client.post("/api/folders", json=path, headers=token)
        assert response.status_code == 403 and "admin" in error_of(response)


def test_errors_hold_no_path_and_no_traceback(client, monkeypatch, caplog):
    page = client.app.state.page
    secret = "/data/Miller^Anna.dcm"

    def fail(error):
        def raise_it(*words, **options):
            raise error

        monkeypatch.setattr(page.worklist, "page", raise_it)
        return client.get("/api/clips")

    response = fail(FormatError(f"{secret}: the file ends early; see C:\\x\\Miller.dcm"))
    assert (response.status_code, error_of(response)) == (
        400, "a file: the file ends early; see a file"
    )  # fmt: skip
    assert fail(OutputError("the database cannot be used")).status_code == 500
    response = fail(ValueError(secret))
    assert response.status_code == 500
    assert "Miller" not in response.text and "ValueError" not in response.text
    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "ValueError" in caplog.text and "Miller" not in caplog.text


def test_a_wrong_message_is_one_sentence(client):
    response = client.post("/api/folders", json={"path": 3})
    assert response.status_code == 422
    assert error_of(response) == "path: Input should be a valid string."
    response = client.get("/api/clips", params={"count": "many"})
    assert response.status_code == 422 and "Traceback" not in response.text


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
def test_a_web_socket_of_another_page_is_not_accepted(client, headers):
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(LIVE, headers=headers):
        pass
    with client.websocket_connect(LIVE, headers={"Origin": ADDRESS}):
        pass


def test_a_web_socket_needs_a_reader(settings):
    signed = settings.model_copy(update={"sign_in": True})
    with page_client(signed, "/sign-in") as client, pytest.raises(WebSocketDisconnect) as end:
        with client.websocket_connect(LIVE, headers={"Origin": ADDRESS}):
            pass
    assert end.value.code == 4401

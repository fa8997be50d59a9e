"""What the page refuses: foreign names and pages, changes without a token, large bodies."""

import pytest

from echoseg.web.security import CONTENT_SECURITY_POLICY, client_network
from page_makers import ADDRESS


def error_of(response):
    assert response.headers["content-type"] == "application/json"
    return response.json()["error"]


def test_every_answer_has_the_headers(client):
    for path in ("/", "/static/nothing.js", "/api/nothing", "/clip/x"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
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
    assert "--sign-in" in error_of(response)


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

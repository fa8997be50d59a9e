"""`echoseg serve` as a process: start, end, refusals, TLS, and what only a real server meets."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from echoseg.cli import app
from node_makers import free_port
from page_makers import PASSWORD, csrf_of, make_certificate, running_page


def serve(*words):
    command = [sys.executable, "-m", "echoseg", "serve", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(address, process, folder) of a page."""
    folder = tmp_path_factory.mktemp("page") / "data"
    with running_page(folder) as (address, process):
        yield address, process, folder


def get(address, path="/", body=None, context=None, **headers):
    """(answer, its text), whatever its status."""
    request = urllib.request.Request(address + path, body, headers)
    try:
        answer = urllib.request.urlopen(request, timeout=30, context=context)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer, answer.read().decode()


def raw(address, text, seconds=30):
    """What the server answers to bytes, until it closes the connection or is silent."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=seconds) as one:
        one.sendall(text)
        answer = b""
        try:
            while piece := one.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionError):  # it closes before all was sent
            pass
    return answer


def test_the_page_answers_at_the_address_that_is_printed(page):
    address, _, folder = page
    answer, html = get(address)
    assert answer.status == 200 and "not a medical device" in html
    assert folder.stat().st_mode & 0o077 == 0
    assert "server" not in answer.headers


def test_an_answer_does_not_wait_for_an_acknowledgement(page):
    parts = urlsplit(page[0])
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    times_s = []
    for _ in range(20):
        start_s = time.monotonic()
        connection.request("GET", "/static/api.js")
        connection.getresponse().read()
        times_s.append(time.monotonic() - start_s)
    connection.close()
    assert min(times_s) < 0.03  # Nagle's algorithm and delayed ACKs make it 0.04 at least


def test_a_second_server_of_a_folder_or_port_is_refused_in_one_sentence(page, tmp_path):
    address, _, folder = page
    port = urlsplit(address).port
    for words in (["--data", folder, "--port", "0"], ["--data", tmp_path / "b", "--port", port]):
        done = serve(*words)
        assert done.returncode == 2
        assert done.stdout == ""
        message = done.stderr.splitlines()[-1]
        assert "in use" in message and "Traceback" not in done.stderr
    assert get(address)[0].status == 200


def test_a_name_bound_to_this_machine_is_refused(page):
    assert get(page[0], Host="evil.example")[0].status == 421


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1|Host: a|Host: b", 400),
        ("GET / HTTP/1.1|Host: localhost|X: a\nb: c\0", 400),
        ("POST / HTTP/1.1|Host: localhost|Content-Length: 1|Content-Length: 2", 400),
        ("POST / HTTP/1.1|Host: localhost|Content-Length: 99999999999", 403),
        ("GET /static/../../app.py HTTP/1.1|Host: localhost|Connection: close", 404),
        ("GET /static/..%2f..%2fapp.py HTTP/1.1|Host: localhost|Connection: close", 404),
        ("GET /static//etc/passwd HTTP/1.1|Host: localhost|Connection: close", 404),
        ("GET /static/%00 HTTP/1.1|Host: localhost|Connection: close", 404),
        ("GET //evil.example/%0d%0aX:%20y HTTP/1.1|Host: localhost|Connection: close", 404),
    ],
    ids=range(10),
)
def test_requests_of_no_browser_are_refused(page, head, status):
    answer = raw(page[0], (head.replace("|", "\r\n") + "\r\n\r\n").encode(), 3)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"Traceback" not in answer and b"/src/" not in answer and b"X: y" not in answer


def test_a_large_body_is_refused_before_it_is_sent(page):
    html_answer, html = get(page[0])
    cookie = html_answer.headers["Set-Cookie"].split(";")[0]
    parts = urlsplit(page[0])
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.putrequest("POST", "/api/nothing")
    for name, value in {"X-CSRF-Token": csrf_of(html), "Cookie": cookie,
                        "Content-Length": str(2**40)}.items():  # fmt: skip
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert "MiB" in json.loads(answer.read())["error"]
    connection.close()


def test_a_web_socket_of_another_page_is_refused(page):
    address = page[0]
    url = address.replace("http", "ws") + "/api/live"
    for origin in ("http://evil.example", "null", None):
        with pytest.raises(InvalidStatus) as refusal:
            connect(url, origin=origin).close()
        assert refusal.value.response.status_code == 403


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="takes root to be another")
def test_another_account_of_this_machine_is_refused(tmp_path):
    """The server runs as one account, a program of another asks it."""
    if not shutil.which("bash"):
        pytest.skip("asks by bash")
    with running_page(tmp_path / "data") as (address, _):
        port = urlsplit(address).port
        head = "GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n"
        code = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{head}' >&3; cat <&3"
        done = subprocess.run(["bash", "-c", code], user=65534, cwd="/", capture_output=True)
    assert done.stdout.startswith(b"HTTP/1.1 403")
    assert b"another account" in done.stdout


def hang_up_in_an_upload(address, cookie, token):
    """Send a part of a dropped file, as a browser whose window is closed."""
    head = {"Host": urlsplit(address).netloc, "Cookie": cookie, "X-CSRF-Token": token,
            "Content-Length": 10**6, "Content-Type": "multipart/form-data; boundary=x"}  # fmt: skip
    lines = ["POST /api/clips HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as one:
        one.sendall("\r\n".join([*lines, "", "--x\r\nContent-Disp"]).encode())
        time.sleep(0.5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_it_starts_again(tmp_path, number):
    folder = tmp_path / "data"
    with running_page(folder) as (address, process):
        answer, html = get(address)
        hang_up_in_an_upload(address, answer.headers["Set-Cookie"].split(";")[0], csrf_of(html))
        assert get(address)[0].status == 200
        process.send_signal(number)
        assert process.wait(30) == 0
        assert process.stderr.read().splitlines() == ["Research software, not a medical device."]
    with running_page(folder) as (address, _):
        assert get(address)[0].status == 200


def test_after_a_kill_the_open_page_works_on(tmp_path):
    folder, port = tmp_path / "data", free_port()
    with running_page(folder, "--port", str(port)) as (address, process):
        answer, html = get(address)
        process.kill()
        process.wait(30)
    headers = {"Cookie": answer.headers["Set-Cookie"].split(";")[0], "X-CSRF-Token": csrf_of(html)}
    with running_page(folder, "--port", str(port)) as (address, _):
        assert get(address, "/api/nothing", b"", **headers)[0].status == 404  # and not 403


def test_accounts_on_the_command_line(tmp_path):
    folder = tmp_path / "data"

    def account(*words, password=""):
        words = ["serve", "account", *words, "--data", str(folder)]
        return CliRunner().invoke(app, words, input=password)

    for words in (["list"], ["remove", "meier"], ["password", "meier"]):
        done = account(*words, password=PASSWORD)
        assert done.exit_code == 2 and "there is no page" in done.output
    assert not folder.exists()
    assert account("add", "Meier", password=PASSWORD).output == "account meier added, reader\n"
    assert account("add", "chief", "--role", "admin", password=PASSWORD + "\n").exit_code == 0
    done = account("add", "x", password="short")
    assert done.exit_code == 2 and "12 to 1024" in done.output
    assert account("add", "y", "--role", "king", password=PASSWORD).exit_code == 2
    assert account("remove", "meier").exit_code == 0
    assert account("list").output == "chief admin\n"
    done = account("password", "nobody", password=PASSWORD)
    assert done.exit_code == 2 and "no account" in done.output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--port", "70000"], "port"), (["--tls-key", "a"], "belong together"),
        (["--host", "nowhere.invalid", "--sign-in"], "not an address"),
        (["--server-name", "a b"], "server_names"), (["--proxy", "x"], "proxy"),
        (["--database-url", "mysql://a:secret@b/c"], "SQLite or PostgreSQL"),
        (["nothing.dcm"], "nothing.dcm"), (["--jobs", "0"], "jobs"), (["--data", ""], "empty"),
        (["--model", "nonsense"], "nonsense"), (["--backend", "fast"], "backend"),
        (["--live-source", "rtsp://a:secret@b"], "NAME=ADDRESS"), (["--live-limit", "0"], "live_"),
        (["--live-source", "a=-"], "live_sources"), (["--live-source", "/=secret b"], "live_"),
        (["--live-source", "a=0", "--live-source", "a=1"], "different names"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_in_one_sentence(tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["serve", "--port", "0", *words])
    assert done.exit_code == 2
    assert text in done.output.splitlines()[-1]
    assert "secret" not in done.output and "Traceback" not in done.output


def test_help_names_the_command_and_the_accounts():
    for words in (["serve", "--help"], ["serve", "account", "--help"]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0
        assert "account" in done.output


def test_it_serves_others_with_accounts_and_a_certificate(tmp_path):
    folder = tmp_path / "data"
    words = ["serve", "account", "add", "meier", "--data", str(folder)]
    assert CliRunner().invoke(app, words, input=PASSWORD).exit_code == 0
    certificate, key = make_certificate(tmp_path)
    options = ["--host", "0.0.0.0", "--tls-certificate", certificate, "--tls-key", key]
    with running_page(folder, *map(str, options)) as (address, _):
        assert address.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=str(certificate))
        answer, _ = get(address, context=trust)
        assert answer.url == f"{address}/sign-in?next=/"
        assert answer.headers["Set-Cookie"].startswith("__Host-echoseg-")
        assert "Secure" in answer.headers["Set-Cookie"]
        with pytest.raises(http.client.HTTPException):
            get(address.replace("https", "http"))
    key.write_text("no key")
    done = serve(
        "--data", folder, "--port", "0", "--tls-certificate", certificate, "--tls-key", key
    )
    assert done.returncode == 2 and "PEM" in done.stderr and "Traceback" not in done.stderr

"""Sessions with DICOMweb services: logins reach their service and nothing else shows them."""

import socket
import socketserver
import threading
from base64 import b64encode
from contextlib import contextmanager
from select import select

import pytest

from echoseg.errors import ConfigError, OutputError
from echoseg.node.fetch import StudyQuery, fetch
from echoseg.node.push import push
from echoseg.node.settings import NodeSettings, Target, read_settings
from echoseg.node.web_client import web_session
from node_makers import make_certificates, make_job, tls_files
from web_service import service

TOKEN = "geheim-4711"


def settings_of(folder, url, **login):
    return NodeSettings(folder=folder, login={url: login})


def send(settings, url):
    target = Target.parse(url)
    ((_, sent),) = push(settings, target, [make_job(settings.folder, 1, target.name)])
    return sent


@pytest.mark.parametrize("place", ["env", "file"])
@pytest.mark.parametrize("user", ["", "Jörg"])
def test_a_login_reaches_its_service_by_push_and_by_fetch(tmp_path, monkeypatch, place, user):
    (tmp_path / "secret").write_text(TOKEN + "\n")
    monkeypatch.setenv("PACS_SECRET", TOKEN)
    where = {"env": "PACS_SECRET"} if place == "env" else {"file": tmp_path / "secret"}
    basic = "Basic " + b64encode(f"{user}:{TOKEN}".encode()).decode()
    with service() as (url, notes):
        settings = settings_of(tmp_path, url + "/", user=user, **where)
        assert send(settings, url).kind == "stored"
        fetch(settings, None, Target.parse(url), StudyQuery(study_uid="1.2"))
    assert notes == [basic if user else f"Bearer {TOKEN}"] * 2
    assert TOKEN not in repr(settings) + settings.model_dump_json()


def test_a_login_goes_to_no_other_service(tmp_path, monkeypatch):
    monkeypatch.setenv("PACS_SECRET", TOKEN)
    with service() as (other, of_other), service(to=f"{other}/studies") as (url, notes):
        other = other.replace("127.0.0.1", "localhost")
        settings = settings_of(tmp_path, url, env="PACS_SECRET")
        with web_session(settings, Target.parse(other)) as session:
            session.get(other)
        assert of_other == [None]
        with web_session(settings, Target.parse(url)) as session:
            session.get(f"{url}/studies")
        assert notes == [f"Bearer {TOKEN}"]
        assert of_other == [None, None]  # another port is another service


@pytest.mark.parametrize("code", [401, 403])
def test_a_login_that_is_missing_or_wrong_is_said_without_it(tmp_path, monkeypatch, code):
    monkeypatch.setenv("PACS_SECRET", TOKEN)
    with service(code) as (url, _):
        settings = settings_of(tmp_path, url, env="PACS_SECRET")
        sent = send(settings, url)
        with pytest.raises(OutputError) as caught:
            fetch(settings, None, Target.parse(url), StudyQuery(patient_id="PLANTED"))
    assert sent.kind == "failed"
    for text in (sent.reason, str(caught.value)):
        assert f"HTTP {code}" in text and "login" in text
        assert TOKEN not in text and "PLANTED" not in text


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "t\x00n", "tokän"])
def test_a_secret_that_is_none_is_refused_and_not_repeated(tmp_path, content):
    (tmp_path / "secret").write_text(content)
    settings = settings_of(tmp_path, "https://pacs.example/rs", file=tmp_path / "secret")
    with pytest.raises(ConfigError, match="must be a token of ASCII on one line") as caught:
        send(settings, "https://pacs.example/rs")
    assert not content.strip() or content not in str(caught.value)


def test_a_secret_that_is_not_there_is_named_by_its_place(tmp_path):
    url = "https://pacs.example/rs"
    with pytest.raises(ConfigError, match="environment variable NO_SUCH"):
        send(settings_of(tmp_path, url, env="NO_SUCH"), url)
    with pytest.raises(ConfigError, match="none cannot be read as a login"):
        send(settings_of(tmp_path, url, file=tmp_path / "none"), url)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[login."http://pacs.example/rs"]\nenv = "A"', "https"),
        ('[login."PACS@127.0.0.1:104"]\nenv = "A"', "https"),
        ('[login."https://pacs.example/rs"]\nuser = "u"', "either env or file"),
        ('[login."https://pacs.example/rs"]\nenv = "A"\nfile = "b"', "either env or file"),
        ('[login."https://pacs.example/rs"]\npassword = "geheim-4711"', "of env or file"),
        ('[login."https://u:geheim-4711@pacs.example/rs"]\nenv = "A"', "without user"),
        ('login = "geheim-4711"', "login"),
    ],
)
def test_settings_of_a_login_are_checked_and_show_no_secret(tmp_path, text, message):
    (tmp_path / "node.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_settings(tmp_path / "node.toml")
    assert TOKEN not in str(caught.value)


def test_a_file_of_a_login_starts_at_the_folder_of_the_settings(tmp_path):
    (tmp_path / "node.toml").write_text('[login."https://pacs.example/rs/"]\nfile = "token"')
    (login,) = read_settings(tmp_path / "node.toml").login.items()
    assert login[0] == "https://pacs.example/rs"
    assert login[1].file == tmp_path / "token"


@pytest.mark.parametrize(
    ("name", "check_host", "kind"),
    [("node", True, "stored"), ("peer", True, "unreachable"), ("peer", False, "stored"),
     ("x", False, "unreachable")],
)  # fmt: skip
def test_the_certificate_of_a_service_is_checked_as_that_of_a_peer(
    tmp_path, monkeypatch, name, check_host, kind
):
    make_certificates(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "x.pem"))  # of other programs
    settings = NodeSettings(folder=tmp_path, tls=tls_files(tmp_path, check_host=check_host))
    with service(tls=tls_files(tmp_path, name)) as (url, _):
        assert send(settings, url).kind == kind
        with tunnel() as (proxy, tunnels):
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            assert send(settings, url).kind == kind
            assert tunnels


@contextmanager
def tunnel():
    """A proxy that joins a client with the host that it names by CONNECT."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            host, port = self.rfile.readline().split()[1].decode().split(":")
            while self.rfile.readline().strip():
                pass
            taken.append(host)
            with socket.create_connection((host, int(port))) as service:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                ends = {self.connection: service, service: self.connection}
                while data := [(one, one.recv(65536)) for one in select([*ends], [], [])[0]]:
                    for one, part in data:
                        ends[one].sendall(part)
                    if not all(part for _, part in data):
                        return

    taken = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", taken
        server.shutdown()

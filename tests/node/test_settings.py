"""Settings of a node: read from TOML, overridden, refused in one sentence."""

from pathlib import Path

import pytest

from echoseg.errors import ConfigError
from echoseg.node.settings import NodeSettings, Target, is_loopback, read_settings

TOML = """
aet = " MYECHO "
host = "0.0.0.0"
folder = "data"
push = ["PACS@pacs.example:11112", "https://pacs.example/dicom-web/"]
quiet_s = 5
[allowed_peers]
SCANNER = "10.0.0.7"
ORTHANC = "10.1.0.0/16"
[tls]
cert = "node.pem"
key = "/etc/node.key"
ca = "ca.pem"
"""


def test_a_file_is_read_and_options_override_it(tmp_path):
    (tmp_path / "node.toml").write_text(TOML)
    settings = read_settings(tmp_path / "node.toml", port=104, quiet_s=None)
    assert (settings.aet, settings.host, settings.port, settings.quiet_s) == (
        "MYECHO", "0.0.0.0", 104, 5)  # fmt: skip
    assert settings.folder == tmp_path / "data"
    assert settings.tls.cert == tmp_path / "node.pem"
    assert settings.tls.key == Path("/etc/node.key")
    pacs, web = settings.push
    assert (pacs.aet, pacs.host, pacs.port, pacs.is_web) == ("PACS", "pacs.example", 11112, False)
    assert (web.url, web.is_web) == ("https://pacs.example/dicom-web", True)
    assert settings.allowed_peers["SCANNER"] == "10.0.0.7/32"
    assert settings.url == f"sqlite:///{tmp_path / 'data' / 'node.sqlite'}"
    assert NodeSettings.model_validate(settings.model_dump()) == settings


def test_without_settings_a_node_is_of_this_machine_alone():
    settings = NodeSettings()
    assert (settings.host, settings.web_port, settings.allowed_peers) == ("127.0.0.1", None, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aet": "A" * 17}, "AE title must be 1 to 16"),
        ({"aet": "A\\B"}, "AE title"),
        ({"aet": "  "}, "AE title"),
        ({"aet": "ÄCHO"}, "AE title"),
        ({"port": 70_000}, "port must be less than or equal to 65535, got 70000"),
        ({"quiet_s": -1}, "quiet_s must be"),
        ({"quiet": 3}, "there is no field quiet; did you mean quiet_s"),
        ({"host": "0.0.0.0"}, "any_peer"),
        ({"any_peer": True, "allowed_peers": {"A": "10.0.0.1"}}, "contradict"),
        ({"allowed_peers": {"A": "scanner.example"}}, "must be an IP address or a network"),
        ({"allowed_peers": {"A": "10.0.0.1/8"}}, "must be an IP address or a network"),
        ({"push": ["PACS"]}, "AET@HOST:PORT"),
        ({"push": ["PACS@host:0"]}, "AET@HOST:PORT"),
        ({"push": ["ftp://host"]}, "AET@HOST:PORT"),
        ({"push": [5]}, "push"),
        ({"private": False}, "private"),
    ],
)
def test_a_wrong_setting_is_one_sentence(options, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        read_settings(None, **options)
    assert "correct the settings" in str(refusal.value)


def test_passwords_are_not_repeated():
    with pytest.raises(ConfigError) as refusal:
        read_settings(None, push=["https://me:secret@host/"])
    assert "secret" not in str(refusal.value)
    with pytest.raises(ConfigError) as refusal:
        read_settings(None, database_url=["secret"])
    assert "secret" not in str(refusal.value)
    assert "secret" not in repr(NodeSettings(database_url="postgresql://a:secret@b/c"))


@pytest.mark.parametrize("content", [b"aet = ", b"\xff", b"[[[[" * 9999])
def test_a_file_that_is_not_toml_is_refused(tmp_path, content):
    path = tmp_path / "node.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="must be the settings of a node, TOML"):
        read_settings(path)


def test_targets_are_parsed():
    assert Target.parse("A B@[::1]:104").host == "::1"
    with pytest.raises(ConfigError):
        Target.parse("http://")


def test_loopback_is_recognized():
    loopback = ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "localhost"]
    assert all(map(is_loopback, loopback))
    assert not any(map(is_loopback, ["0.0.0.0", "10.0.0.1", "::", "example.org"]))

"""HTTP sessions with DICOMweb services: certificates and logins.

A login is read where it is used, from an environment variable or a file, so no setting and no log
holds it; it goes to the service that it is of and to no other.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from echoseg.errors import ConfigError
from echoseg.node.settings import TLS, Login, NodeSettings, Target
from echoseg.node.tls import client_context
from echoseg.untrusted import read_bytes, reading

WEB_TIMEOUT_S = 60.0
_MAX_SECRET_BYTES = 16_384


@contextmanager
def web_session(settings: NodeSettings, service: Target) -> Iterator[Any]:
    """Yield a `requests.Session` for a service.

    Args:
        settings: TLS and logins.
        service: The service.

    Raises:
        ConfigError: If its login cannot be read.
    """
    import requests

    with _session(settings.tls) if settings.tls else requests.Session() as session:
        if login := settings.login.get(service.url):
            header = _header(login, secret(service.url, login))
            session.auth = lambda request: _with_header(request, header)
        yield session


def _session(tls: TLS) -> Any:
    """A session that takes the certificates of our authorities alone."""
    from requests import Session
    from requests.adapters import HTTPAdapter

    class OwnSession(Session):
        def merge_environment_settings(
            self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> Any:
            merged = super().merge_environment_settings(url, proxies, stream, verify, cert)
            # or REQUESTS_CA_BUNDLE would take the place of our authorities
            return merged | {"verify": self.verify}

    # the context of urllib3 refuses, from Python 3.13 on, what DICOM's side accepts
    own: dict[str, Any] = {"ssl_context": client_context(tls)}
    if not tls.check_host:
        own["assert_hostname"] = False

    class OwnTls(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options | own)

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            return super().proxy_manager_for(proxy, **options | own)

    session = OwnSession()
    session.verify = str(tls.ca)
    session.mount("https://", OwnTls())
    return session


def secret(url: str, login: Login) -> str:
    """The password or token of a login.

    Raises:
        ConfigError: If it is not there, or is not one line of text.
    """
    place = f"login of {url} must be"
    if login.env:
        text = os.environ.get(login.env, "")
        where = f"in the environment variable {login.env}"
    else:
        assert login.file is not None
        with reading(login.file, ConfigError, "cannot be read as a login", "correct its setting"):
            text = read_bytes(login.file, _MAX_SECRET_BYTES).decode("utf-8")
        where = f"in {login.file}"
    text = text.rstrip("\r\n")
    if not text or not text.isprintable() or not (login.user or text.isascii()):
        kind = "a password" if login.user else "a token of ASCII"
        raise ConfigError(f"the {place} {kind} on one line {where}; put it there")
    return text


def _header(login: Login, text: str) -> str:
    """Value of `Authorization`: RFC 7617 in UTF-8, or RFC 6750."""
    from base64 import b64encode

    if not login.user:
        return f"Bearer {text}"
    return "Basic " + b64encode(f"{login.user}:{text}".encode()).decode()


def _with_header(request: Any, header: str) -> Any:
    request.headers["Authorization"] = header
    return request


def http_status(error: Exception) -> int:
    """Status of the answer that an error is about; 0 where there is none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)

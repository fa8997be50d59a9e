"""Transport security of a node: both sides present certificates."""

import ssl
from pathlib import Path
from typing import TypeVar

from echoseg.errors import ConfigError
from echoseg.node.settings import TLS


def server_context(tls: TLS) -> ssl.SSLContext:
    """TLS 1.2 or newer that asks peers for a certificate (PS3.15 B.9 and B.12 are of this kind).

    Raises:
        ConfigError: If a file cannot be used.
    """
    return _prepare(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)


class ClientContext(ssl.SSLContext):
    """A context that keeps why the certificate of a peer was not accepted.

    Attributes:
        problem: The reason, in the words of OpenSSL; empty where there is none.
    """

    problem = ""


class _Socket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ssl.SSLCertVerificationError as error:
            if isinstance(self.context, ClientContext):
                self.context.problem = error.verify_message
            raise


def client_context(tls: TLS) -> ClientContext:
    """TLS 1.2 or newer towards a peer.

    Its certificate must be of our authorities, and name the host by which it is called (RFC 6125),
    unless `check_host` is off.

    Raises:
        ConfigError: If a file cannot be used.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _Socket
    context.check_hostname = tls.check_host
    return _prepare(context, tls)


Context = TypeVar("Context", bound=ssl.SSLContext)


def _prepare(context: Context, tls: TLS) -> Context:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")
        context.load_verify_locations(tls.ca)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"tls must name a certificate, its key without a password, and authorities, PEM files "
            f"({_file_problem(tls) or 'they do not fit together'}); correct them"
        ) from error
    return context


def _file_problem(tls: TLS) -> str:
    for name in ("cert", "key", "ca"):
        if not Path(getattr(tls, name)).is_file():
            return f"{name} is missing"
    return ""

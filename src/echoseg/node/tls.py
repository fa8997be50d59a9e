"""Transport security of a node: both sides present certificates."""

import ssl
from pathlib import Path

from echoseg.errors import ConfigError
from echoseg.node.settings import TLS


def server_context(tls: TLS) -> ssl.SSLContext:
    """TLS 1.2 or newer that asks peers for a certificate (PS3.15 B.9 and B.12 are of this kind).

    Raises:
        ConfigError: If a file cannot be used.
    """
    return _context(ssl.PROTOCOL_TLS_SERVER, tls)


def client_context(tls: TLS) -> ssl.SSLContext:
    """TLS 1.2 or newer towards a peer, whose certificate must be of our authorities.

    The name in it is not checked: DICOM peers are often named by address alone.

    Raises:
        ConfigError: If a file cannot be used.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, tls)


def tls_arguments(tls: TLS | None) -> tuple[ssl.SSLContext, None] | None:
    """The `tls_args` of `AE.associate` towards a peer.

    Raises:
        ConfigError: As `client_context`.
    """
    return None if tls is None else (client_context(tls), None)


def _context(protocol: int, tls: TLS) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
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

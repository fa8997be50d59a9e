"""Associations with DICOM peers: one way to ask for one, to secure it and to end it."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from echoseg.node.settings import NodeSettings, Target
from echoseg.node.tls import client_context

NOT_ACCEPTED = "the peer does not accept objects of this class and transfer syntax"
_TIMEOUT_S, _CONNECT_S = 60.0, 15.0


def quiet_library() -> None:
    """Silence pynetdicom, which logs data sets."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)


@contextmanager
def associated(
    settings: NodeSettings,
    peer: Target,
    contexts: Sequence[Any],
    *,
    roles: Sequence[Any] = (),
    handlers: Sequence[Any] = (),
) -> Iterator[tuple[Any, str]]:
    """Ask a peer for an association; it is released at the end.

    Args:
        settings: AE title and TLS; with TLS the certificate of the peer must name its host.
        peer: The peer.
        contexts: What is offered, of `pynetdicom.build_context`.
        roles: Roles, of `pynetdicom.build_role`.
        handlers: Events and their handlers.

    Yields:
        The association, and why it is not established; empty where it is.

    Raises:
        ConfigError: If the files of TLS cannot be used.
    """
    from pynetdicom import AE

    quiet_library()
    ae = AE(ae_title=settings.aet)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _TIMEOUT_S
    ae.connection_timeout = _CONNECT_S
    tls = client_context(settings.tls) if settings.tls else None
    assoc = ae.associate(
        peer.host, peer.port, list(contexts), ae_title=peer.aet, ext_neg=list(roles),
        evt_handlers=list(handlers), tls_args=(tls, peer.host) if tls else None,
    )  # fmt: skip
    try:
        yield assoc, "" if assoc.is_established else _problem(assoc, tls and tls.problem)
    finally:
        if assoc.is_established:
            assoc.release()


def _problem(assoc: Any, certificate: str | None) -> str:
    if certificate:
        return f"the certificate of the peer is not accepted: {certificate}"
    if assoc.rejected_contexts:  # the peer answered, and takes nothing of what was offered
        return NOT_ACCEPTED
    return (
        "the peer rejected the association" if assoc.is_rejected else "the peer cannot be reached"
    )

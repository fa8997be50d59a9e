"""DICOM services of a node: verification, storage, storage commitment (PS3.4 A, B, J)."""

import ipaddress
import logging
import socket
import threading
from socketserver import TCPServer
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

from echoseg.errors import ConfigError, reason_of
from echoseg.node import classes
from echoseg.node.association import quiet_library
from echoseg.node.commitment import Commitment
from echoseg.node.incoming import Incoming, Refused
from echoseg.node.log import log_event
from echoseg.node.settings import NodeSettings, is_loopback
from echoseg.node.store import Store
from echoseg.node.tls import server_context

ACSE_TIMEOUT_S = 15
DIMSE_TIMEOUT_S = 60
NETWORK_TIMEOUT_S = 60
MAX_PDU_BYTES = 2**17
_HANDSHAKE_TIMEOUT_S = 10
_REJECTED_CALLING = (0x01, 0x01, 0x03)
"""Permanent, by the service user: calling AE title not recognized (PS3.8 9.3.4)."""
_MAX_LOGGED = 8
_PROTOCOL_BYTES = 2**20
"""What a message may have besides its data set, with the headers of its fragments."""


class Scp:
    """The DICOM services of a node on a port.

    Args:
        settings: Titles, address, peers, limits and TLS.
        store: Where instances go.
        commitment: Answers and takes answers of storage commitment.
    """

    def __init__(self, settings: NodeSettings, store: Store, commitment: Commitment) -> None:
        self._settings, self._store, self._commitment = settings, store, commitment
        self._server: Any = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen, in threads of its own.

        Raises:
            ConfigError: If the address is in use or not of this machine, or TLS cannot be set up.
        """
        quiet_library()
        ae = _entity(self._settings)
        host, port = self._settings.host, self._settings.port
        try:
            self._server = ae.make_server(
                (host, port),
                ssl_context=server_context(self._settings.tls) if self._settings.tls else None,
                evt_handlers=[
                    (evt.EVT_REQUESTED, self._check_peer),
                    (evt.EVT_DATA_RECV, self._count),
                    (evt.EVT_C_ECHO, lambda event: classes.SUCCESS),
                    (evt.EVT_C_STORE, self._store_instance),
                    (evt.EVT_N_ACTION, self._commitment.on_request),
                    (evt.EVT_N_EVENT_REPORT, self._commitment.on_report),
                    (evt.EVT_REJECTED, _log_rejection),
                    (evt.EVT_ACCEPTED, _log_useless),
                    (evt.EVT_ABORTED, _log_end),
                    (evt.EVT_CONN_CLOSE, _log_end),
                ],
                server_class=_server_class(self._settings),
            )
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"the node cannot listen on {host}, port {port} ({reason_of(error)}); choose "
                "another port (--port), or stop what uses it"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="scp", daemon=True).start()
        log_event("listening", aet=self._settings.aet, host=host, port=self.port)

    def stop(self) -> None:
        """Stop listening and end all associations; what is not acknowledged is not stored."""
        if self._server is not None:
            for assoc in self._server.active_associations:
                if assoc.is_established:
                    assoc.abort()
            TCPServer.shutdown(self._server)
            self._server.server_close()

    def _check_peer(self, event: Any) -> None:
        """Reject an association of a peer that may not connect."""
        primitive = event.assoc.requestor.primitive
        title = str(primitive.calling_ae_title).strip()
        address = event.assoc.requestor.address
        if not is_allowed(self._settings, title, address):
            log_event("association rejected", logging.WARNING, peer=title, address=address,
                      reason="not an allowed peer")  # fmt: skip
            event.assoc.acse.send_reject(*_REJECTED_CALLING)

    def _count(self, event: Any) -> None:
        """Cut the connection of a peer whose message exceeds the largest instance."""
        assoc = event.assoc
        assoc.num_received_bytes = getattr(assoc, "num_received_bytes", 0) + len(event.data)
        limit = self._settings.max_instance_mb * 1e6 * 1.05 + _PROTOCOL_BYTES
        if assoc.num_received_bytes > limit and not getattr(assoc, "is_cut", False):
            assoc.is_cut = True
            log_event("message too large, association cut", logging.WARNING, **_peer(event))
            assoc.dul.socket.close()

    def _store_instance(self, event: Any) -> Any:
        """Answer a C-STORE; Success only where file and row are on disk."""
        event.assoc.num_received_bytes = 0
        request, context = event.request, event.context
        try:
            self._store.receive(
                Incoming(
                    class_uid=str(request.AffectedSOPClassUID),
                    instance_uid=str(request.AffectedSOPInstanceUID),
                    transfer_syntax=str(context.transfer_syntax),
                    sender=_peer(event)["peer"],
                    dataset=request.DataSet.getbuffer(),
                )
            )
        except Refused as refusal:
            status, reason = refusal.status, str(refusal)
        except Exception as error:  # a peer must get an answer whatever happens
            status, reason = classes.UNEXPECTED, reason_of(error)
        else:
            return classes.SUCCESS
        log_event("instance refused", logging.WARNING, status=f"{status:04X}", reason=reason,
                  **_peer(event))  # fmt: skip
        return _answer(status, reason)


def _entity(settings: NodeSettings) -> Any:
    ae = AE(ae_title=settings.aet)
    ae.require_called_aet = True
    ae.maximum_associations = settings.max_associations
    ae.maximum_pdu_size = MAX_PDU_BYTES
    ae.acse_timeout, ae.dimse_timeout = ACSE_TIMEOUT_S, DIMSE_TIMEOUT_S
    ae.network_timeout = NETWORK_TIMEOUT_S
    uncompressed = list(classes.TRANSFER_SYNTAXES)[:2]
    ae.add_supported_context(classes.VERIFICATION, uncompressed)
    ae.add_supported_context(classes.COMMITMENT, uncompressed, scu_role=True, scp_role=True)
    for uid in classes.STORAGE_CLASSES:
        ae.add_supported_context(uid, list(classes.TRANSFER_SYNTAXES))
    return ae


def is_allowed(settings: NodeSettings, title: str, address: str) -> bool:
    """Whether a peer of a title and an IP address may connect."""
    if settings.any_peer:
        return True
    if not settings.allowed_peers:
        return is_loopback(address)
    network = settings.allowed_peers.get(title)
    return network is not None and _is_in(address, network)


def _is_in(address: str, network: str) -> bool:
    ip = ipaddress.ip_address(address)
    return (getattr(ip, "ipv4_mapped", None) or ip) in ipaddress.ip_network(network)


def _server_class(settings: NodeSettings) -> type[ThreadedAssociationServer]:
    """A server whose TLS handshakes delay no other peer, and which logs no data."""

    class Server(ThreadedAssociationServer):
        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = self.socket.accept()  # type: ignore[union-attr]
            if self.ssl_context:
                connection = self.ssl_context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            return connection, address

        def verify_request(self, request: Any, client_address: Any) -> bool:
            """Whether any peer of this address may connect."""
            address = client_address[0]
            networks = settings.allowed_peers.values()
            is_known = any(_is_in(address, one) for one in networks)
            if settings.any_peer or is_known or (not networks and is_loopback(address)):
                return True
            log_event("connection refused", logging.WARNING, address=address)
            return False

        def finish_request(self, request: Any, client_address: Any) -> None:
            if self.ssl_context:  # here in a thread of this connection
                request.settimeout(_HANDSHAKE_TIMEOUT_S)
                request.do_handshake()
                request.settimeout(NETWORK_TIMEOUT_S)
            super().finish_request(request, client_address)

        def handle_error(self, request: Any, client_address: Any) -> None:
            log_event("connection failed", logging.WARNING, address=client_address[0])

    return Server


def _answer(status: int, reason: str) -> Any:
    from pydicom.dataset import Dataset

    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = reason[:64]  # VR LO
    return answer


def _peer(event: Any) -> dict[str, str]:
    requestor = event.assoc.requestor
    return {"peer": str(requestor.ae_title).strip(), "address": str(requestor.address)}


def _log_rejection(event: Any) -> None:
    """Log what the library rejects."""
    title = str(event.assoc.requestor.primitive.called_ae_title).strip()
    is_called = title == str(event.assoc.acceptor.ae_title).strip()
    reason = "too many associations" if is_called else "it calls another AE title"
    log_event("association rejected", logging.WARNING, reason=reason, **_peer(event))


def _log_useless(event: Any) -> None:
    """Log an association on which nothing that is offered is accepted."""
    if not event.assoc.accepted_contexts:
        offered = {str(one.abstract_syntax) for one in event.assoc.rejected_contexts}
        log_event("no class accepted", logging.WARNING, offered=sorted(offered)[:_MAX_LOGGED],
                  **_peer(event))  # fmt: skip


def _log_end(event: Any) -> None:
    log_event("association ended", logging.DEBUG, **_peer(event))

"""A DICOMweb service that takes everything, for tests of who sends to it."""

import contextlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextlib.contextmanager
def service(code=200, tls=None, to="", bodies=None):
    """Run a service: yield its URL, and the `Authorization` of each request.

    Args:
        code: Its answer.
        tls: Certificate and key, as `node_makers.tls_files`.
        to: Where it redirects to, in place of an answer.
        bodies: Takes what is sent.
    """
    notes = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            content = _read_body(self)
            if bodies is not None:
                bodies.append(content)
            notes.append(self.headers.get("Authorization"))
            body = b"[]" if self.command == "GET" else json.dumps({}).encode()
            self.send_response(307 if to else code)
            if to:
                self.send_header("Location", to)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls["cert"], tls["key"])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}/dicom-web", notes
    finally:
        server.shutdown()
        server.server_close()


def _read_body(request):
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    content = b""
    while num_bytes := int(request.rfile.readline(), 16):
        content += request.rfile.read(num_bytes)
        request.rfile.readline()
    request.rfile.readline()
    return content

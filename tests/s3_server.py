"""A small S3 server for tests: list, get, put and delete of objects in memory, any key allowed."""

import hashlib
import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def _key(self):
        return unquote(urlsplit(self.path).path).removeprefix("/")

    def _answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _object(self, with_body):
        if self._key() not in self.server.objects:
            return self._answer(404)
        content = self.server.objects[self._key()]
        marks = {"ETag": etag(content), "Last_Modified": formatdate(usegmt=True)}
        start, end, status = 0, len(content), 200
        if span := self.headers.get("Range"):
            first, _, last = span.removeprefix("bytes=").partition("-")
            start, end, status = int(first), min(end, int(last or end) + 1), 206
            marks["Content_Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        part = content[start:end]
        return self._answer(status, part if with_body else b"", len(part), **marks)

    def do_HEAD(self):
        self._object(False)

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" not in query:
            return self._object(True)
        bucket = self._key().strip("/")
        prefix = query.get("prefix", [""])[0]
        items = ""
        for name, content in sorted(self.server.objects.items()):
            key = name.removeprefix(f"{bucket}/")
            if name.startswith(f"{bucket}/") and key.startswith(prefix):
                items += f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
                items += f"<ETag>{escape(etag(content))}</ETag>"
                items += "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
        return self._answer(200, body.encode(), Content_Type="application/xml")

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refused(self._key()):
            return self._answer(403)
        self.server.objects[self._key()] = body
        self.server.order.append(self._key())
        return self._answer(200, ETag=etag(body))

    def do_DELETE(self):
        self.server.objects.pop(self._key(), None)
        self._answer(204)

    def do_POST(self):  # of many objects: DeleteObjects
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        done = ""
        for part in body.split("<Key>")[1:]:
            key = unescape(part.split("</Key>")[0])
            self.server.objects.pop(f"{self._key().strip('/')}/{key}", None)
            done += f"<Deleted><Key>{escape(key)}</Key></Deleted>"
        body = f"<DeleteResult>{done}</DeleteResult>"
        self._answer(200, body.encode(), Content_Type="application/xml")


def etag(content):
    return f'"{hashlib.md5(content).hexdigest()}"'


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects, self.order, self.refused = {}, [], lambda key: False
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def s3_server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

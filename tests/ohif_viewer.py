"""The viewer OHIF on 127.0.0.1: its files, and DICOMweb of an Orthanc under the same origin."""

import contextlib
import json
import mimetypes
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

DIST = Path(os.environ.get("ECHOSEG_OHIF", "node_modules/@ohif/app")) / "dist"
_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "orthanc",
    "configuration": {
        "friendlyName": "Orthanc",
        "name": "orthanc",
        "wadoUriRoot": "/wado",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
    },
}
_CONFIG = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "defaultDataSourceName": "orthanc",
    "dataSources": [_SOURCE],
    "investigationalUseDialog": {"option": "never"},
}


@contextlib.contextmanager
def ohif(dicomweb: str) -> Iterator[str]:
    """Serve the viewer; yields its URL. The test is skipped where it is not installed."""
    if not (DIST / "index.html").exists():
        pytest.skip("needs OHIF: npm install @ohif/app@3.13.2, or ECHOSEG_OHIF=FOLDER")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/dicom-web"):
                headers = {k: v for k, v in self.headers.items() if k.lower() in ("accept", "host")}
                answer = requests.get(dicomweb + self.path[10:], headers=headers, timeout=60)
                kind, code = answer.headers.get("Content-Type", ""), answer.status_code
                self._answer(answer.content, kind, code)
            elif self.path.startswith("/app-config.js"):
                self._answer(f"window.config = {json.dumps(_CONFIG)};".encode(), "text/javascript")
            else:
                file = DIST / self.path.split("?")[0].lstrip("/")
                file = file if file.is_file() else DIST / "index.html"
                kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                self._answer(file.read_bytes(), kind)

        def _answer(self, content: bytes, kind: str, code: int = 200) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            with contextlib.suppress(OSError):  # the page may have closed the connection
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

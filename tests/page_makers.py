"""What tests of the page share: a client as a browser would be, and a server of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys

from fastapi.testclient import TestClient

from echoseg.web.app import create_app
from echoseg.web.settings import PageSettings

ADDRESS = "http://127.0.0.1:8080"
PASSWORD = "correct horse battery"


def csrf_of(html):
    return re.search(r'name="csrf-token" content="([0-9a-f]{64})"', html)[1]


def page_client(settings_or_app, path="/"):
    """A client that has opened a page: it has the cookie, and sends the CSRF token."""
    is_settings = isinstance(settings_or_app, PageSettings)
    app = create_app(settings_or_app) if is_settings else settings_or_app
    client = TestClient(app, base_url=ADDRESS, client=("127.0.0.1", 50000))
    client.headers["X-CSRF-Token"] = csrf_of(client.get(path).text)
    return client


def sign_in(client, name="meier", password=PASSWORD, **fields):
    """Sign in as the form does; the answer is not followed."""
    token = csrf_of(client.get("/sign-in").text)
    data = {"name": name, "password": password, "csrf_token": token, **fields}
    return client.post("/sign-in", data=data, follow_redirects=False)


@contextlib.contextmanager
def running_page(folder, *options, clips=()):
    """Yield (address, process) of `echoseg serve` on a free port."""
    words = ["serve", *map(str, clips), "--data", str(folder), "--port", "0", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "echoseg", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        line = process.stdout.readline()
        match = re.search(r"https?://\S+:\d+", line)
        assert match, line + process.communicate()[1]
        yield match[0], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def make_certificate(folder):
    """A certificate of this machine, signed by itself, and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "page")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "page.pem", folder / "page.key.pem"
    encoding = serialization.Encoding.PEM
    files[0].write_bytes(certificate.public_bytes(encoding))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(encoding, *plain))
    return files

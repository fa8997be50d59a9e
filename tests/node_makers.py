"""What tests of the node share: settings, instances, a throw-away PostgreSQL."""

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
import warnings
from pathlib import Path

import pytest

from echoseg.node.jobs import ReceivedInstance, ResultObject


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


def instance(number=1, content="a"):
    return ReceivedInstance(
        class_uid="1.2.840.10008.5.1.4.1.1.3.1",
        instance_uid=f"1.2.{number}",
        path=f"studies/s/{number}-{content}.dcm",
        transfer_syntax="1.2.840.10008.1.2.1",
        sha256=content * 64,
        num_bytes=100,
        sender="SCANNER",
    )


def result(number=1):
    return ResultObject(class_uid="1.2.840.10008.5.1.4.1.1.88.33", instance_uid=f"2.25.{number}",
                        path=f"results/{number}.dcm")  # fmt: skip


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def postgresql_tools():
    """Folder of the newest PostgreSQL server; None where none is installed."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))
    if folders:
        return Path(folders[-1])
    place = shutil.which("initdb")
    return Path(place).parent if place else None


@contextlib.contextmanager
def postgresql(tools):
    """Yield the URL of the database server of a new cluster, with a %s for the database.

    It listens on a socket in its folder: a port that is free now may be taken when it starts.
    """
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:  # a socket's path is short
        os.chmod(folder, 0o777)
        data, run = f"{folder}/data", {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
        options = f"-k {folder} -c listen_addresses='' -c shared_buffers=8MB -c autovacuum=off"
        options += " -c fsync=off -c full_page_writes=off"  # no test cuts the power
        subprocess.run([*user, tools / "initdb", "-A", "trust", "-U", "echoseg", "-N", data], **run)
        control = [*user, tools / "pg_ctl", "-D", data, "-w", "-t", "180", "-l", f"{folder}/log"]
        try:
            subprocess.run([*control, "-o", options, "start"], **run)
            yield f"postgresql://echoseg@/%s?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run | {"check": False})


MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7.4"
SR = "1.2.840.10008.5.1.4.1.1.88.33"
EXPLICIT = "1.2.840.10008.1.2.1"


def dataset(number=1, study="1.9.1", **elements):
    """A clip of two frames; the UIDs are of the number."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    syntax = UID(elements.pop("syntax", EXPLICIT))
    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID = MULTIFRAME, f"1.2.3.{number}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UIDs that are none
        one.StudyInstanceUID, one.SeriesInstanceUID = study, f"{study}.1"
    one.PatientName, one.PatientID, one.Modality = "Planted^Name", "PLANTED-ID", "US"
    one.NumberOfFrames, one.Rows, one.Columns = 2, 4, 4
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 8, 8, 7, 0
    one.PixelData = bytes(range(32))
    if syntax.is_encapsulated:
        one.PixelData = encapsulate([bytes(16), bytes(16)])
        one["PixelData"].VR = "OB"
    for name, value in elements.items():
        setattr(one, name, value)
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = syntax
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    return one


def encoded(one):
    """The data set as bytes, without file meta information."""
    from pynetdicom.dsutils import encode

    syntax = one.file_meta.TransferSyntaxUID
    return encode(one, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)


def make_certificates(folder):
    """`ca.pem`, and `NAME.pem` with `NAME.key`; the authority knows node and peer, not x.

    The certificate of the peer names another host, the others 127.0.0.1.
    """
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "node", "peer", "x")}
    names = {n: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in keys}
    now = datetime.now(UTC)
    for name, key in keys.items():
        issuer = "x" if name == "x" else "ca"
        host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        host = x509.DNSName("elsewhere.example") if name == "peer" else host
        certificate = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names[issuer])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(name in ("ca", "x"), None), critical=True)
            .add_extension(x509.SubjectAlternativeName([host]), critical=False)
            .sign(keys[issuer], hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def tls_files(folder, name="node", **options):
    """The settings `tls` of a side, whose certificates `make_certificates` wrote."""
    files = {"cert": folder / f"{name}.pem", "key": folder / f"{name}.key"}
    return {**files, "ca": folder / "ca.pem", **options}


def make_job(folder, number, target, class_uid=SR):
    """A result that waits to be sent, and its file."""
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset

    from echoseg.node.jobs import DeliveryJob

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = class_uid, f"2.25.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.100", "2.25.101"
    dataset.PatientID = "P"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT
    dcmwrite(folder / f"{number}.dcm", dataset, enforce_file_format=True)
    return DeliveryJob(
        id=number, study="s", target=target, attempts=0, worker="w", class_uid=class_uid,
        instance_uid=f"2.25.{number}", path=f"{number}.dcm",
    )  # fmt: skip


class ListeningNode:
    """Queue, store and DICOM services of a node, without what analyzes and sends."""

    def __init__(self, settings):
        from echoseg.node.commitment import Commitment
        from echoseg.node.queue import Queue
        from echoseg.node.scp import Scp
        from echoseg.node.store import Store
        from echoseg.private import Pseudonyms

        self.settings = settings
        settings.folder.mkdir(exist_ok=True)
        self.queue = Queue(settings)
        self.store = Store(settings, self.queue, Pseudonyms(settings.key_file))
        self.scp = Scp(settings, self.store, Commitment(settings, self.queue, self.store))
        self.scp.start()

    def files(self):
        return sorted((self.settings.folder / "studies").glob("*/*.dcm"))

    def stop(self):
        self.scp.stop()
        self.queue.close()


def dcmtk_program(name):
    """The path of a program of DCMTK; pynetdicom puts others of the same names on the PATH."""
    for folder in os.get_exec_path():
        if (place := shutil.which(name, path=folder)) is not None:
            known = subprocess.run([place, "--version"], capture_output=True, check=False).stdout
            if b"dcmtk" in known:
                return place
    pytest.skip(f"needs DCMTK's {name}")

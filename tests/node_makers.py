"""What tests of the node share: settings, instances, a throw-away PostgreSQL."""

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

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
    """Yield the URL of the database server of a new cluster, with a %s for the database."""
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        os.chmod(folder, 0o777)
        data, port = f"{folder}/data", free_port()
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c shared_buffers=8MB"
        run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
        subprocess.run([*user, tools / "initdb", "-A", "trust", "-U", "echoseg", "-N", data], **run)
        control = [*user, tools / "pg_ctl", "-D", data, "-w", "-l", f"{folder}/log"]
        subprocess.run([*control, "-o", options, "start"], **run)
        try:
            yield f"postgresql://echoseg@127.0.0.1:{port}/%s"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)

"""Does a node lose or double anything when it is killed, how long does it take, does it grow?

    python benchmarks/node.py kills [--studies 200] [--associations 4] [--kills 10] [--seed 0]
    python benchmarks/node.py latency [--studies 10] [--quiet 2]
    python benchmarks/node.py memory [--studies 1000] [--real]

A peer on this machine sends studies of simulated clips by C-STORE, on several associations at once,
and again what was not answered; another one takes the results and counts them. `kills` and `memory`
use a stub in place of the network, unless --real: it hashes the clips and writes two small objects.
`kills` ends the node by SIGKILL at random moments and starts it again. Asserts nothing.

Lost: an acknowledged instance that the node has not with the same bytes, or a study without its
results at the peer. Analyzed twice: two analyses of the same instances of a study that were both
taken. Pushed twice: an object that reached the peer more than once; this may happen only where the
node was killed after the peer had stored it and before that was noted, and then with the same
UID and bytes.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.33"
SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
ANALYZED = "study analyzed"


def analyze_stub(task: Any) -> Any:
    """Two objects whose UIDs are hashes of the clips; notes that it was called."""
    import hashlib
    import tempfile
    from pathlib import Path

    from pydicom import dcmread, dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    from echoseg.io.dicom_writer import hash_uid
    from echoseg.node.analysis import StudyResult, keep_object

    paths = sorted((task.folder / "studies" / task.name).glob("[0-9a-f]*.dcm"))
    content = hashlib.sha256()
    for path in paths:
        content.update(path.read_bytes())
    key = content.hexdigest()
    with (task.folder / "tries.txt").open("a") as file:
        file.write(f"{task.name} {len(paths)} {key}\n")
    header = dcmread(paths[0], stop_before_pixels=True)
    results = task.folder / "results" / task.name
    results.mkdir(parents=True, exist_ok=True)
    objects = []
    for class_uid in ("1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.66.4"):
        dataset = Dataset()
        dataset.SOPClassUID = class_uid
        dataset.SOPInstanceUID = hash_uid("stub", class_uid, key)
        dataset.StudyInstanceUID = header.StudyInstanceUID
        dataset.SeriesInstanceUID = hash_uid("stub series", class_uid, key)
        dataset.PatientID, dataset.InstanceNumber = header.PatientID, len(paths)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        with tempfile.TemporaryDirectory(dir=results, prefix=".dicom-") as work:
            path = Path(work) / "object.dcm"
            dcmwrite(path, dataset, enforce_file_format=True)
            objects.append(keep_object(path, task.folder, results))
    digest = "".join(sha256 for _, sha256 in objects).encode()
    return StudyResult(
        objects=tuple(one for one, _ in objects), sha256=hashlib.sha256(digest).hexdigest()
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Pacs:
    """A peer that takes results: how often each came, with which bytes, and when."""

    delay_s: float = 0.0
    port: int = field(default_factory=free_port)
    times: Counter = field(default_factory=Counter)
    contents: dict = field(default_factory=dict)
    studies: dict = field(default_factory=dict)
    arrived_s: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        from pynetdicom import AE, StoragePresentationContexts, evt

        self._lock = threading.Lock()
        ae = AE(ae_title="PACS")
        ae.maximum_associations = 50
        ae.supported_contexts = StoragePresentationContexts
        for one in ae.supported_contexts:
            ae.add_supported_context(one.abstract_syntax, "1.2.840.10008.1.2.4.50")
        self._server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )

    def _store(self, event: Any) -> int:
        data = event.request.DataSet.getvalue()
        uid = str(event.request.AffectedSOPInstanceUID)
        dataset = event.dataset
        with self._lock:
            self.times[uid] += 1
            self.contents.setdefault(uid, set()).add(hashlib.sha256(data).hexdigest())
            number = int(dataset.get("InstanceNumber") or 0)
            study = str(dataset.StudyInstanceUID)
            self.studies.setdefault(study, []).append((str(dataset.SOPClassUID), number))
            self.arrived_s.setdefault((study, str(dataset.SOPClassUID)), time.time())
        time.sleep(self.delay_s)
        return 0

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()


def settings_of(folder: Path, port: int, pacs: Pacs, quiet_s: float) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "port": port,
        "push": [f"PACS@127.0.0.1:{pacs.port}"],
        "quiet_s": quiet_s,
        "backoff_s": 0.2,
        "max_associations": 20,
    }


class NodeProcess:
    """A node in a process of its own; its log is kept in a file."""

    def __init__(self, settings: dict[str, Any], log: Path, real: bool = False) -> None:
        self.settings, self.log, self.real = settings, log, real
        self.start()

    def start(self) -> None:
        """Start it, again too."""
        words = [sys.executable, __file__, "serve", json.dumps(self.settings)]
        words += ["--real"] if self.real else []
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(words, stderr=file, stdout=file)

    def wait_until_listening(self, limit_s: float = 120.0) -> None:
        """Wait until it takes associations."""
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s and self.process.poll() is None:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.settings["port"])) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the node does not listen: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> float:
        """Ask it to end; the seconds that it took."""
        begun_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - begun_s

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it logged under a name."""
        records = []
        for line in self.log.read_text("utf-8", "replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # torn by a kill
                continue
            if isinstance(record, dict) and record.get("event") == name:
                records.append(record)
        return records


def write_clip(path: Path, clip: Any, pseudonym: str) -> None:
    """Write a clip as if a machine had made it; the node refuses what echoseg made."""
    from pydicom import dcmread

    from echoseg.io import dicom_writer

    dicom_writer.write(path, clip, pseudonym=pseudonym)
    dataset = dcmread(path)
    dataset.Manufacturer = "BENCHMARK"
    dataset.save_as(path)


def simulated(config: Any) -> Any:
    """The clip of a phantom."""
    from echoseg.data.phantom import simulate

    return simulate(config).clip


def make_study(folder: Path, number: int, instances: int) -> list[Path]:
    """Clips of noise of one study."""
    from echoseg.clip import Clip, View

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(instances):
        draw = np.random.default_rng((number, index))
        frames = draw.integers(0, 255, (3, 16, 16), np.uint8)
        clip = Clip(frames=frames, times_s=np.arange(3) / 30, spacing_mm=(1.0, 1.0), view=View.A4C)
        path = folder / f"s{number:04d}i{index}.dcm"
        write_clip(path, clip, f"STUDY{number:04d}")
        paths.append(path)
    return paths


def send(port: int, paths: list[Path], until_s: float = 600.0) -> dict[str, float]:
    """Send files as a machine does, again until each is acknowledged: UID -> when it was."""
    from pydicom import dcmread
    from pynetdicom import AE

    left = {path: dcmread(path) for path in paths}
    acknowledged: dict[str, float] = {}
    end_s = time.monotonic() + until_s
    while left and time.monotonic() < end_s:
        ae = AE(ae_title="MACHINE")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        for dataset in left.values():
            ae.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
            break
        assoc = ae.associate("127.0.0.1", port, ae_title="ECHOSEG")
        if not assoc.is_established:
            time.sleep(0.3)
            continue
        for path, dataset in list(left.items()):
            try:
                answer = assoc.send_c_store(dataset)
            except RuntimeError:
                break
            if "Status" not in answer:
                break
            if answer.Status >> 12 == 0xC:
                raise RuntimeError(f"the node refuses the clips: {answer.Status:04X}")
            if answer.Status == 0:
                acknowledged[str(dataset.SOPInstanceUID)] = time.time()
                del left[path]
        if assoc.is_established:
            assoc.release()
    return acknowledged


def in_parallel(port: int, studies: list[list[Path]], associations: int) -> dict[str, float]:
    """Send studies over several associations at once."""
    lock, waiting, acknowledged = threading.Lock(), list(reversed(studies)), {}

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                study = waiting.pop()
            answers = send(port, study)
            with lock:
                acknowledged.update(answers)

    threads = [threading.Thread(target=work) for _ in range(associations)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return acknowledged


def wait_for(condition: Any, limit_s: float) -> bool:
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())


def run_kills(
    work: Path, studies: int, associations: int, kills: int, seed: int = 0, quiet_s: float = 1.0
) -> dict[str, Any]:
    """Send, kill, wait for all results; what was lost and doubled."""
    from echoseg.audit import AuditLog
    from echoseg.node.queue import Queue
    from echoseg.node.settings import NodeSettings

    draw = random.Random(seed)
    sent = [make_study(work / "clips", n, draw.randint(1, 4)) for n in range(studies)]
    pacs = Pacs()
    folder = work / "node"
    settings = settings_of(folder, free_port(), pacs, quiet_s)
    node = NodeProcess(settings, work / "node.log")
    node.wait_until_listening()
    begun_s, acknowledged = time.monotonic(), {}

    def sender() -> None:
        acknowledged.update(in_parallel(settings["port"], sent, associations))

    thread = threading.Thread(target=sender)
    thread.start()
    killed = 0
    for _ in range(kills):
        time.sleep(draw.uniform(0.2, 4.0))
        node.kill()
        killed += 1
        node.start()
        node.wait_until_listening()
    thread.join()
    from pydicom import dcmread

    expected = {str(dcmread(one[0]).StudyInstanceUID): len(one) for one in sent}

    def missing() -> list[str]:
        return [
            study
            for study, number in expected.items()
            if {(SR_CLASS, number), (SEG_CLASS, number)} - set(pacs.studies.get(study, []))
        ]

    wait_for(lambda: not missing(), 120 + 2 * studies)
    time.sleep(quiet_s + 1)
    duration_s = time.monotonic() - begun_s
    stop_s = node.terminate()
    queue = Queue(NodeSettings.model_validate(settings))
    instances = queue.received(list(acknowledged))
    lost = [
        uid
        for uid in acknowledged
        if uid not in instances or not (folder / instances[uid].path).is_file()
    ]
    states = Counter(str(one.state) for one in queue.studies(limit=10_000))
    queue.close()
    tries = (folder / "tries.txt").read_text().splitlines()
    analyses = Counter((e["study"], e["instances"]) for e in node.events(ANALYZED))
    pacs.close()
    return {
        "studies": studies,
        "instances": len(acknowledged),
        "instances sent": sum(map(len, sent)),
        "associations": associations,
        "kills": killed,
        "seconds": round(duration_s, 1),
        "instances lost": len(lost),
        "studies without results": len(missing()),
        "analyses begun": len(tries),
        "results of a part of a study": sum(
            number != expected[study]
            for study, all_of in pacs.studies.items()
            for class_uid, number in all_of
            if class_uid == SR_CLASS
        ),
        "analyses begun again after a kill": len(tries) - len(set(tries)),
        "analyzed twice": sum(number - 1 for number in analyses.values()),
        "objects at the peer": len(pacs.times),
        "objects that came more than once": sum(1 for n in pacs.times.values() if n > 1),
        "of these with other bytes": sum(1 for c in pacs.contents.values() if len(c) > 1),
        "states at the end": dict(states),
        "audit problems": list(AuditLog(folder / "audit.jsonl").verify().problems),
        "seconds to end after SIGTERM": round(stop_s, 2),
        "exit code": node.process.returncode,
    }


def run_latency(work: Path, studies: int, quiet_s: float) -> dict[str, Any]:
    """From the answer to the last C-STORE to the SR at the peer, with the real network."""
    from pydicom import dcmread

    from echoseg.phantom import PhantomConfig

    pacs = Pacs()
    settings = settings_of(work / "node", free_port(), pacs, quiet_s)
    node = NodeProcess(settings, work / "node.log", real=True)
    node.wait_until_listening()
    times_s, analysis_s = [], []
    for number in range(studies):
        config = PhantomConfig(seed=number, size_px=256, num_frames=60, frame_rate_hz=40.0)
        path = work / f"clip{number}.dcm"
        write_clip(path, simulated(config), f"P{number}")
        study = str(dcmread(path).StudyInstanceUID)
        (last_s,) = send(settings["port"], [path]).values()
        if wait_for(lambda study=study: (study, SR_CLASS) in pacs.arrived_s, 300):
            times_s.append(pacs.arrived_s[study, SR_CLASS] - last_s)
    analysis_s = [event["duration_s"] for event in node.events(ANALYZED)]
    node.terminate()
    pacs.close()
    left = [one for one in studies_of(settings) if one.state != "pushed" or one.reason]
    return {
        "studies": studies,
        "quiet_s": quiet_s,
        "results": len(times_s),
        "studies without all results": [f"{one.state}: {one.reason}" for one in left],
        "objects": len(pacs.times),
        "first s": round(times_s[0], 2) if times_s else None,
        "median s": round(statistics.median(times_s), 2) if times_s else None,
        "median s without quiet_s": round(statistics.median(times_s) - quiet_s, 2),
        "largest s": round(max(times_s), 2),
        "median s of the analysis": round(statistics.median(analysis_s), 2),
    }


def studies_of(settings: dict[str, Any]) -> Any:
    """The studies of a node that has ended."""
    from echoseg.node.queue import Queue
    from echoseg.node.settings import NodeSettings

    with closing(Queue(NodeSettings.model_validate(settings))) as queue:
        return queue.studies(limit=10_000)


def run_memory(work: Path, studies: int, real: bool) -> dict[str, Any]:
    """Resident memory of the node and of its worker, over many studies of one clip.

    The slope is that of a straight line through the second half of the samples.
    """
    import psutil

    pacs = Pacs()
    settings = settings_of(work / "node", free_port(), pacs, 0.2)
    node = NodeProcess(settings, work / "node.log", real=real)
    node.wait_until_listening()
    process = psutil.Process(node.process.pid)
    clip = small_clip()
    samples: list[tuple[int, float, float]] = []
    for number in range(studies):
        path = work / "clip.dcm"
        frames = clip.frames.copy()
        frames[:, :2, :2] = number % 256
        write_clip(path, replace(clip, frames=frames), f"P{number}")
        send(settings["port"], [path])
        if (number + 1) % max(1, studies // 10) == 0 or number == 0:
            wait_for(lambda number=number: len(pacs.studies) > number, 3600)
            children = sum(one.memory_info().rss for one in process.children(recursive=True))
            samples.append((number + 1, process.memory_info().rss / 1e6, children / 1e6))
            print(*map(round, samples[-1]), flush=True)
    node.terminate()
    pacs.close()
    half = np.array(samples[len(samples) // 2 :])
    slopes = [float(np.polyfit(half[:, 0], half[:, column], 1)[0]) for column in (1, 2)]
    return {
        "studies": studies,
        "results": len(pacs.studies),
        "network": "real" if real else "stub",
        "samples (studies, MB of the node, MB of its worker)": [
            [number, round(own), round(worker)] for number, own, worker in samples
        ],
        "kB per study, node and worker": [round(1000 * one, 1) for one in slopes],
    }


def small_clip() -> Any:
    """A clip of one beat that is small, so that many are analyzed in little time."""
    from echoseg.phantom import PhantomConfig

    return simulated(PhantomConfig(seed=0, size_px=128, num_frames=24, frame_rate_hz=25.0))


def serve(settings: dict[str, Any], real: bool) -> None:
    """Run a node; this process is the one that is killed."""
    from echoseg.node.serve import run_node
    from echoseg.node.settings import NodeSettings

    Path(settings["folder"]).mkdir(parents=True, exist_ok=True)
    if real:
        run_node(NodeSettings.model_validate(settings))
    else:
        run_node(NodeSettings.model_validate(settings), analyze_stub)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kills", "latency", "memory", "serve"])
    parser.add_argument("settings", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--studies", type=int)
    parser.add_argument("--associations", type=int, default=4)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet", type=float, default=2.0)
    parser.add_argument("--real", action="store_true")
    args = parser.parse_args()
    if args.what == "serve":
        serve(json.loads(args.settings), args.real)
        return
    from speed import machine

    print(machine(), f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if args.what == "kills":
            outcome = run_kills(work, args.studies or 200, args.associations, args.kills, args.seed)
        elif args.what == "latency":
            outcome = run_latency(work, args.studies or 10, args.quiet)
        else:
            outcome = run_memory(work, args.studies or 1000, args.real)
    print(json.dumps(outcome, indent=1))


if __name__ == "__main__":
    main()

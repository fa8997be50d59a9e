"""Does the worklist stay quick, memory flat, how soon is a clip read, how quick are its edits?

    python benchmarks/page.py worklist [--rows 10000] [--url postgresql://...] [--seed 0]
    python benchmarks/page.py memory [--clips 500]
    python benchmarks/page.py latency [--clips 3] [--jobs 1]
    python benchmarks/page.py curves --folder CAMUS
    python benchmarks/page.py edits [--clip FILE] [--edits 60]

`worklist` times pages of a database of random rows. `memory` puts clips into a server whose
analysis is a stub (masks by formula in place of the network, everything else as it is), opens each
as the reader page does, and prints the server's resident memory on the way. `latency` drops clips
of 1024 x 768 pixels, the simulated clip enlarged, on a server with the shipped network, and prints
when each can be played and when it is ready. `curves` replaces the experts' masks of the validation
patients by the curves that the page fits to them, and prints by how much areas and EF change.
`edits` has a clip analyzed, by default the simulated
one of 1024 x 768 pixels, restarts the server, and times the opening of its reading and edits: the
wall of the LV moved by 3 pixels at a few control points, on ED, on ES and on frames between, each
sent when the one before is answered. Asserts nothing.
"""

import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil

_BEGIN = 1_700_000_000.0
QUERIES: dict[str, dict[str, Any]] = {
    "newest": {},
    "last page": {"first": 9_950},
    "unreliable": {"filter": "unreliable"},
    "undecided, what to label next": {"filter": "undecided", "sort": "priority"},
    "EF 40 to 50 %, by EF": {"ef_from": 40, "ef_to": 50, "sort": "ef"},
    "text": {"text": "clip-9a"},
    "by name": {"sort": "name", "descending": False},
    "failed": {"state": "failed"},
}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = ("worklist", "memory", "latency", "edits", "curves", "serve")
    parser.add_argument("what", choices=kinds)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--clips", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--edits", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url", default="")
    parser.add_argument("--folder", type=Path, help="of `serve`, which the others start; CAMUS")
    args = parser.parse_args()
    if args.what == "serve":
        serve(args.folder)
        return
    from experiments.provenance import machine_text  # loads torch, which the server does not

    print(machine_text(), f"load {os.getloadavg()[0]:.1f}", sep=", ")
    if args.what == "worklist":
        time_worklist(args.rows, args.url, args.seed)
    elif args.what == "curves":
        compare_curves(args.folder)
    elif args.what == "memory":
        follow_memory(args.clips or 500)
    elif args.what == "edits":
        time_edits(args.clip, args.edits)
    else:
        time_clips(args.clips or 3, args.jobs)


def compare_curves(folder: Path) -> None:
    """Print by how much areas and EF change from masks to curves and back."""
    from echoseg.data import load_dataset
    from echoseg.measure.frame import measure_frame
    from echoseg.measure.volumes import ef_percent
    from echoseg.web.reading.contours import frame_contours
    from echoseg.web.reading.regions import set_region
    from echoseg.web.reading.spline import fill_curve

    areas, efs = [], []
    for record in load_dataset(folder).split("validation").records:
        clip, annotation = record.read()
        assert annotation is not None
        volumes = []
        for frame in (annotation.ed_frame, annotation.es_frame):
            before = measure_frame(annotation.masks[frame], clip.spacing_mm)
            curve = frame_contours(before, {}, is_reader=False)["lv_cavity"]
            inside = fill_curve(np.array(curve.points), before.mask.shape)
            mask = set_region(before.mask, "lv_cavity", inside)
            after = measure_frame(mask, clip.spacing_mm)
            areas.append(100 * (after.area_px / before.area_px - 1))
            volumes.append((before.volume, after.volume))
        (edv, new_edv), (esv, new_esv) = volumes
        efs.append(ef_percent(new_edv, new_esv) - ef_percent(edv, esv))
    for name, values in (("area of the cavity, %", areas), ("EF, points", efs)):
        size = np.abs(values)
        parts = {"n": len(values), "mean change": np.mean(values), "median size": np.median(size)}
        parts |= {"95 %": np.percentile(size, 95), "largest": size.max()}
        print(name, {key: round(float(value), 3) for key, value in parts.items()})


def time_worklist(num_rows: int, url: str, seed: int) -> None:
    """Print the time of each query, as the server needs it: database and messages to JSON."""
    from echoseg.audit import AuditLog
    from echoseg.database import Database
    from echoseg.web.api import WorklistQuery
    from echoseg.web.records import SCHEMA_VERSION, ClipRow, PageVersion
    from echoseg.web.settings import PageSettings
    from echoseg.web.worklist import Worklist

    with tempfile.TemporaryDirectory() as folder:
        settings = PageSettings(folder=Path(folder), database_url=url)
        database = Database(settings.url, PageVersion, SCHEMA_VERSION)
        worklist = Worklist(settings, database, AuditLog(Path(folder) / "audit.jsonl"))
        draw = random.Random(seed)
        with database.transaction() as session:
            database.insert_missing(session, ClipRow, [random_row(draw) for _ in range(num_rows)])
        print(f"{database.engine.name}, {num_rows} rows; median and slowest of 30, ms")
        for name, fields in QUERIES.items():
            query, times_s = WorklistQuery(**fields), []
            for _ in range(30):
                begin_s = time.perf_counter()
                page = worklist.page(query)
                page.model_dump_json()
                times_s.append(time.perf_counter() - begin_s)
            print(
                f"{name:32} {1000 * statistics.median(times_s):6.1f} {1000 * max(times_s):6.1f}"
                f"   {page.total} rows"
            )
        database.close()


def random_row(draw: random.Random) -> dict[str, Any]:
    """A row as of a clip that was analyzed, or failed, or waits."""
    state = draw.choices(("ready", "failed", "queued"), (90, 5, 5))[0]
    kind = (
        draw.choices(("plain", "unreliable", "none"), (70, 20, 10))[0] if state == "ready" else ""
    )
    ef_percent = draw.uniform(15, 75) if kind == "plain" else None
    sha256 = f"{draw.getrandbits(256):064x}"
    return {
        "id": sha256[:32],
        "name": f"clip-{draw.getrandbits(64):016x}",
        "source": f"/data/{sha256}.dcm",
        "sha256": sha256,
        "study": f"study-{draw.getrandbits(12):016x}",
        "state": state,
        "added_s": _BEGIN + draw.uniform(0, 1e7),
        "view": draw.choice(("A4C", "A2C")),
        "num_frames": 60,
        "ef_kind": kind,
        "ef_percent": ef_percent,
        "is_corrected": draw.random() < 0.2,
        "decision": draw.choice(("", "", "accepted", "rejected")),
        "label_priority": draw.uniform(0, 30) if kind == "plain" else None,
    }


def analyze_stub(task: Any) -> Any:
    """What a worker process does, with masks by formula."""
    import numpy as np

    from echoseg.inference.analysis import analyze_masks
    from echoseg.io import load_clip
    from echoseg.report.writer import write_results
    from echoseg.web.analysis import read_result, row_values
    from echoseg.web.cine import write_cine

    clip = load_clip(task.source, alias=task.alias)
    rows, columns = np.mgrid[: clip.size[0], : clip.size[1]] / np.array(clip.size)[:, None, None]
    masks = np.zeros(clip.frames.shape, np.uint8)
    for index, mask in enumerate(masks):
        size = 1 - 0.12 * (1 - np.cos(2 * np.pi * index / 20))
        inside = ((columns - 0.5) / (0.15 * size)) ** 2 + ((rows - 0.75) / (0.5 * size)) ** 2 < 1
        mask[inside & (rows < 0.75)] = 1
    task.folder.mkdir(parents=True, exist_ok=True)
    write_cine(clip, task.folder)
    write_results(analyze_masks(clip, masks), task.folder / "result", pages=False, force=True)
    return row_values(read_result(task.folder))  # type: ignore[arg-type]  # it was just written


def serve(folder: Path) -> None:
    """Serve a page whose analysis is the stub."""
    from functools import partial

    from echoseg.web import app
    from echoseg.web.clip_queue import ClipQueue
    from echoseg.web.serve import serve_page
    from echoseg.web.settings import PageSettings

    app.ClipQueue = partial(ClipQueue, analyze=analyze_stub)  # type: ignore[misc,assignment]
    serve_page(PageSettings(folder=folder, port=0), on_start=lambda url: print(url, flush=True))


@contextmanager
def running(*words: str) -> Iterator[tuple[httpx2.Client, psutil.Process]]:
    """A client of a server, with the page's token, and the server's process."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = re.search(r"https?://[^\s/]+", process.stdout.readline())
        assert address is not None
        with httpx2.Client(base_url=address[0], timeout=300) as client:
            token = re.search(r'csrf-token" content="(\w+)"', client.get("/").text)
            assert token is not None
            client.headers["X-CSRF-Token"] = token[1]
            yield client, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def follow_memory(num_clips: int) -> None:
    """Print the server's memory while clips are analyzed and opened."""
    from echoseg.clip import Clip
    from echoseg.io import dicom_writer

    with tempfile.TemporaryDirectory() as folder:
        clips, rng = Path(folder) / "clips", np.random.default_rng(0)
        clips.mkdir()
        for number in range(num_clips):
            frames = rng.integers(0, 200, (40, 128, 128), np.uint8)
            clip = Clip(frames=frames, times_s=np.arange(40) / 30, spacing_mm=(1.0, 1.0))
            dicom_writer.write(clips / f"{number}.dcm", clip)
        words = (__file__, "serve", "--folder", f"{folder}/page")
        with running(*words) as (client, process):
            print(f"{_mb(process):.0f} MB at the start")
            client.post("/api/folders", json={"path": str(clips)}).raise_for_status()
            opened: set[str] = set()
            while len(opened) < num_clips:
                rows = client.get("/api/clips?state=ready&count=500").json()["rows"]
                for row in (one for one in rows if one["id"] not in opened):
                    open_clip(client, row["id"])
                    opened.add(row["id"])
                    if len(opened) % 50 == 0:
                        print(f"{_mb(process):.0f} MB after {len(opened)} clips", flush=True)
                time.sleep(0.2)


def open_clip(client: httpx2.Client, clip: str) -> None:
    """Open a clip as the reader page does."""
    for what in ("", "/reading", *(f"/frames/{frame}.jpg" for frame in range(0, 40, 8))):
        client.get(f"/api/clips/{clip}{what}").raise_for_status()


def _mb(process: psutil.Process) -> float:
    return process.memory_info().rss / 1e6


def write_large_clip(path: Path, number: int = 0) -> None:
    """Write the simulated clip at 1024 x 768 pixels; another number is another content."""
    from dataclasses import replace

    from PIL import Image

    from echoseg.io import dicom_writer, load_clip

    source = resources.files("echoseg.weights") / "simulated_a4c.dcm"
    clip = load_clip(Path(str(source)))
    frames = np.stack(
        [np.asarray(Image.fromarray(frame).resize((1024, 768))) for frame in clip.frames]
    )
    frames[0, 0, 0] = number
    row_mm, column_mm = clip.spacing_mm or (1.0, 1.0)
    spacing_mm = row_mm * clip.size[0] / 768, column_mm * clip.size[1] / 1024
    dicom_writer.write(path, replace(clip, frames=frames, spacing_mm=spacing_mm))


def time_clips(num_clips: int, jobs: int) -> None:
    """Print when each of some large clips can be played, and when it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("-m", "echoseg", "serve", "--data", f"{folder}/page", "--port", "0")
        with running(*words, "--no-browser", "--jobs", str(jobs)) as (client, _):
            for number in range(num_clips):
                path = Path(folder) / f"{number}.dcm"
                write_large_clip(path, number)
                print(f"clip {number + 1}: {follow(client, path)}", flush=True)


def time_edits(path: Path | None, num_edits: int) -> None:
    """Print the times of opening and editing the reading of a clip."""
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            path = Path(folder) / "large.dcm"
            write_large_clip(path)
        words = ("-m", "echoseg", "serve", "--data", f"{folder}/page", "--port", "0")
        with running(*words, "--no-browser") as (client, _):
            follow(client, path)
        with running(*words, "--no-browser") as (client, process):
            (row,) = client.get("/api/clips").json()["rows"]
            address = f"/api/clips/{row['id']}"
            for what in ("after a start", "again"):
                begin_s, busy_ms = time.perf_counter(), _busy_ms(process)
                reading = client.get(f"{address}/reading?slot=1").raise_for_status().json()
                taken_ms = 1000 * (time.perf_counter() - begin_s)
                busy_ms = _busy_ms(process) - busy_ms
                print(f"opened {what}: {taken_ms:.0f} ms, of the processor {busy_ms:.0f}")
            busy_ms = _busy_ms(process)
            times_ms = [edit(client, address, reading, number) for number in range(num_edits)]
            busy_ms = _busy_ms(process) - busy_ms
        columns = zip(*times_ms, strict=True)
        for what, values in zip(("answered", "in the server"), columns, strict=True):
            p95 = statistics.quantiles(values, n=20)[-1]
            print(
                f"edits {what}: median {statistics.median(values):.0f}, 95 % {p95:.0f}, "
                f"largest {max(values):.0f} of {num_edits}, ms"
            )
        print(
            f"{busy_ms / num_edits:.0f} ms of the processor an edit, load {os.getloadavg()[0]:.1f}"
        )


def _busy_ms(process: psutil.Process) -> float:
    """Time that the processor worked for the server itself, without its worker processes."""
    times = process.cpu_times()
    return 1000 * (times.user + times.system)


def edit(
    client: httpx2.Client, address: str, reading: dict[str, Any], number: int
) -> tuple[float, float]:
    """Move a part of the wall; ms until the answer, and those of the server. Updates `reading`."""
    frames = (reading["ed_frame"], reading["es_frame"], 7 * number % len(reading["contours"]))
    curves = reading["contours"][frames[number % 3]]["contours"]
    step = 3 if number % 2 else -3
    own = enumerate(curves["lv_cavity"]["points"])
    points = [(x + step * (2 < index < 7), y) for index, (x, y) in own]
    operation = {"kind": "contour", "frame": frames[number % 3], "structure": "lv_cavity"}
    body = {"revision": reading["revision"], "operation": operation | {"points": points}}
    begin_s = time.perf_counter()
    answer = client.post(f"{address}/edits?slot=1", json=body).raise_for_status().json()
    taken_ms = 1000 * (time.perf_counter() - begin_s)
    for one in answer.pop("contours"):
        reading["contours"][one["frame"]] = one
    reading |= answer
    return taken_ms, answer["milliseconds"]


def follow(client: httpx2.Client, path: Path) -> str:
    """Drop a clip; the seconds until each stage."""
    begin_s = time.perf_counter()
    files = [("files", (path.name, path.read_bytes()))]
    (clip,) = client.post("/api/clips", files=files).raise_for_status().json()["added"]
    stages = {"in the worklist": time.perf_counter() - begin_s}
    while "ready" not in stages:
        detail = client.get(f"/api/clips/{clip}").json()
        now_s = time.perf_counter() - begin_s
        if detail["num_frames"]:
            stages.setdefault("can be played", now_s)
        if "first contours" not in stages and detail["num_frames"]:
            if client.get(f"/api/clips/{clip}/curves").json()["contours"]:
                stages["first contours"] = time.perf_counter() - begin_s
        if detail["row"]["state"] == "ready":
            stages["ready"] = now_s
        time.sleep(0.02)
    client.get(f"/api/clips/{clip}/reading").raise_for_status()
    stages["contours of all frames sent"] = time.perf_counter() - begin_s
    return ", ".join(f"{name} {value:.1f} s" for name, value in stages.items())


if __name__ == "__main__":
    main()

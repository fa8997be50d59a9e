"""A worklist of tiny clips, whose analysis takes milliseconds: masks by formula, no network."""

import contextlib
import time

import numpy as np
import psutil

from echoseg.audit import AuditLog
from echoseg.clip import Clip, View
from echoseg.database import Database
from echoseg.inference.analysis import analyze_masks
from echoseg.io import dicom_writer, load_clip
from echoseg.report.writer import write_results
from echoseg.web.analysis import ClipFailure, read_result, row_values
from echoseg.web.cine import write_cine
from echoseg.web.records import SCHEMA_VERSION, PageVersion
from echoseg.web.settings import PageSettings
from echoseg.web.worklist import Worklist
from heart_makers import beating
from misbehave import misbehave

GREY = np.array([10, 40, 110, 70], np.uint8)


def write_clip(path, seed=0, *, num_frames=60, view=View.A4C, **elements):
    """Write a DICOM clip of a beating heart; another seed is another content."""
    import pydicom

    masks, times_s, _ = beating(num_frames, phase=0.5)
    noise = np.random.default_rng(seed).integers(0, 30, masks.shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = Clip(frames=GREY[masks] + noise, times_s=times_s, spacing_mm=(1.001, 1.001), view=view)
    dicom_writer.write(path, clip)
    if elements:
        dataset = pydicom.dcmread(path)
        for name, value in elements.items():
            setattr(dataset, name, value)
        dataset.save_as(path)
    return path


def analyze_by_formula(task):
    """What a worker does, with the masks that the clip was drawn from."""
    word = task.source.read_bytes()[:20].split()[0].decode("ascii", "ignore")
    if word in ("slow", "broken"):
        time.sleep(30 if word == "slow" else 0)
        return ClipFailure(reason="the content is broken")
    misbehave(word)
    clip = load_clip(task.source, alias=task.alias)
    masks, _, _ = beating(clip.num_frames, phase=0.5)
    task.folder.mkdir(parents=True, exist_ok=True)
    write_cine(clip, task.folder)
    write_results(analyze_masks(clip, masks), task.folder / "result", pages=False, force=True)
    return row_values(read_result(task.folder))


def open_worklist(folder, url="", **settings):
    """A worklist in a folder."""
    settings = PageSettings(folder=folder, database_url=url, model="camus", **settings)
    folder.mkdir(exist_ok=True)
    database = Database(settings.url, PageVersion, SCHEMA_VERSION)
    return Worklist(settings, database, AuditLog(folder / "audit.jsonl"))


def wait_for(condition, timeout_s=60.0):
    """Wait until a condition holds."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def processes(word):
    """Children of this process whose command holds a word."""
    children = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if word in " ".join(process.cmdline()):
                children.append(process)
    return children

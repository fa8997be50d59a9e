"""A name planted in every text, file name and folder is in nothing that `--private` writes.

The search looks into archives, compressed streams and the text of PDFs, and finds the name in the
same commands without `--private`: it would not miss it.
"""

import gzip
import io
import os
import re
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from clip_makers import region, save_object, write_nifti
from echoseg.cli import app
from echoseg.phantom import Phantom, PhantomConfig

MARK = "ZZMILLER"
_TEXTS = {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE"}


def texts(data, depth=0):
    """The bytes, and those of everything compressed or encoded in them."""
    yield data
    if depth > 2:
        return
    if data[:2] == b"\x1f\x8b":
        yield from texts(gzip.decompress(data), depth + 1)
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield from texts(archive.read(name), depth + 1)
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", data, re.S) if b"%PDF" in data else ():
        with suppress(zlib.error):
            yield (content := zlib.decompress(stream.rstrip(b"\r\n")))
            yield b"".join(re.findall(rb"\(((?:\\.|[^()\\])*)\)", content))  # glyphs one by one
    for at in (chunk.end() for chunk in re.finditer(rb"(?:zTXt|iTXt)[^\0]*\0\0", data)):
        with suppress(zlib.error):
            yield zlib.decompressobj().decompress(data[at : at + 10**6])


def has_mark(data):
    return any(MARK.encode() in part.upper() or MARK.encode("utf-16-le") in part
               for part in texts(data))  # fmt: skip


def leaks(root):
    """Every file and folder below a root whose name or content has the mark."""
    paths = sorted(root.rglob("*"))
    named = [path for path in paths if MARK in path.relative_to(root).as_posix().upper()]
    return named + [p for p in paths if p.is_file() and has_mark(p.read_bytes())]


def named_object(path, frames, **elements):
    """A clip whose every text element of the dictionary holds the mark, private ones too."""
    texts_of = {
        entry[4]: f"{MARK}^ANN" if entry[0] == "PN" else f"{MARK} {entry[0]}"
        for tag, entry in DicomDictionary.items()
        if entry[0] in _TEXTS and entry[4] and not entry[3] and tag >> 16 in (0x8, 0x10, 0x18, 0x20)
    }
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = MARK, MARK, f"{MARK} view"
    known = {
        "SequenceOfUltrasoundRegions": [region()],
        "FrameTime": 40.0,
        "ViewCodeSequence": [code],
    }
    dataset = save_object(path, frames, **{**texts_of, **known, **elements})
    assert has_mark(path.read_bytes())
    return dataset


def named_video(path, frames):
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata.update(title=MARK, artist=MARK, comment=MARK)
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:], "yuv420p"
        for frame in frames:
            rgb = np.stack([frame] * 3, -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


def named_pictures(folder, frames):
    folder.mkdir()
    info = PngInfo()
    info.add_text("Author", MARK)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{MARK}_{index}.png", pnginfo=info)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A patient's folder: clips of several formats, broken ones, a report, a PDF, a volume."""
    root = tmp_path_factory.mktemp("source") / f"{MARK}, Ann (1950)"
    root.mkdir()
    frames = Phantom(PhantomConfig(seed=1, size_px=96, num_frames=24, frame_rate_hz=25.0)).frames()
    ids = {"StudyInstanceUID": "1.2.3", "PatientID": MARK}
    named_object(root / f"{MARK}_A4C.dcm", frames, **ids)
    named_object(root / f"{MARK}_ct.dcm", frames, Modality="CT", ImageType=["A", "B", MARK])
    named_object(root / f"{MARK}_odd.dcm", frames, Modality=MARK, ImageType=[MARK] * 4)
    named_object(
        root / f"{MARK}_sr.dcm", frames, Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"
    )
    whole = (root / f"{MARK}_A4C.dcm").read_bytes()
    (root / f"{MARK}_cut.dcm").write_bytes(whole[: len(whole) // 3])
    (root / f"{MARK}_time.dcm").write_bytes(whole.replace(b"40.0", b"ZZMI"))
    (root / f"{MARK}.pdf").write_bytes(b"%PDF-1.4 " + MARK.encode())
    (root / f"{MARK}.avi").write_bytes(b"RIFF" + MARK.encode() * 9)
    named_video(root / f"{MARK}_film.mp4", frames)
    named_pictures(root / f"{MARK} frames", frames)
    write_nifti(root / f"{MARK}.nii.gz", frames // 128)
    return root


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run a command in a place of its own: its output, and everything that it left there."""
    for name in ("ECHOSEG_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "TMPDIR"))
    monkeypatch.setenv("ECHOSEG_KEY", str(tmp_path.parent / f"{tmp_path.name}.keys" / "key"))

    def command(*words):
        (tmp_path / "out").mkdir(exist_ok=True)
        result = CliRunner().invoke(app, list(map(str, words)))
        printed = result.output + "".join(capfd.readouterr())
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return printed, leaks(tmp_path), result

    return command


def commands(study, out, kind):
    clip, model = study / f"{MARK}_A4C.dcm", ("--model", "phantom")
    masks = study / f"{MARK}.nii.gz"
    return {
        "clip": ["analyze", clip, study / f"{MARK}_odd.dcm", study / f"{MARK} none.dcm",
                 study / f"{MARK}_cut.dcm", "-o", out / "r", "--pdf", *model],
        "two views": ["analyze", "--a4c", clip, "--a2c", study / f"{MARK}_film.mp4", "--pdf",
                      "-o", out / "r", *model],
        "cohort": ["analyze", study, "-o", out / "r", "--pdf", "--jobs", "1", *model],
        "workers": ["analyze", study, "-o", out / "r", "--no-pages", "--jobs", "2", *model],
        "study": ["analyze", "--study", study, "-o", out / "r", "--pdf", *model],
        "measure": ["measure", masks, "--clip", clip, "-o", out / "r", "--pdf", "--fps", "25"],
        "not masks": ["measure", clip, "-o", out / "r"],
        "live": ["live", clip, "-o", out / "r", "--overlay", out / "o.mp4", *model],
        "live, broken": ["live", study / f"{MARK}_cut.dcm", "-o", out / "r", *model],
    }[kind]  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    ["clip", "two views", "cohort", "workers", "study", "measure", "not masks", "live",
     "live, broken"],
)  # fmt: skip
def test_the_name_is_in_nothing_that_is_written_or_printed(study, tmp_path, run, kind):
    printed, left, _ = run(*commands(study, tmp_path / "out", kind), "--private")
    assert MARK not in printed.upper() and "ANN (1950)" not in printed.upper(), printed
    assert not left
    table = Path(os.environ["ECHOSEG_KEY"] + ".names.jsonl")
    assert MARK in table.read_text()
    assert ("clip-" in printed) or kind in ("cohort", "workers", "two views", "live"), printed


@pytest.mark.parametrize("kind", ["clip", "cohort", "live"])
def test_the_search_finds_the_name_without_the_option(study, tmp_path, run, kind):
    printed, left, _ = run(*commands(study, tmp_path / "out", kind))
    names = {path.name for path in left}
    assert MARK in printed.upper() or kind != "clip"
    wanted = {"clip": {"report.json", "report.html", "report.pdf"}, "live": {"report.json"}}
    assert names >= wanted.get(kind, {"results.csv", "failures.csv"})


def test_free_text_of_tags_is_in_nothing_even_without_the_option(study, tmp_path, run):
    plain = tmp_path.parent / f"{tmp_path.name}-plain"
    plain.mkdir()
    for index, path in enumerate(sorted(study.glob("*.dcm"))):
        (plain / f"{index}.dcm").symlink_to(path)
    printed, left, _ = run("analyze", plain, "-o", tmp_path / "out" / "r", "--jobs", "1",
                           "--pdf", "--model", "phantom")  # fmt: skip
    assert MARK not in printed.upper()
    assert not left


def test_a_cohort_is_resumed_and_holds_no_path(study, tmp_path, run):
    words = [*commands(study, tmp_path / "out", "workers"), "--private"]
    run(*words)
    manifest = (tmp_path / "out" / "r" / "manifest.json").read_bytes()
    assert b"source" not in manifest
    printed, left, result = run(*words, "--resume")
    assert result.exit_code == 1 and not left and MARK not in printed
    assert (tmp_path / "out" / "r" / "manifest.json").read_bytes() == manifest

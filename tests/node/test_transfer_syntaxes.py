"""Clips as other programs encode and send them: a running node stores them, and they read back.

Written by DCMTK, GDCM, OpenJPH, pydicom and FFmpeg; sent by DCMTK's storescu, and by that of
pynetdicom where DCMTK 3.6.7 does not know the syntax. Without a program its cases are skipped.
"""

import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from clip_makers import moving_frames, region, ultrasound, write_container
from echoseg.io import load_clip
from echoseg.node import classes
from node_makers import dcmtk_program

FRAMES = moving_frames(6, rows=96, columns=128)
FRAMES[:, 0, 0], FRAMES[:, -1, -1] = 0, 255  # dcmcjpeg stretches grey values to the whole range
LOSSLESS = 0.0
PREFIX = "1.2.840.10008.1.2"


def run(program, *words):
    is_dcmtk = program.startswith(("dcm", "storescu"))
    place = dcmtk_program(program) if is_dcmtk else shutil.which(program)
    place = place or pytest.skip(f"needs {program}")
    done = subprocess.run([place, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def original(path, color=False):
    """The clip without compression, as a scanner would write it."""
    whole = region(RegionLocationMaxX1=127, RegionLocationMaxY1=95)
    dataset = ultrasound(FRAMES, FrameTime=40, SequenceOfUltrasoundRegions=[whole])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.9.1", "1.9.1.1"
    dataset.PatientName = dataset.PatientID = "A"
    if color:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration, dataset.PixelData = 0, np.stack([FRAMES] * 3, -1).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def by(program, *options, color=False):
    """A writer that converts a file, `program OPTIONS IN OUT`."""

    def write(folder):
        path = folder / "clip.dcm"
        run(program, *options, original(folder / "original.dcm", color), path)
        return path

    return write


def by_frames(syntax, make, parts=1):
    """A writer of compressed frames, or of one stream, in a data set of our own."""

    def write(folder):
        dataset = pydicom.dcmread(original(folder / "original.dcm"))
        streams, elements = make(folder)
        for name, value in elements.items():
            setattr(dataset, name, value)
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.PixelData = encapsulate(streams, fragments_per_frame=parts, has_bot=False)
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(folder / "clip.dcm", enforce_file_format=True)
        return folder / "clip.dcm"

    return write


def video(codec, container):
    def make(folder):
        write_container(folder / "stream", FRAMES, codec, container)
        elements = {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_PARTIAL_420"}
        return [(folder / "stream").read_bytes()], {**elements, "PlanarConfiguration": 0}

    return make


def openjph(*options):
    def make(folder):
        streams = []
        for frame in FRAMES:
            picture, stream = folder / "frame.pgm", folder / "frame.j2c"
            picture.write_bytes(b"P5 %d %d 255\n" % frame.shape[::-1] + frame.tobytes())
            run("ojph_compress", "-i", picture, "-o", stream, *options)
            streams.append(stream.read_bytes())
        return streams, {}

    return make


CASES = {
    "implicit, GDCM": ("", by("gdcmconv", "--implicit"), LOSSLESS),
    "explicit, GDCM": (".1", by("gdcmconv", "--explicit"), LOSSLESS),
    "big endian, DCMTK": (".2", by("dcmconv", "+tb"), LOSSLESS),
    "deflated, DCMTK": (".1.99", by("dcmconv", "+td"), LOSSLESS),
    "deflated, GDCM": (".1.99", by("gdcmconv", "--deflated"), LOSSLESS),
    "RLE, DCMTK": (".5", by("dcmcrle"), LOSSLESS),
    "RLE of color, DCMTK": (".5", by("dcmcrle", color=True), LOSSLESS),
    "RLE, GDCM": (".5", by("gdcmconv", "--rle"), LOSSLESS),
    "JPEG baseline, DCMTK": (".4.50", by("dcmcjpeg", "+eb"), 3.0),
    "JPEG baseline of color, DCMTK": (".4.50", by("dcmcjpeg", "+eb", color=True), 3.0),
    "JPEG extended, DCMTK": (".4.51", by("dcmcjpeg", "+ee"), 3.0),
    "JPEG lossless, DCMTK": (".4.57", by("dcmcjpeg", "+el"), LOSSLESS),
    "JPEG lossless SV1, DCMTK": (".4.70", by("dcmcjpeg", "+e1"), LOSSLESS),
    "JPEG lossless SV1, GDCM": (".4.70", by("gdcmconv", "--jpeg"), LOSSLESS),
    "JPEG-LS, DCMTK": (".4.80", by("dcmcjpls", "+el"), LOSSLESS),
    "JPEG-LS near-lossless, DCMTK": (".4.81", by("dcmcjpls", "+en"), 3.0),
    "JPEG 2000 lossless, GDCM": (".4.90", by("gdcmconv", "--j2k"), LOSSLESS),
    "JPEG 2000 lossless of color, GDCM": (".4.90", by("gdcmconv", "--j2k", color=True), LOSSLESS),
    "JPEG 2000, GDCM": (".4.91", by("gdcmconv", "--j2k", "--lossy", "-q", "45"), 3.0),
    "HTJ2K lossless, OpenJPH": (
        ".4.201",
        by_frames(f"{PREFIX}.4.201", openjph("-reversible", "true")),
        LOSSLESS,
    ),
    "HTJ2K RPCL lossless, OpenJPH": (
        ".4.202",
        by_frames(f"{PREFIX}.4.202", openjph("-reversible", "true", "-prog_order", "RPCL")),
        LOSSLESS,
    ),
    "HTJ2K, OpenJPH": (".4.203", by_frames(f"{PREFIX}.4.203", openjph("-qstep", "0.01")), 3.0),
} | {
    f"{name}, FFmpeg": (end, by_frames(PREFIX + end, video(codec, container), parts), 8.0)
    for name, end, codec, container, parts in [
        ("MPEG-2 ML", ".4.100", "mpeg2video", "mpeg2video", 1),
        ("MPEG-2 ML in fragments", ".4.100.1", "mpeg2video", "mpeg2video", 3),
        ("MPEG-2 HL", ".4.101", "mpeg2video", "mpeg2video", 1),
        ("H.264", ".4.102", "libx264", "h264", 1),
        ("H.264 in fragments of MP4", ".4.102.1", "libx264", "mp4", 3),
        ("H.264 BD", ".4.103", "libx264", "h264", 1),
        ("H.264 2D", ".4.104", "libx264", "h264", 1),
        ("HEVC", ".4.107", "libx265", "hevc", 1),
        ("HEVC Main 10", ".4.108", "libx265", "hevc", 1),
    ]
}  # fmt: skip

STORESCU = {
    "": "-xi", ".1": "-xe", ".2": "-xb", ".1.99": "-xd", ".5": "-xr", ".4.50": "-xy",
    ".4.51": "-xx", ".4.70": "-xs", ".4.80": "-xt", ".4.81": "-xu", ".4.90": "-xv",
    ".4.91": "-xw", ".4.100": "-xm", ".4.101": "-xh", ".4.102": "-xn", ".4.103": "-xl",
    ".4.104": "-x2", ".4.107": "-x4", ".4.108": "-x5",
}  # fmt: skip
"""The option by which DCMTK's storescu proposes a syntax; it has none for the others."""


def send(path, end, port):
    if option := STORESCU.get(end):
        run("storescu", "-R", option, "-aec", "ECHOSEG", "127.0.0.1", port, path)
    else:
        words = ["-m", "pynetdicom", "storescu", "127.0.0.1", port, path, "-aec", "ECHOSEG", "-cx"]
        run(sys.executable, *words)


@pytest.mark.parametrize("name", CASES)
def test_what_other_programs_encode_and_send_is_read(start, tmp_path, name):
    end, write, tolerance = CASES[name]
    path = write(tmp_path)
    syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    assert syntax == PREFIX + end
    node = start()
    send(path, end, node.scp.port)
    (stored,) = node.files()
    assert node.queue.find(pydicom.dcmread(path).SOPInstanceUID).transfer_syntax == syntax
    clip = load_clip(stored)
    assert clip.frames.shape == FRAMES.shape
    assert abs(clip.frames.astype(int) - FRAMES).mean() <= tolerance
    assert clip.spacing_mm == (0.5, 0.4) and clip.frame_rate_hz == 25


def test_every_syntax_that_the_node_takes_is_written_here_or_is_a_variant():
    written = {PREFIX + end for end, *_ in CASES.values()}
    left = set(classes.TRANSFER_SYNTAXES) - written
    # the same streams as .101, .103 and .104, cut into fragments
    assert left == {f"{PREFIX}.4.{number}.1" for number in (101, 103, 104)}

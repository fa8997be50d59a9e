"""Time and peak memory of reading files that claim or unpack to more than they should.

    python benchmarks/bombs.py [--only NAME]

Each file is read by a process of its own, with the default limit. Prints a row per file: its size,
seconds of processor time and of the clock, peak resident memory beyond the imports, the outcome.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

CHILD = """
import sys, time
import av, nibabel, numpy, PIL.Image, pydicom.pixels, scipy.ndimage, tifffile
from echoseg.errors import EchosegError
from echoseg.io import load_clip
def peak_mb():  # of this process alone; getrusage counts the parent's before exec
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
before_mb, began = peak_mb(), time.perf_counter()
try:
    said = repr(load_clip(sys.argv[1], allow_damaged=True))
except EchosegError as error:
    said = str(error)
cpu = time.process_time()
print(f"{cpu:.1f} | {time.perf_counter() - began:.1f} | {peak_mb() - before_mb:.0f} | {said[:140]}")
"""


def frames(number: int = 6, rows: int = 48, columns: int = 64) -> np.ndarray:
    """Moving grey levels `T H W` uint8."""
    y, x = np.mgrid[:rows, :columns]
    return np.stack(
        [(120 + 90 * np.sin(x / 7 + t) * np.cos(y / 9)).astype(np.uint8) for t in range(number)]
    )


def _dicom(path: Path, pixels: np.ndarray, syntax: str = "", **elements: object) -> None:
    import pydicom

    from echoseg.clip import Clip
    from echoseg.io import dicom_writer

    dicom_writer.write(path, Clip(frames=pixels, times_s=np.arange(len(pixels)) / 25))
    dataset = pydicom.dcmread(path)
    if syntax:
        dataset.compress(getattr(pydicom.uid, syntax))
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


def avi_length(path: Path, length: int) -> None:
    """A wrong number of frames in the header."""
    from echoseg.io.video import write_mjpeg

    write_mjpeg(path, frames(), 25)
    content = bytearray(path.read_bytes())
    at = content.index(b"strh") + 8 + 32
    content[at : at + 4] = struct.pack("<I", length)
    path.write_bytes(content)


def mp4_stts(path: Path) -> None:
    """A wrong number of samples in the table of times."""
    from echoseg.io.video import write_h264

    write_h264(path, np.repeat(frames()[..., None], 3, 3), 25)
    content = bytearray(path.read_bytes())
    at = content.index(b"stts") + 12
    content[at : at + 4] = struct.pack(">I", 10**9)
    path.write_bytes(content)


def video(path: Path, rows: int, columns: int, num_frames: int, *, codec: str = "libx264") -> None:
    """Black pictures."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width = rows, columns
        stream.pix_fmt = "gray" if codec == "gif" else "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((rows, columns), np.uint8), format="gray")
        picture = picture.reformat(format=stream.pix_fmt)
        for index in range(num_frames):
            picture.pts = index
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def gif(path: Path, side: int, num_frames: int) -> None:
    """A wide canvas of frames of 8 x 8 pixels."""
    from PIL import Image

    pictures = [Image.new("L", (8, 8), index % 250) for index in range(num_frames)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    content = bytearray(path.read_bytes())
    content[6:10] = struct.pack("<HH", side, side)
    path.write_bytes(content)


def nifti_gz(path: Path, num_bytes: int = 4 * 10**9) -> None:
    """Zeros, compressed."""
    import gzip

    import nibabel

    header = nibabel.nifti1.Nifti1Header()
    header.set_data_shape((1000, 1000, num_bytes // 10**6))
    header.set_data_dtype(np.uint8)
    with gzip.open(path, "wb", 6) as file:
        header.write_to(file)
        for _ in range(num_bytes // 10**6):
            file.write(bytes(10**6))


def deflated_dicom(path: Path, num_bytes: int = 1_500_000_000) -> None:
    """Zeros behind the elements of a small clip, deflated."""
    import pydicom

    _dicom(path, frames())
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.Rows = dataset.Columns = 1000
    dataset.NumberOfFrames = num_bytes // 10**6
    dataset.PixelData = bytes(num_bytes)
    dataset.save_as(path, enforce_file_format=True)


def pictures(path: Path) -> None:
    """Six PNG of 13,000 x 13,000."""
    from PIL import Image

    path.mkdir()
    for index in range(6):
        Image.new("1", (13_000, 13_000)).save(path / f"{index}.png")


def many_elements(path: Path) -> None:
    """10^6 empty elements."""
    _dicom(path, frames())
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\0")
    empty = b"".join(
        struct.pack("<HH2sH", 0x0029 + 2 * (n // 60_000), 0x1000 + n % 60_000, b"LO", 0)
        for n in range(10**6)
    )
    path.write_bytes(content[:at] + empty + content[at:])


def metaimage(path: Path, *, lines: int = 0, inside: int = 0) -> None:
    """A header of many lines, or compressed zeros."""
    head = b"NDims = 3\nDimSize = 1000 1000 2000\nElementType = MET_UCHAR\n" + b"a=\n" * lines
    stream = zlib.compressobj()
    packed = b"".join(stream.compress(bytes(10**6)) for _ in range(inside // 10**6))
    head += b"CompressedData = True\n" if inside else b""
    path.write_bytes(head + b"ElementDataFile = LOCAL\n" + packed + stream.flush())


def folder_with_large_file(path: Path) -> None:
    """Frames, and a file of 8 GB beside them (sparse)."""
    from PIL import Image

    path.mkdir()
    for index, frame in enumerate(frames()):
        Image.fromarray(frame).save(path / f"{index}.png")
    with (path / "notes.txt").open("wb") as file:
        file.truncate(8 * 10**9)


def npz(path: Path) -> None:
    """Zeros, compressed."""
    np.savez_compressed(path, frames=np.zeros((2500, 1000, 1000), np.uint8))


BOMBS: dict[str, Callable[[Path], None]] = {
    "AVI length 10^7.avi": lambda path: avi_length(path, 10**7),
    "AVI length 2^31-1.avi": lambda path: avi_length(path, 2**31 - 1),
    "MP4 stts 10^9.mp4": mp4_stts,
    **{
        f"DICOM {name or 'native'} NumberOfFrames 10^9.dcm": (
            lambda path, name=name: _dicom(path, frames(6, 64, 64), name, NumberOfFrames=10**9)
        )
        for name in ("", "RLELossless", "JPEGLSLossless", "JPEG2000Lossless")
    },
    "NIfTI gz of 4 GB.nii.gz": nifti_gz,
    "deflated DICOM of 1_5 GB.dcm": deflated_dicom,
    "6 PNG of 13000^2": pictures,
    "GIF canvas 16000^2 x 30.gif": lambda path: gif(path, 16_000, 30),
    "GIF 2000^2 x 1000.gif": lambda path: gif(path, 2000, 1000),
    "GIF of 10^5 frames.gif": lambda path: video(path, 16, 16, 10**5, codec="gif"),
    "RLE DICOM 8192^2 x 4.dcm": lambda path: _dicom(
        path, np.zeros((4, 8192, 8192), np.uint8), "RLELossless"
    ),
    "DICOM of 10^6 empty elements.dcm": many_elements,
    "MetaImage of 200000 lines.mha": lambda path: metaimage(path, lines=200_000),
    "MetaImage zlib of 2_1 GB.mha": lambda path: metaimage(path, inside=2_100_000_000),
    "folder with a file of 8 GB": folder_with_large_file,
    "npz of 2_5 GB.npz": npz,
    "20 s of 1080p, 30 fps.mp4": lambda path: video(path, 1080, 1920, 600),
}


def run(path: Path) -> str:
    """Read one file in a new process."""
    code = [sys.executable, "-W", "ignore", "-c", CHILD, str(path)]
    try:
        done = subprocess.run(code, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return "- | > 600 | - | stopped"
    outcome = done.stdout.strip() or f"- | - | - | exit {done.returncode}: {done.stderr[-200:]}"
    return outcome.replace(str(path), "FILE")


def size_of(path: Path) -> Iterator[int]:
    """Bytes on disk of a file, or of each file in a folder."""
    for file in path.iterdir() if path.is_dir() else [path]:
        yield 512 * file.stat().st_blocks


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="A part of the name.")
    only = parser.parse_args().only
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    print(f"{load}\n\n| file | kB | CPU s | s | MB | outcome |\n|---|---|---|---|---|---|")
    for name, make in BOMBS.items():
        if only in name:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name.replace(" ", "_")
                make(path)
                title = path.stem.replace("_", " ")
                print(f"| {title} | {sum(size_of(path)) / 1000:.0f} | {run(path)} |", flush=True)


if __name__ == "__main__":
    main()

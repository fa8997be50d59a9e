"""How much memory reading or analyzing a clip takes, against its grey frames?

    python benchmarks/reading_memory.py [--frames 300] [--rows 768] [--columns 1024]
        [--formats NAME ...] [--json OUT]
    python benchmarks/reading_memory.py --analyze --frames 3600 --rows 1080 --columns 1920

A made-up sector with a beating bright ring is written in every format and read by `load_clip`, each
in a process of its own, whose peak is `ru_maxrss` of all that it does, imports included. The ratio
is that of the peak to 1.3 times the grey frames and 200 MB: the goal is 1. With `--analyze` it is
`echoseg analyze` of an MP4 instead, at 60 frames per second, with the default model. Asserts
nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from echoseg.io.nifti import write_masks
from echoseg.io.video import write_h264
from speed import machine

MB, RATE_HZ = 1e6, 60.0
CHILD = """
import resource, sys
from echoseg.io import load_clip
clip = load_clip(sys.argv[1], fps=60)
print(clip.frames.nbytes, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def made_up(num_frames: int, rows: int, columns: int) -> Iterator[np.ndarray]:
    """Yield grey frames `H W`: noise in a sector, with a ring that beats once per second."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    y, x = y / rows, (x - columns / 2) / rows
    sector = (y > 0.02) & (np.hypot(x, y) < 0.97) & (np.abs(x) < 0.8 * y)
    rng = np.random.default_rng(0)
    noise = rng.gamma(2, 18, (2 * rows, columns)).astype(np.float32)
    for index in range(num_frames):
        radius = 0.17 - 0.04 * np.sin(2 * np.pi * index / RATE_HZ) ** 2
        away = np.abs(np.hypot(1.6 * x, y - 0.45) - radius)
        gain = 0.3 + 2 * np.exp(-((away / 0.04) ** 2))
        start = int(rng.integers(rows))
        yield (noise[start : start + rows] * gain * sector).clip(0, 255).astype(np.uint8)


def rgb(frame: np.ndarray) -> np.ndarray:
    """The same grey as `H W 3`."""
    return np.repeat(frame[..., None], 3, -1)


def deep(frame: np.ndarray) -> np.ndarray:
    """The same grey in 16 bits."""
    return frame.astype(np.uint16) * 257


def write_dicom(path: Path, frames: Iterator[np.ndarray], syntax: str, *, colour: bool) -> None:
    """Write an ultrasound object, uncompressed or of RLE or JPEG 2000 frames."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, UltrasoundMultiFrameImageStorage, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pixels = np.stack([rgb(frame) if colour else frame for frame in frames])
    dataset.Modality, dataset.FrameTime = "US", 1000 / RATE_HZ
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape[:3]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = pixels.tobytes()
    if syntax:
        dataset.compress(syntax)
    dataset.save_as(path, enforce_file_format=True)


def write_folder(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write a folder of frames, whose name is their suffix."""
    from PIL import Image

    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{index}.{path.name}")


def write_metaimage(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write a MetaImage of 16 bits: `.mha` in one file, `.mhd` with a compressed one beside it."""
    pixels = np.stack([deep(frame) for frame in frames])
    size = " ".join(map(str, pixels.shape[::-1]))
    text = f"ObjectType = Image\nNDims = 3\nDimSize = {size}\nElementType = MET_USHORT\n"
    if path.suffix == ".mha":
        path.write_bytes(text.encode() + b"ElementDataFile = LOCAL\n" + pixels.tobytes())
        return
    path.with_suffix(".zraw").write_bytes(zlib.compress(pixels.data, 1))
    path.write_text(f"{text}CompressedData = True\nElementDataFile = {path.stem}.zraw\n")


def write_deep_nifti(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write NIfTI of 16 bits; one of that name with scl_slope and scl_inter."""
    write_masks(path, np.stack([frame.astype(np.int16) * 7 for frame in frames]), None, None)
    if path.name.startswith("slope"):
        content = bytearray(path.read_bytes())
        content[112:120] = np.array([0.1, 5], "<f4").tobytes()
        path.write_bytes(content)


def write_pictures(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write the pages of one TIFF, or an animation, of RGB."""
    from PIL import Image

    first, *rest = (Image.fromarray(rgb(frame)) for frame in frames)
    first.save(path, save_all=True, append_images=rest, duration=20)


def write_zea(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write HDF5 in the layout of zea, in compressed chunks of a frame, as floats in dB."""
    import h5py

    pixels = np.stack([frame.astype(np.float32) / 4 - 60 for frame in frames])
    with h5py.File(path, "w") as file:
        chunks = (1, *pixels.shape[1:])
        file.create_dataset("data/image_sc", data=pixels, chunks=chunks, compression="gzip")


def write_echoxflow(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write a Zarr store of EchoXFlow: beams, in chunks of a frame or, named so, of 50."""
    import zarr

    beams = np.stack(list(frames))
    root = zarr.open_group(path, mode="w", zarr_format=2)
    chunks = (50 if path.name.startswith("many") else 1, *beams.shape[1:])
    root.create_array("data/2d_brightness_mode", data=beams, chunks=chunks)
    stamps_s = np.arange(len(beams)) / RATE_HZ
    root.create_array("timestamps/2d_brightness_mode", data=stamps_s)
    geometry = {"DepthStart": 0.0, "DepthEnd": 0.15, "Tilt": 0.0, "Width": 1.4}
    sector = {"semantic_id": "bmode", "geometry": geometry}
    root.attrs["recording_manifest"] = {"sectors": [sector]}


def write_series(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write DICOM files of one frame each."""
    import pydicom

    path.mkdir()
    for index, frame in enumerate(frames):
        file = path / f"{index:04d}.dcm"
        write_dicom(file, iter([frame]), "", colour=False)
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID, dataset.InstanceNumber = "1.2.3", index + 1
        dataset.save_as(file)


def write_stack(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write an ImageJ stack of 16 bits, or one whose zero is white."""
    import tifffile

    pixels = np.stack([deep(frame) for frame in frames])
    if path.name.startswith("white"):
        tifffile.imwrite(path, 65535 - pixels, photometric="miniswhite")
    else:
        tifffile.imwrite(path, pixels, imagej=True)


def write_deep_video(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write FFV1 of 12 bits in 16."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=int(RATE_HZ))
        stream.pix_fmt = "gray16le"
        for index, frame in enumerate(frames):
            if not index:
                stream.height, stream.width = frame.shape
            picture = av.VideoFrame.from_ndarray(frame.astype(np.uint16) * 16, format="gray16le")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


Writer = Callable[[Path, Iterator[np.ndarray]], None]
FORMATS: dict[str, Writer] = {
    "clip.mp4": lambda p, f: write_h264(p, map(rgb, f), RATE_HZ),
    "grey.dcm": lambda p, f: write_dicom(p, f, "", colour=False),
    "rgb.dcm": lambda p, f: write_dicom(p, f, "", colour=True),
    "deep.dcm": lambda p, f: write_dicom(p, map(deep, f), "", colour=False),
    "rle.dcm": lambda p, f: write_dicom(p, f, "1.2.840.10008.1.2.5", colour=True),
    "clip.nii": lambda p, f: write_masks(p, np.stack(list(f)), None, None),
    "clip.nii.gz": lambda p, f: write_masks(p, np.stack(list(f)), None, None),
    "deep.nii.gz": write_deep_nifti,
    "slope.nii": write_deep_nifti,
    "deep.mha": write_metaimage,
    "deep.mhd": write_metaimage,
    "png": write_folder,
    "jpg": write_folder,
    "tif": write_folder,
    "pages.tif": write_pictures,
    "clip.gif": write_pictures,
    "clip.npy": lambda p, f: np.save(p, np.stack([rgb(one) for one in f])),
    "clip.npz": lambda p, f: np.savez_compressed(p, frames=np.stack([rgb(one) for one in f])),
    "zea.hdf5": write_zea,
    "clip.zarr": write_echoxflow,
    "many.zarr": write_echoxflow,
    "series": write_series,
    "stack.tif": write_stack,
    "white.tif": write_stack,
    "clip.webp": write_pictures,
    "deep.mkv": write_deep_video,
}  # fmt: skip


def read_peak(path: Path) -> tuple[int, int]:
    """Bytes of the grey frames, and the peak of a process that reads them."""
    words = [sys.executable, "-c", CHILD, str(path)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    grey, peak = map(int, done.stdout.split())
    return grey, peak


def analyze_peak(path: Path, *options: str) -> int:
    """Peak of `echoseg analyze`, which may give no EF."""
    flags = [f"--{option}" for option in options]
    words = ["analyze", path, "-o", path.parent / "out", "--timing", *flags]
    process = subprocess.Popen([sys.executable, "-m", "echoseg", *map(str, words)])
    return 1024 * os.wait4(process.pid, 0)[2].ru_maxrss  # of this child, not of the writer


def main() -> None:
    """Write, read, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rows", type=int, default=768)
    parser.add_argument("--columns", type=int, default=1024)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--analyze", action="store_true")
    parser.add_argument("--options", nargs="*", default=[], help="of analyze, such as no-pages")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    size = (args.frames, args.rows, args.columns)
    grey, rows = int(np.prod(size)), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ["clip.mp4"] if args.analyze else args.formats:
            path = Path(folder) / name
            words = [sys.executable, __file__, "--write", str(path), *map(str, size)]
            subprocess.run(words, check=True)  # so that its memory is not that of a child
            start = time.perf_counter()
            if args.analyze:
                peak = analyze_peak(path, *args.options)
            else:
                grey, peak = read_peak(path)
            rows[name] = {"grey_mb": grey / MB, "peak_mb": peak / MB,
                          "ratio": peak / (1.3 * grey + 200 * MB),
                          "took_s": time.perf_counter() - start}  # fmt: skip
            print("{:12} grey {grey_mb:6.0f} MB, peak {peak_mb:6.0f} MB, of 1.3 x grey + 200 "
                  "MB {ratio:5.2f}, {took_s:.0f} s".format(name, **rows[name]))  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "formats": rows}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        target = Path(sys.argv[2])
        rows_columns = map(int, sys.argv[3:6])
        FORMATS[target.name](target, made_up(*rows_columns))
    else:
        main()

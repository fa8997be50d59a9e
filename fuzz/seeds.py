"""Seeds: one small valid file per kind, made by our own writers; nothing binary is kept.

python -m fuzz.seeds FOLDER     write them to FOLDER/TARGET/NAME
"""

import argparse
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from echoseg.clip import Clip
from echoseg.io import dicom_writer, nifti, video
from echoseg.weights.card import SHIPPED, find_checkpoint

NUM_FRAMES, ROWS, COLUMNS = 4, 64, 64


def frames() -> np.ndarray:
    """A clip `T H W` uint8 with more grey levels than a label map has."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    return np.stack(
        [(120 + 90 * np.sin(x / 5 + t) * np.cos(y / 7)).astype(np.uint8) for t in range(NUM_FRAMES)]
    )


def masks() -> np.ndarray:
    """Label maps `T H W` uint8."""
    labels = np.zeros((NUM_FRAMES, ROWS, COLUMNS), np.uint8)
    labels[:, 4:20, 8:24] = 2
    labels[:, 6:18, 10:22] = 1
    return labels


def _written(write: Callable[[Path], object], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"seed{suffix}"
        write(path)
        return path.read_bytes()


def _dicom(syntax: str) -> bytes:
    import pydicom

    clip = Clip(frames=frames(), times_s=np.arange(NUM_FRAMES) / 25, spacing_mm=(0.3, 0.3))
    content = _written(lambda path: dicom_writer.write(path, clip), ".dcm")
    dataset = pydicom.dcmread(io.BytesIO(content))
    if syntax == "deflated":
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    elif syntax == "implicit":
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    elif syntax:
        dataset.compress(getattr(pydicom.uid, syntax))
    whole = io.BytesIO()
    dataset.save_as(whole, enforce_file_format=True)
    return whole.getvalue()


def _video(container: str, codec: str, pixels: str) -> bytes:
    import av

    whole = io.BytesIO()
    with av.open(whole, "w", format=container) as opened:
        stream = opened.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = ROWS, COLUMNS, pixels
        for frame in frames():
            picture = av.VideoFrame.from_ndarray(frame, format="gray").reformat(format=pixels)
            opened.mux(stream.encode(picture))
        opened.mux(stream.encode())
    return whole.getvalue()


def _pictures(kind: str) -> bytes:
    from PIL import Image

    first, *others = (Image.fromarray(frame) for frame in frames())
    whole = io.BytesIO()
    first.save(whole, kind, save_all=True, append_images=others)
    return whole.getvalue()


def _array(save: Callable[..., object], **arrays: np.ndarray) -> bytes:
    whole = io.BytesIO()
    if arrays:
        save(whole, **arrays)
    else:
        save(whole, frames())
    return whole.getvalue()


def _hdf5() -> dict[str, bytes]:
    try:
        import h5py
    except ImportError:
        return {}
    whole = io.BytesIO()
    with h5py.File(whole, "w") as file:
        file["data/image_sc"] = frames()
    return {"hdf5": whole.getvalue()}


def _clips() -> dict[str, bytes]:
    meta = f"NDims = 3\nDimSize = {COLUMNS} {ROWS} {NUM_FRAMES}\nElementType = MET_UCHAR\n"
    syntaxes = ("", "deflated", "implicit", "RLELossless", "JPEGLSLossless", "JPEG2000Lossless")
    return {
        **{f"dicom_{syntax or 'native'}": _dicom(syntax) for syntax in syntaxes},
        "avi_mjpeg": _written(lambda path: video.write_mjpeg(path, frames(), 25), ".avi"),
        "mp4_h264": _video("mp4", "libx264", "yuv420p"),
        "matroska_ffv1": _video("matroska", "ffv1", "gray"),
        "mpeg_mpeg2": _video("mpeg", "mpeg2video", "yuv420p"),
        "gif": _video("gif", "gif", "gray"),
        "nifti": _written(lambda path: nifti.write_masks(path, frames(), (1, 1), 0.04), ".nii"),
        "nifti_gz": _written(lambda path: nifti.write_masks(path, frames(), (1, 1), 1), ".nii.gz"),
        "metaimage": f"{meta}ElementDataFile = LOCAL\n".encode() + frames().tobytes(),
        "tiff": _pictures("TIFF"),
        "png": _pictures("PNG"),
        "webp": _pictures("WEBP"),
        "npy": _array(np.save),
        "npz": _array(np.savez_compressed, frames=frames()),
        **_hdf5(),
    }


def _masks() -> dict[str, bytes]:
    return {
        "nifti": _written(lambda path: nifti.write_masks(path, masks(), (1, 1), 0.04), ".nii.gz"),
        "npz": _array(np.savez, masks=masks()),
    }


def _card() -> bytes:
    """A checkpoint without its weights."""
    content = find_checkpoint("camus").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = {"__metadata__": json.loads(content[8 : 8 + length])["__metadata__"]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def _state() -> bytes:
    import torch

    from echoseg.train.state_file import write_state

    state = {"step": 3, "parts": [torch.ones(2), {"a": (1.5, None)}]}
    return _written(lambda path: write_state(path, state), ".safetensors")


def _documents() -> dict[str, bytes]:
    clip = {"seed": 1, "view": "A4C", "tier": "easy", "spacing_mm": [1, 1], "frame_rate_hz": 25,
            "ed_frame": 0, "es_frame": 2, "true_ef_percent": 60}  # fmt: skip
    entry = {"name": "a", "patient": "a", "view": "A4C", "split": "", "quality": "",
             "stills": False, "labels": None, "num_frames": 2, "labelled_frames": [0],
             "ed_frame": 0, "es_frame": None, "ef_percent": None, "spacing_mm": [1, 1],
             "frame_rate_hz": 25, "box": [0, 0, 16, 16], "source_sha256": ""}  # fmt: skip
    return {
        name: json.dumps(value).encode()
        for name, value in {
            "phantom": {"layout": "avi", "clips": {"a": clip}},
            "cache": {"format": 3, "dataset": "custom", "size_px": 16, "clips": ["a"]},
            "entry": entry,
            "run": {"method": "supervised", "image_size": 64, "seed": 0},
            "summary": {"data": {"sha256": "ab"}},
        }.items()
    }


_ITEMS = (
    b"clip,patient,view,frame,structure,dice,iou,hd,hd95,asd,unit",
    b"a,p,A4C,0,la,1,1,0,0,0,mm",
)
_FILES = (
    b"FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split",
    b"a,60,40,100,112,112,50,4,TRAIN",
)


def _tables() -> dict[str, bytes]:
    return {
        "clips": b"clip,patient,view,masks,row_mm,column_mm,fps\na.avi,p,A4C,,0.3,0.3,25\n",
        "items": b"\n".join(_ITEMS),
        "echonet": b"\n".join(_FILES),
    }


def seeds(target: str) -> dict[str, bytes]:
    """The seeds of a target by name."""
    makers: dict[str, Callable[[], dict[str, bytes]]] = {
        "clip": _clips,
        "masks": _masks,
        "npz": lambda: {"npz": _array(np.savez, frames=frames()[None], masks=masks()[None])},
        "document": _documents,
        "card": lambda: {"card": _card()},
        "calibration": lambda: {
            name: path.read_bytes()
            for name in SHIPPED
            if (path := find_checkpoint(name).with_suffix(".trust.json")).is_file()
        },
        "table": _tables,
        "state": lambda: {"state": _state()},
    }
    return makers[target]()


def main() -> None:
    """Write the seeds of all targets."""
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for target in TARGETS:
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, content in seeds(target).items():
            (folder / target / name).write_bytes(content)


if __name__ == "__main__":
    main()

"""The file formats that are read, each with its library; detected from the content, never the name.

`echoseg formats` prints `FORMATS`.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from echoseg.clip import Clip
from echoseg.errors import EchosegError, FormatError
from echoseg.io import (
    dicom,
    dicom_series,
    hdf5,
    image_folder,
    images,
    metaimage,
    nifti,
    nrrd,
    numpy_file,
    video,
    zarr_store,
)
from echoseg.io.frames import OpenOptions
from echoseg.untrusted import check_regular

_PACKED = (
    b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd",
)  # fmt: skip
_NAMED = {b"MATLAB 5.0": "a MATLAB file", b"MATLAB 7.3": "a MATLAB file"}
"""First bytes of files of arrays that are not read, and what they are."""
_TEXTS = frozenset(".txt .csv .json .md .db .ini".split())
Files = Callable[[Path], list[Path]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One file format.

    Attributes:
        sniff: Detects it from the first bytes and the path.
        read: Reads a clip.
        title: What it covers, for `echoseg formats`.
        library: Name on PyPI of what decodes it.
        files: The files that make up a clip, for its hash.
    """

    sniff: Callable[[bytes, Path], bool]
    read: Callable[[Path, OpenOptions], Clip]
    title: str
    library: str
    files: Files = lambda path: [path]


def _format(module: ModuleType, library: str, title: str, **files: Files) -> Format:
    return Format(sniff=module.sniff, read=module.read, title=title, library=library, **files)


# "video" after all with a magic number, since a transport stream has little of one
FORMATS: dict[str, Format] = {
    "dicom": _format(
        dicom,
        "pydicom",
        "ultrasound: uncompressed, RLE, JPEG, JPEG-LS, JPEG 2000, HTJ2K, MPEG-2/4, HEVC",
    ),
    "nifti": _format(nifti, "nibabel", "NIfTI (x, y, t)"),
    "metaimage": _format(
        metaimage,
        "numpy",
        "MetaImage MHD, MHA",
        files=lambda path: [path, *filter(Path.is_file, metaimage.data_files(path))],
    ),
    "nrrd": _format(nrrd, "pynrrd", "NRRD and sequences of 3D Slicer", files=nrrd.data_files),
    "images": _format(images, "pillow", "TIFF of several pages, animated PNG, animated WebP"),
    "numpy": _format(numpy_file, "numpy", "NumPy .npy, .npz"),
    "hdf5": _format(hdf5, "h5py", "HDF5 of zea and EchoXFlow"),
    "video": _format(
        video, "av", "AVI, MP4, MOV, MKV, WMV, MPG, VOB, TS, FLV, GIF, raw H.264, HEVC, ..."
    ),
    "zarr": _format(
        zarr_store, "zarr", "folder of a Zarr store, of EchoXFlow", files=zarr_store.store_files
    ),
    "dicom_series": _format(
        dicom_series,
        "pydicom",
        "folder of DICOM files, one per frame of a series",
        files=dicom_series.series_files,
    ),
    "image_folder": _format(
        image_folder,
        "pillow",
        "folder of PNG, JPEG, TIFF, BMP or WebP frames",
        files=image_folder.frame_files,
    ),
}


def is_frame_folder(path: Path) -> bool:
    """Whether a folder is one clip: pictures with nothing but texts, the frames of a series, Zarr.

    Beside pictures there may be folders of masks.
    """
    if zarr_store.sniff(b"", path):
        return not zarr_store.sniff(b"", path.parent)  # a group inside it is not one
    files = [file for file in path.iterdir() if not file.name.startswith(".")]
    inner = [file for file in files if file.is_dir()]
    if len(inner) == len(files) or not all(map(image_folder.holds_masks, inner)):
        return False
    files = [file for file in files if file not in inner]
    suffixes = {file.suffix.lower() for file in files}
    if suffixes & images.SUFFIXES:
        return suffixes <= images.SUFFIXES | _TEXTS
    return bool(dicom_series.series_files(path))


def only_file(path: Path) -> Path:
    """The one file of a folder that holds nothing else; any other path unchanged."""
    if not path.is_dir():
        return path
    inside = [one for one in path.iterdir() if not one.name.startswith(".")]
    return inside[0] if len(inside) == 1 and inside[0].is_file() else path


def find_format(path: str | Path) -> str:
    """Detect the key of `FORMATS` from a file's content.

    Raises:
        FormatError: If the path is missing, empty, or of no known format.
    """
    path = Path(path)
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(2048)
        if not head:
            raise FormatError(f"{path}: the file is empty")
    if name := _detected(head, path):
        return name
    if path.is_dir():
        raise FormatError(f"{path}: {_folder_reason(path)}")
    if images.is_picture(head):
        raise FormatError(
            f"{path}: this is one picture, and a clip needs at least 2 frames. Give its folder if "
            "that holds the frames"
        )
    if head.startswith(_PACKED):
        raise FormatError(
            f"{path}: this is a packed file (zip, gzip, 7z, ...) or a cut .nii.gz; unpack it first"
        )
    if named := next((text for start, text in _NAMED.items() if head.startswith(start)), ""):
        raise FormatError(
            f"{path}: this is {named}, which is not read; save the frames (T, H, W) as .npy and "
            "give --spacing-mm and --fps, or as NIfTI (x, y, t) with units mm and s"
        )
    raise FormatError(
        f"{path}: the content is not of a supported format, whatever the name says; echoseg "
        "formats lists those that are read"
    )


def _detected(head: bytes, path: Path) -> str:
    """The first format that recognizes a path; empty if none does."""
    for name, known in FORMATS.items():
        try:
            if known.sniff(head, path):
                return name
        except (EchosegError, OSError):
            raise
        except Exception as error:  # such as that of a format of one's own
            raise FormatError(
                f"{path}: the format {name!r} cannot tell whether it is one of its files "
                f"({type(error).__name__}); if this format is your own, mend its sniff"
            ) from error
    return ""


def _folder_reason(path: Path) -> str:
    """Why a folder without frames is not a clip: what it holds instead."""
    clips = []
    for file in sorted(path.iterdir()):
        with suppress(FormatError, OSError):
            if file.is_file() and find_format(file):
                clips.append(file.name)
    if reason := dicom_series.no_series_reason(path):
        return (
            f"the folder holds DICOM files of one frame each that are not one clip: {reason}. "
            "Export the clip as one multi-frame file"
        )
    if clips:
        return (
            f"the folder holds {', '.join(clips[:3])}{', ...' if len(clips) > 3 else ''} and no "
            "frames of one clip; give one of these files, or the folder to echoseg analyze"
        )
    return (
        "the folder holds no frames (PNG, JPEG, TIFF, BMP, WebP, or the DICOM files of a series, "
        "one per frame)"
    )


def content_sha256(path: Path, name: str) -> str:
    """Hash the bytes of a clip's files; of several, their names too."""
    files = FORMATS[name].files(path) if name in FORMATS else [path]
    digest = hashlib.sha256()
    for file in files:
        if len(files) > 1:
            digest.update(os.fsencode(file.name))
        with check_regular(file).open("rb") as content:
            while block := content.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def source_sha256(path: str | Path) -> str:
    """Compute the `source_sha256` of the clip at `path` without decoding it.

    Of a file that is not a clip it hashes the bytes; empty where the file cannot be read.
    """
    path = Path(path)
    try:
        try:
            name = find_format(path)
        except FormatError:
            name = ""
        return content_sha256(path, name)
    except Exception:  # of one file, also by a format of your own; loading says what is broken
        return ""

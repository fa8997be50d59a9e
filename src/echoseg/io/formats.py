"""The file formats that are read, each with its library; detected from the content, never the name.

`echoseg formats` prints `FORMATS`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from echoseg.clip import Clip
from echoseg.errors import EchosegError, FormatError
from echoseg.io import dicom, image_folder, metaimage, nifti, video
from echoseg.io.frames import OpenOptions


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
    files: Callable[[Path], list[Path]] = lambda path: [path]


FORMATS: dict[str, Format] = {
    "dicom": Format(
        sniff=dicom.sniff,
        read=dicom.read,
        title="multi-frame ultrasound: uncompressed, RLE, JPEG, JPEG-LS, JPEG 2000, MPEG-2/4",
        library="pydicom",
    ),
    "video": Format(
        sniff=video.sniff, read=video.read, title="AVI, MP4, MOV, MKV, GIF", library="av"
    ),
    "nifti": Format(sniff=nifti.sniff, read=nifti.read, title="NIfTI (x, y, t)", library="nibabel"),
    "metaimage": Format(
        sniff=metaimage.sniff,
        read=metaimage.read,
        title="MetaImage MHD, MHA",
        library="numpy",
        files=lambda path: [path, *filter(None, [metaimage.data_file(path)])],
    ),
    "image_folder": Format(
        sniff=lambda head, path: path.is_dir(),
        read=image_folder.read,
        title="folder of PNG frames",
        library="pillow",
        files=image_folder.frame_files,
    ),
}


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
    for name, known in FORMATS.items():
        if known.sniff(head, path):
            return name
    raise FormatError(
        f"{path}: the content is not of a supported format ({', '.join(FORMATS)}), whatever the "
        "name says"
    )


def content_sha256(path: Path, name: str) -> str:
    """Hash the bytes of a clip's files; of several, their names too."""
    files = FORMATS[name].files(path) if name else [path]
    digest = hashlib.sha256()
    for file in files:
        if len(files) > 1:
            digest.update(file.name.encode())
        with file.open("rb") as content:
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
    except (OSError, ValueError, EchosegError):
        return ""

"""What arrives over the network: its header is checked before anything is stored."""

import hashlib
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoseg.errors import EchosegError, TooLargeError
from echoseg.io.budget import Budget
from echoseg.io.frames import OpenOptions
from echoseg.node import classes

_UID = re.compile(r"(?=.{1,64}$)[0-2](\.(0|[1-9]\d*))+")
_MAX_HEADER_BYTES = 2**22
"""What is inflated of a deflated data set to read its header."""
_CLASS, _INSTANCE, _MANUFACTURER = 0x00080016, 0x00080018, 0x00080070
_STUDY, _FRAMES, _ROWS, _COLUMNS = 0x0020000D, 0x00280008, 0x00280010, 0x00280011
_TAGS = [_CLASS, _INSTANCE, _MANUFACTURER, _STUDY, _FRAMES, _ROWS, _COLUMNS]


class Refused(EchosegError):
    """An instance is not stored.

    Attributes:
        status: One of `classes.STORE_STATUSES`.
    """

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message or classes.STORE_STATUSES[status])
        self.status = status


@dataclass(frozen=True, kw_only=True, slots=True)
class Incoming:
    """A SOP instance as it came.

    Attributes:
        class_uid: SOP class of the request.
        instance_uid: SOP Instance UID of the request.
        transfer_syntax: That of the data set.
        sender: AE title, or `web`.
        dataset: The encoded data set, without file meta information.
    """

    class_uid: str
    instance_uid: str
    transfer_syntax: str
    sender: str
    dataset: bytes | memoryview

    @classmethod
    def from_file(cls, content: bytes | memoryview, sender: str) -> "Incoming":
        """An instance from a DICOM file (PS3.10).

        Raises:
            Refused: If it is not one, or of a class or transfer syntax that is not taken.
        """
        from pydicom.filereader import _read_file_meta_info, read_preamble

        stream = io.BytesIO(content)
        try:
            read_preamble(stream, force=False)
            meta = _read_file_meta_info(stream)
            uids = {
                "class_uid": str(meta.MediaStorageSOPClassUID),
                "instance_uid": str(meta.MediaStorageSOPInstanceUID),
                "transfer_syntax": str(meta.TransferSyntaxUID),
            }
        except Exception as error:  # pydicom raises many types
            raise Refused(classes.UNREADABLE) from error
        known = uids["class_uid"] in classes.STORAGE_CLASSES
        if not known or uids["transfer_syntax"] not in classes.TRANSFER_SYNTAXES:
            raise Refused(classes.UNREADABLE, "its class or transfer syntax is not accepted")
        return cls(**uids, sender=sender, dataset=memoryview(content)[stream.tell() :])

    @property
    def sha256(self) -> str:
        """Hash of transfer syntax and data set."""
        digest = hashlib.sha256(self.transfer_syntax.encode() + b"\0")
        digest.update(self.dataset)
        return digest.hexdigest()

    def preamble(self) -> bytes:
        """What stands before the data set in a file, PS3.10 7.1."""
        from pydicom.dataset import FileMetaDataset
        from pydicom.filewriter import write_file_meta_info
        from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(self.class_uid)
        meta.MediaStorageSOPInstanceUID = UID(self.instance_uid)
        meta.TransferSyntaxUID = UID(self.transfer_syntax)
        meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
        stream = io.BytesIO()
        stream.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(stream, meta)  # type: ignore[arg-type]
        return stream.getvalue()


def check(incoming: Incoming) -> str:
    """Check an instance by its header; return its Study Instance UID.

    Raises:
        Refused: If it is not one that may be stored.
    """
    values = _header(incoming)
    uids = [values.get(tag, "") for tag in (_CLASS, _INSTANCE, _STUDY)]
    if not all(map(_UID.fullmatch, uids)):
        raise Refused(classes.UNREADABLE)
    if uids[:2] != [incoming.class_uid, incoming.instance_uid]:
        raise Refused(classes.MISMATCH)
    if values.get(_MANUFACTURER) == "echoseg" and uids[0] in classes.RESULT_CLASSES:
        raise Refused(classes.OWN_RESULT)
    rows, columns = _short(values.get(_ROWS)), _short(values.get(_COLUMNS))
    if not rows or not columns:
        raise Refused(classes.NO_PICTURES)
    frames = values.get(_FRAMES) or "1"
    if not re.fullmatch(r"\+?\d{1,12}", frames):
        raise Refused(classes.UNREADABLE)
    try:
        Budget(Path("instance"), OpenOptions()).check(int(frames), rows, columns)
    except TooLargeError as error:
        raise Refused(classes.TOO_LARGE) from error
    return uids[2]


def _header(incoming: Incoming) -> dict[int, Any]:
    """Values of the header: texts, and bytes in little endian of numbers."""
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    syntax = UID(incoming.transfer_syntax)
    try:
        content = incoming.dataset
        if syntax.is_deflated:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, _MAX_HEADER_BYTES)
        dataset = read_dataset(
            io.BytesIO(content),
            syntax.is_implicit_VR,
            syntax.is_little_endian,
            stop_when=lambda tag, vr, length: tag > _COLUMNS,
            specific_tags=_TAGS,  # type: ignore[arg-type]
        )
        values: dict[int, Any] = {}
        for tag in _TAGS:
            if tag in dataset:
                raw = dataset.get_item(tag).value or b""  # not parsed: no warning repeats it
                if tag in (_ROWS, _COLUMNS):
                    values[tag] = raw if syntax.is_little_endian else raw[::-1]
                else:
                    values[tag] = raw.decode("latin-1").strip(" \0")
        return values
    except Exception as error:  # pydicom raises many types, RecursionError among them
        raise Refused(classes.UNREADABLE) from error


def _short(raw: bytes | None) -> int:
    return int.from_bytes(raw, "little") if raw and len(raw) == 2 else 0

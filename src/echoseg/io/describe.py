"""What a file states of itself, before anything is believed: for `echoseg inspect`.

Values are numbers, codes and names of machines. Of identifying elements only the names are given,
so the output can be sent with a report of an error.
"""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.errors import EchosegError
from echoseg.io import image_folder, metaimage, nifti
from echoseg.io.formats import FORMATS

Sections = dict[str, dict[str, str]]
"""Section -> name -> value, all as text."""

_OBJECT = (
    "Modality", "ImageType", "Manufacturer", "ManufacturerModelName", "NumberOfFrames", "Rows",
    "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "LossyImageCompression",
)  # fmt: skip
_TIME = (
    "FrameIncrementPointer", "FrameTime", "FrameTimeVector", "CineRate",
    "RecommendedDisplayFrameRate", "ActualFrameDuration", "EffectiveDuration", "FrameDelay",
    "StartTrim", "StopTrim", "RWaveTimeVector", "HeartRate",
)  # fmt: skip
_SCALE = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio",
          "SliceThickness", "SpacingBetweenSlices")  # fmt: skip
_REGION = ("RegionSpatialFormat", "RegionDataType", "PhysicalUnitsXDirection",
           "PhysicalUnitsYDirection", "PhysicalDeltaX", "PhysicalDeltaY")  # fmt: skip
_IDENTITY = re.compile(
    r"Patient|Birth|Institution|Physician|Operator|Performing|Requesting|Referring|Accession|"
    r"Station|SerialNumber|StudyID|Comments|Description|ProtocolName|Address|Telephone|Insurance|"
    r"OtherPatient|MedicalRecord|Occupation|Ethnic|DeviceUID|Reader|Observer|Admission"
)
_NO_IDENTITY = re.compile(
    r"PatientOrientation|ImagePosition|DerivationDescription|^PatientIdentityRemoved$"
)


def describe(path: Path, format_name: str) -> Sections:
    """List what a file of a format of `io.FORMATS` states: object, time, scale, view, identity.

    Raises:
        OSError: If it cannot be read.
    """
    files = FORMATS[format_name].files(path)
    num_bytes = sum(file.stat().st_size for file in files)
    about = {"format": format_name, "bytes": f"{num_bytes:,}"}
    about |= {"files": str(len(files))} if len(files) > 1 else {}
    describer = _DESCRIBERS.get(format_name)
    try:
        rest = describer(path) if describer else {}
    except (EchosegError, OSError):
        raise
    except Exception as error:  # a broken header; libraries raise many types
        rest = {"header": {"cannot be read": " ".join(f"{error}".split())[:120]}}
    return {"file": about, **{name: rows for name, rows in rest.items() if rows}}


def _dicom(path: Path) -> Sections:
    import pydicom
    from pydicom.uid import UID

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        meta = getattr(dataset, "file_meta", None)
        uids = {
            "SOPClassUID": str(dataset.get("SOPClassUID", "")),
            "TransferSyntaxUID": str(meta.get("TransferSyntaxUID", "") if meta else ""),
        }
        known = {key: f"{UID(uid).name} ({uid})" if uid else "none" for key, uid in uids.items()}
        scale = _elements(dataset, _SCALE)
        for index, region in enumerate(dataset.get("SequenceOfUltrasoundRegions") or []):
            corners = ("MinX0", "MinY0", "MaxX1", "MaxY1")
            box = [str(region.get(f"RegionLocation{corner}", "?")) for corner in corners]
            rest = ", ".join(f"{k} {v}" for k, v in _elements(region, _REGION).items())
            scale[f"region {index}"] = f"({box[0]},{box[1]})-({box[2]},{box[3]}), {rest}"
        view = {
            f"ViewCodeSequence {index}": " ".join(
                str(item.get(name, "")) for name in ("CodingSchemeDesignator", "CodeValue")
            )
            for index, item in enumerate(dataset.get("ViewCodeSequence") or [])
        }
        names = sorted(filter(None, {_identity(element) for element in dataset.iterall()}))
        return {
            "object": known | _elements(dataset, _OBJECT),
            "time": _elements(dataset, _TIME),
            "scale": scale,
            "view": view,
            "identity (names only)": {"present": ", ".join(names)} if names else {},
        }


def _elements(dataset: Any, keywords: tuple[str, ...]) -> dict[str, str]:
    """The elements that are present, even when empty; long ones by number, ends and extremes."""
    return {key: _text(dataset, key) for key in keywords if key in dataset}


def _text(dataset: Any, key: str) -> str:
    try:
        value = dataset[key].value
    except Exception as error:  # no valid number, such as 33,333
        return f"cannot be read: {error}"[:100]
    if value is None or value == "":
        return "empty"
    if key == "FrameIncrementPointer":
        from pydicom.datadict import keyword_for_tag

        tags = value if isinstance(value, list | tuple) else [value]
        return ", ".join(keyword_for_tag(tag) or str(tag) for tag in tags)
    is_list = not isinstance(value, str | bytes) and hasattr(value, "__len__")
    if is_list and len(value) > 8:
        numbers = np.asarray(value, float)
        return (
            f"{len(numbers)} values, {numbers[0]:g} {numbers[1]:g} ... {numbers[-1]:g}, least "
            f"{numbers[1:].min():g}, largest {numbers[1:].max():g}, sum {numbers.sum():g}"
        )
    return " ".join(map(str, value) if is_list else str(value).split())[:100]


def _identity(element: Any) -> str:
    """Name of an element that may identify a patient and is filled; empty of any other."""
    if element.VR == "SQ" or element.is_empty:
        return ""
    if element.tag.is_private:
        return "private elements"
    name = element.keyword
    is_named = element.VR in ("PN", "DA", "DT") or bool(_IDENTITY.search(name))
    return name if is_named and not _NO_IDENTITY.search(name) else ""


def _video(path: Path) -> Sections:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(video=0), None)
        rows: dict[str, Any] = {
            "container": container.format.name,
            "codec": stream.codec_context.name,
            "pixel format": stream.codec_context.pix_fmt,
            "columns x rows": f"{stream.codec_context.width} x {stream.codec_context.height}",
            "sample aspect ratio": stream.sample_aspect_ratio,
            "rotation (degrees)": getattr(frame, "rotation", None),
        }
        duration = (
            stream.duration and stream.time_base and float(stream.duration * stream.time_base)
        )
        time: dict[str, Any] = {
            "frames stated": stream.frames or None,
            "average rate (fps)": stream.average_rate and f"{float(stream.average_rate):g}",
            "base rate (fps)": stream.base_rate and f"{float(stream.base_rate):g}",
            "duration (s)": f"{duration:g}" if duration else None,
        }
        tags = sorted({*container.metadata, *stream.metadata})
    identity = {"present": ", ".join(tags)} if tags else {}
    return {
        "object": _filled(rows), "time": _filled(time), "texts (names only)": identity
    }  # fmt: skip


def _filled(rows: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in rows.items() if value not in (None, "")}


def _nifti(path: Path) -> Sections:
    header = nifti.read_array(path)[1]
    rows = {
        key: " ".join(f"{value:g}" for value in np.atleast_1d(header[key]))
        for key in ("dim", "pixdim", "datatype", "xyzt_units", "qform_code", "sform_code")
    }
    texts = [key for key in ("descrip", "aux_file", "intent_name", "db_name") if key in header]
    filled = [key for key in texts if bytes(header[key].tobytes()).strip(b"\0 ")]
    space, time = map(str, header.get_xyzt_units())
    return {
        "object": rows, "units": {"space": space, "time": time},
        "texts (names only)": {"present": ", ".join(filled)} if filled else {},
    }  # fmt: skip


def _metaimage(path: Path) -> Sections:
    fields = metaimage.read_header(path)
    known = {key: value for key, value in fields.items() if re.fullmatch(r"[\w.+\- ]*", value)}
    listed = {k: v for k, v in known.items() if k.startswith(("NDims", "DimSize", "Element"))}
    listed.pop("ElementDataFile", None)
    rest = sorted(set(fields) - set(listed))
    return {"object": listed, "other fields (names only)": {"present": ", ".join(rest)}}


def _image_folder(path: Path) -> Sections:
    from collections import Counter

    from PIL import Image

    kinds: Counter[str] = Counter()
    for file in image_folder.frame_files(path):
        with Image.open(file) as image:
            kinds[f"{image.format} {image.mode} {image.width} x {image.height}"] += 1
    return {"object": {kind: f"{number} files" for kind, number in kinds.items()}}


_DESCRIBERS: dict[str, Callable[[Path], Sections]] = {
    "dicom": _dicom,
    "video": _video,
    "nifti": _nifti,
    "metaimage": _metaimage,
    "image_folder": _image_folder,
}
assert set(_DESCRIBERS) <= set(FORMATS)

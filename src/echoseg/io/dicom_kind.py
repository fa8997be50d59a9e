"""Whether a DICOM object is a 2-D clip, by its header: not a volume, a still, a report, a spectrum.

Classes are those of PS3.4 B.5. Value 4 of an ultrasound Image Type is a sum of flags in hexadecimal
(PS3.3 C.8.5.6.1.1): 1 two-dimensional, 2 M-mode, 40 three-dimensional
rendering, 400 spatially related frames. Formats of ultrasound regions are those of PS3.3 C.8.5.5.1.
"""

import re
from typing import Any

from echoseg.clip import ClipWarning

_ULTRASOUND = frozenset({"US", "IVUS", ""})
_OTHER_ACQUISITIONS = frozenset(
    "CT MR NM PT XA XRF RF CR DX MG IO PX OP OPT OPM SM ECG EPS HD SR SEG PR KO REG RTIMAGE".split()
)
"""Modalities of other pictures, or of none."""
_TERMS = _ULTRASOUND | _OTHER_ACQUISITIONS | set("OT XC ES GM DOC SC VIDEO".split())
_DIRECTORY = "1.2.840.10008.1.3.10"
_STILL_CLASSES = ("1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.6.1",
                  "1.2.840.10008.5.1.4.1.1.7")  # fmt: skip
"""Ultrasound Image (retired, present) and Secondary Capture: classes of one frame."""
_VOLUME_CLASSES = ("1.2.840.10008.5.1.4.1.1.6.2", "1.2.840.10008.5.1.4.1.1.6.3")
"""Enhanced US Volume and Photoacoustic."""
_TWO_D, _MOTION, _SPACE = 0x01, 0x02, 0x440
_SLICE_POINTERS = frozenset({0x00540080, 0x00182005, 0x00209057, 0x00540090})
"""Slice Vector, Slice Location Vector, In-Stack Position Number, Angular View Vector."""
_TIMES = ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate",
          "ActualFrameDuration", "EffectiveDuration", "FrameIncrementPointer")  # fmt: skip


def no_clip_reason(dataset: Any, *, is_timed: bool = False) -> str:
    """Why an object is not a 2-D clip; empty where it may be. `is_timed`: a user gave its rate."""
    from pydicom.uid import UID

    meta = getattr(dataset, "file_meta", None) or {}
    sop_class = UID(str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID", "")))
    modality = _modality(dataset)
    if sop_class == _DIRECTORY or "DirectoryRecordSequence" in dataset:
        return "this is the directory (DICOMDIR) of a study; give the folder that holds it"
    if modality in _OTHER_ACQUISITIONS:
        return (
            f"Modality must be US (ultrasound), got {modality}; give an echo clip, or correct "
            "Modality (0008,0060) if this is one"
        )
    if sop_class and "Rows" not in dataset and "Image" not in sop_class.name:
        name = sop_class.name if sop_class.name != sop_class else "not a known one"  # or any text
        return f"the object holds no pictures, its class is {name}; give an echo clip"
    if evidence := _volume_evidence(dataset, sop_class, is_timed):
        return (
            f"this is a 3-D volume or a set of planes, not a 2-D clip ({evidence}); export a 2-D "
            "clip of one apical plane"
        )
    if kind := _time_line(dataset):
        return f"this is {kind}, not a 2-D clip; give a clip of B-mode pictures"
    if sop_class in _STILL_CLASSES and (_number(dataset, "NumberOfFrames") or 1) == 1:
        return "this is a still of one frame; give a clip"
    return ""


def modality_warnings(dataset: Any) -> tuple[ClipWarning, ...]:
    """Warn that an object is not marked as ultrasound, as captured screens and converted clips."""
    modality = _modality(dataset)
    if modality in _ULTRASOUND:
        return ()
    message = (
        f"The file's Modality is {modality}, not US (ultrasound): it may be a captured screen or a "
        "converted clip. Check that the frames show an echocardiogram at its own size."
    )
    return (ClipWarning(code="not_marked_ultrasound", message=message),)


def identity_warnings(dataset: Any) -> tuple[ClipWarning, ...]:
    """Warn where the object says that text in its pixels identifies the patient."""
    if str(dataset.get("BurnedInAnnotation") or "").strip().upper() != "YES":
        return ()
    message = (
        "The file says that its pixels hold text that identifies the patient (Burned In Annotation "
        "(0028,0301)). Use --private (private), or de-identify it first (echoseg deidentify)."
    )
    return (ClipWarning(code="burned_in_annotation", message=message),)


def _modality(dataset: Any) -> str:
    """The modality, a defined term of PS3.3 C.7.3.1.1.1; other texts are never repeated."""
    modality = str(dataset.get("Modality") or "").strip().upper()
    return modality if modality in _TERMS or not modality else "no defined term"


def _volume_evidence(dataset: Any, sop_class: Any, is_timed: bool) -> str:
    """What shows that the frames lie beside each other in space; empty where nothing does."""
    if str(sop_class) in _VOLUME_CLASSES:
        return f"its class is {sop_class.name}"
    image_type = [str(value).upper() for value in _values(dataset, "ImageType")]
    words = re.findall(r"VOLUME|3D|MPR|MULTIPLANAR", " ".join(image_type[2:]))
    if words or _flags(image_type) & _SPACE:
        return f"Image Type is {words[0] if words else f'{_flags(image_type):04X}'}"
    pointers = {int(tag) for tag in _values(dataset, "FrameIncrementPointer")}
    if pointers & _SLICE_POINTERS:
        return "Frame Increment Pointer names a position, not a time"
    if (0x3001, 0x1003) in dataset:  # private, of volumes that a vendor exports as one object
        return "it states a third pixel spacing"
    if len(_positions(dataset)) > 1:
        return "its frames have positions that differ"
    steps = ("SpacingBetweenSlices", "SliceThickness")
    step = next((name for name in steps if (_number(dataset, name) or 0) > 0), "")
    if step and not is_timed and not any(_values(dataset, name) for name in _TIMES):
        return f"it states {step} and no time of its frames"
    return ""


def _positions(dataset: Any) -> set[tuple[float, ...]]:
    """Positions of the first frames by their functional groups; of one instant only."""
    sequences = {
        "PlanePositionVolumeSequence": "ImagePositionVolume",
        "PlanePositionSequence": "ImagePositionPatient",
    }
    positions = set()
    for group in (dataset.get("PerFrameFunctionalGroupsSequence") or [])[:64]:
        for sequence, name in sequences.items():
            for item in group.get(sequence) or []:
                positions.add(tuple(round(float(x), 3) for x in _values(item, name)))
    return positions


def _time_line(dataset: Any) -> str:
    """`an M-mode recording` or `a Doppler spectrum` where nothing is two-dimensional."""
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    formats = {_number(region, "RegionSpatialFormat") or 0 for region in regions}
    flags = _flags(_values(dataset, "ImageType"))
    if 1.0 in formats or (flags & _TWO_D and not formats & {2.0, 3.0}):
        return ""
    is_motion = 2.0 in formats or flags & _MOTION
    return "an M-mode recording" if is_motion else "a Doppler spectrum" if 3.0 in formats else ""


def _flags(image_type: list[Any]) -> int:
    """Value 4 of an ultrasound Image Type; 1, two-dimensional, where it is not a number."""
    try:
        return int(str(image_type[3]), 16)
    except (IndexError, ValueError):
        return _TWO_D


def _values(dataset: Any, name: str) -> list[Any]:
    """The values of an element; none where it is missing, empty or broken."""
    try:
        value = dataset.get(name)
    except Exception:  # pydicom parses an element when it is asked for
        return []
    if value is None or value == "":
        return []
    return list(value) if not isinstance(value, str) and hasattr(value, "__iter__") else [value]


def _number(dataset: Any, name: str) -> float | None:
    try:
        return float(_values(dataset, name)[0])
    except (IndexError, TypeError, ValueError):
        return None

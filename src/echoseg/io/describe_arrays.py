"""What the header of an array states: NIfTI, MetaImage, NumPy, HDF5, Zarr."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.errors import FormatError
from echoseg.io import hdf5, metaimage, nifti, nrrd, numpy_file
from echoseg.io.describe_words import Header, word
from echoseg.io.zarr_array import ZarrArray, read_attributes

_FIELDS = frozenset(
    "ObjectType NDims BinaryData BinaryDataByteOrderMSB ElementByteOrderMSB CompressedData "
    "CompressedDataSize HeaderSize ElementNumberOfChannels ElementType DimSize ElementSpacing "
    "ElementSize ElementDataFile Offset TransformMatrix AnatomicalOrientation".split()
)
_TERMS = frozenset("Image True False mm um cm".split()) | set(metaimage.TYPES)
_NRRD_WORDS = ("type", "encoding", "endian", "space")
_NRRD_TERMS = frozenset(
    "uchar uint8 signed char int8 ushort uint16 short int16 uint uint32 int int32 float double "
    "unsigned raw gzip gz bzip2 bz2 little big left-posterior-superior right-anterior-superior "
    "domain space list time vector none RGB-color RGBA-color 3-color 4-color".split()
)
_GROUPS = frozenset(
    "data image image_sc values pixels coordinates extent timestamps metadata subject id probe "
    "scan tracks track_0 raw_data aligned_data beamformed_data envelope_data segmentation".split()
)
"""Names in zea's layout."""
_STREAMS = frozenset(
    "2d_brightness_mode 2d_brightness_mode_0 2d_brightness_mode_1 2d_brightness_mode_2 "
    "2d_biplane_brightness_mode 2d_triplane_brightness_mode 2d_color_doppler "
    "2d_color_doppler_velocity 2d_color_doppler_power tissue_doppler 3d_brightness_mode "
    "1d_motion_mode 1d_pulsed_wave_doppler 1d_continuous_wave_doppler ecg".split()
)
"""Names in EchoXFlow's layout."""
_MAX_ROWS = 40


def nifti_header(path: Path) -> Header:
    """Sizes, spacings, units, axes and number type; texts by name."""
    from nibabel.orientations import aff2axcodes

    header = nifti.read_header(path)
    space, step = header.get_xyzt_units()
    rank = max(0, min(7, int(header["dim"][0])))
    axes = "none"
    with contextlib.suppress(Exception):  # the matrix may be singular
        axes = " ".join(map(str, aff2axcodes(header.get_best_affine())))
    rows = {
        "version": "NIfTI-2" if int(header["sizeof_hdr"]) == 540 else "NIfTI-1",
        "dim": _numbers(header["dim"][: rank + 1]),
        "pixdim": _numbers(header["pixdim"][: rank + 1]),
        "units": f"{space}, {step}",
        "number type": str(header.get_data_dtype()),
        "slope, intercept": _numbers([header["scl_slope"], header["scl_inter"]]),
        "qform, sform code": _numbers([header["qform_code"], header["sform_code"]]),
        "axes": axes,
    }
    texts = ("descrip", "aux_file", "db_name", "intent_name")
    names = [name for name in texts if name in header and bytes(header[name]).strip(b"\0 ")]
    return Header({"header": rows}, names)


def metaimage_header(path: Path) -> Header:
    """The fields of a MetaImage, and whether its second file is there."""
    fields, _ = metaimage.read_header(path)
    rows = {name: word(value, _TERMS) for name, value in fields.items() if name in _FIELDS}
    if rows.get("ElementDataFile", "LOCAL") != "LOCAL":
        files = metaimage.data_files(path)
        there = [file.stat().st_size for file in files if file.is_file()]
        kind = "another file" if len(files) == 1 else f"{len(files)} files"
        missing = f", {len(files) - len(there)} missing" * (len(there) < len(files))
        size = f"{sum(there)} bytes{missing}" if there else "which is missing"
        rows["ElementDataFile"] = f"{kind}, {size}"
    others = [name for name, value in fields.items() if name not in _FIELDS and value]
    return Header({"header": rows}, [f"other fields: {len(others)}"] if others else [])


def nrrd_header(path: Path) -> Header:
    """Sizes, axes, spacings and encoding of an NRRD; texts by name."""
    fields, _ = nrrd.read_header(path)
    words = {name: word(str(fields[name]), _NRRD_TERMS) for name in _NRRD_WORDS if name in fields}
    rows = {"sizes": " ".join(str(int(side)) for side in fields.get("sizes", [])), **words}
    if "kinds" in fields:
        rows["kinds"] = " ".join(word(str(kind), _NRRD_TERMS) for kind in fields["kinds"])
    for name in ("space directions", "spacings"):
        if name in fields:
            rows[name] = " ".join(f"{v:g}" for v in np.ravel(np.asarray(fields[name], float)))
    known = {*rows, "dimension", "space origin", "measurement frame", "units", "labels"}
    others = [name for name in fields if name not in known]
    return Header({"header": rows}, [f"other fields: {len(others)}"] if others else [])


def numpy_header(path: Path) -> Header:
    """Shape and number type of each array."""
    rows, known = {}, {"", *numpy_file.NAMES, *numpy_file.MASK_NAMES}
    for index, (name, (shape, is_fortran, dtype)) in enumerate(
        numpy_file.array_headers(path).items()
    ):
        name = name if name in known else f"array {index} (another name)"
        rows[name or "array"] = f"{shape} {dtype.str}{', columns first' if is_fortran else ''}"
    return Header({"arrays": rows}, [])


def hdf5_header(path: Path) -> Header:
    """Path, shape and number type of each array, with names of zea's layout only."""
    rows, texts = dict[str, Any](), set[str]()

    def visit(name: str, item: Any) -> bool | None:
        known = "/".join(part if part in _GROUPS else "(another name)" for part in name.split("/"))
        if getattr(item, "dtype", None) is not None and item.dtype.kind in "OSUV":
            texts.add(known)
        elif hasattr(item, "shape"):
            rows.setdefault(known, f"{item.shape} {item.dtype.str}")
        texts.update(f"attributes of {known}" for _ in list(item.attrs)[:1])
        return True if len(rows) + len(texts) > _MAX_ROWS else None  # True ends the walk

    with hdf5.open_file(path) as file:
        file.visititems(visit)
        texts.update("attributes of the file" for _ in list(file.attrs)[:1])
    return Header({"arrays": rows}, sorted(texts))


def zarr_header(path: Path) -> Header:
    """Shape and number type of each array of a recording, with names of EchoXFlow's layout only."""
    rows, num_others = dict[str, Any](), 0
    for group in ("data", "timestamps"):
        folder = path / group
        for one in sorted(folder.iterdir()) if folder.is_dir() else []:
            if one.name not in _STREAMS or len(rows) >= _MAX_ROWS:
                num_others += one.is_dir()
                continue
            try:
                array = ZarrArray(path, f"{group}/{one.name}")
                rows[f"{group}/{one.name}"] = f"{array.shape} in chunks {array.chunks}"
            except FormatError:
                rows[f"{group}/{one.name}"] = "cannot be read"
    rows["other arrays and groups"] = num_others
    return Header({"arrays": rows}, ["attributes of the store"] if read_attributes(path) else [])


def _numbers(values: Any) -> str:
    return " ".join(f"{float(value):.7g}" for value in values)

"""`echoseg inspect`: what a file states and what is taken, line by line, and no text of it."""

import hashlib
import json
import platform
from importlib.metadata import version

import av
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom._dicom_dict import DicomDictionary
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from clip_makers import (
    moving_frames,
    region,
    save_object,
    ultrasound,
    write_metaimage,
    write_nifti,
    write_video,
)
from echoseg.cli import app
from echoseg.io import FORMATS
from echoseg.io.describe import HEADERS

MARK = "ZZMILLER"


def inspect(path, *options):
    return CliRunner().invoke(app, ["inspect", str(path), *options])


def values(output):
    lines = (line.strip().partition("  ") for line in output.splitlines())
    return {name: value.strip() for name, _, value in lines}


def expected(path, library, body):
    """The lines of a file: those that every file has, then its own."""
    content = path.read_bytes()
    head = {
        "echoseg": version("echoseg"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: version(name) for name in library.split()},
    }
    lines = ["versions", *(f"  {name:<27} {value}" for name, value in head.items())]
    digest = hashlib.sha256(content).hexdigest()
    return [*lines, *body.format(bytes=len(content), sha256=digest).strip("\n").splitlines()]


DEPTH = (
    "  implausible_depth           The ultrasound sector of 48 rows would be 24 mm deep by a pixel "
    "spacing of 0.5 mm, outside 40 to 300 mm of an adult's heart from the chest, so the pixel "
    "spacing is wrong and there are no volumes in ml. Set --spacing-mm (spacing_mm) if it is known."
)
DICOM = (
    """
file
  format                      dicom
  files                       1
  bytes                       {bytes}
  sha256                      {sha256}
header: elements
  MediaStorageSOPClassUID     Ultrasound Multi-frame Image Storage (1.2.840.10008.5.1.4.1.1.3.1)
  TransferSyntaxUID           Explicit VR Little Endian (1.2.840.10008.1.2.1)
  ImageType                   ORIGINAL PRIMARY 0001 (1 other word, not shown)
  SOPClassUID                 Ultrasound Multi-frame Image Storage (1.2.840.10008.5.1.4.1.1.3.1)
  Modality                    US
  Manufacturer                SonoSite
  CineRate                    50
  FrameTime                   40
  RWaveTimeVector             100.0 900.0
  SamplesPerPixel             1
  PhotometricInterpretation   MONOCHROME2
  NumberOfFrames              30
  FrameIncrementPointer       FrameTime
  Rows                        48
  Columns                     64
  BitsAllocated               8
  BitsStored                  8
  HighBit                     7
  PixelRepresentation         0
  SequenceOfUltrasoundRegions 1
header: region 0
  RegionSpatialFormat         1
  RegionDataType              1
  RegionLocationMinX0         0
  RegionLocationMinY0         0
  RegionLocationMaxX1         63
  RegionLocationMaxY1         47
  PhysicalUnitsXDirection     3
  PhysicalUnitsYDirection     3
  PhysicalDeltaX              0.04
  PhysicalDeltaY              -0.05
identity (names of filled fields, no values)
  fields                      PatientName
clip
  num_frames                  30
  damaged_frames              none
  rows                        48
  columns                     64
  view                        unknown
  frame_rate_hz               25.0
  spacing_mm                  0.5 0.4
  sector_box_of_file          0 0 48 64
  sector_box_found            0 0 48 64
  sector_depth_mm             24.0
  trace_boxes                 none
  r_waves                     2
  ecg                         none
sources
  frame_rate_hz               Frame Time (0018,1063) 25 fps (40 ms): used
  frame_rate_hz               Cine Rate (0018,0040) 50 fps (50 per s): contradicts
  spacing_mm                  Sequence of Ultrasound Regions (0018,6011) 0.5 x 0.4 mm \
(0.05 x 0.04 cm): used
  heart_rate_bpm              R Wave Time Vector (0018,6060) 75 beats per minute (2 R waves): used
  num_frames                  the pixels 30 frames: used
  num_frames                  Number of Frames (0028,0008) 30 frames: agrees
warnings
  contradicted_frame_rate     The file states more than one frame rate: Frame Time (0018,1063) \
25 fps (40 ms) is used, Cine Rate (0018,0040) 50 fps (50 per s) is not. \
Give --fps (fps) if you know it.
"""
    + DEPTH
)
NIFTI = (
    """
file
  format                      nifti
  files                       1
  bytes                       {bytes}
  sha256                      {sha256}
header: header
  version                     NIfTI-1
  dim                         3 64 48 6
  pixdim                      1 0.4 0.5 0.04
  units                       mm, sec
  number type                 uint8
  slope, intercept            1 0
  qform, sform code           0 2
  axes                        R A S
identity (names of filled fields, no values)
  fields                      none
clip
  num_frames                  6
  damaged_frames              none
  rows                        48
  columns                     64
  view                        unknown
  frame_rate_hz               25.0
  spacing_mm                  0.5 0.4
  sector_box_of_file          none
  sector_box_found            0 0 48 64
  sector_depth_mm             24.0
  trace_boxes                 none
  r_waves                     0
  ecg                         none
sources
  frame_rate_hz               pixdim[3] 25 fps (0.04 sec): used
  spacing_mm                  pixdim[2, 1] 0.5 x 0.4 mm: used
warnings
"""
    + DEPTH
)
VIDEO = """
file
  format                      video
  files                       1
  bytes                       {bytes}
  sha256                      {sha256}
header: container
  container                   avi
  streams                     1 video
  codec                       mjpeg
  pixel format                yuvj420p
  size (columns x rows)       64 x 48
  frame rate                  25 fps
  time base                   1/25 s
  number of frames            6
  duration                    0.24 s
  sample aspect ratio         none
  rotation                    0 degrees
identity (names of filled fields, no values)
  fields                      software
clip
  num_frames                  6
  damaged_frames              none
  rows                        48
  columns                     64
  view                        unknown
  frame_rate_hz               25.0
  spacing_mm                  none
  sector_box_of_file          none
  sector_box_found            0 0 48 64
  sector_depth_mm             none
  trace_boxes                 none
  r_waves                     0
  ecg                         none
sources
  frame_rate_hz               time stamps 25 fps: used
  frame_rate_hz               rate of the video stream 25 fps: agrees
"""


def write_object(path, frames):
    save_object(
        path, moving_frames(30), FrameTime="40", CineRate="50", FrameIncrementPointer=0x00181063,
        RWaveTimeVector=[100.0, 900.0], SequenceOfUltrasoundRegions=[region()],
        Manufacturer="SonoSite, Inc.", ImageType=["ORIGINAL", "PRIMARY", MARK, "0001"],
        PatientName=f"{MARK}^Ann",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("write", "library", "body"),
    [
        (write_object, "pydicom pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg av pillow", DICOM),
        (write_nifti, "nibabel", NIFTI),
        (write_video, "av", VIDEO),
    ],
)
def test_every_line(tmp_path, write, library, body):
    write(tmp_path / "a.bin", moving_frames())
    result = inspect(tmp_path / "a.bin")
    assert result.exit_code == 0
    assert result.output.splitlines() == expected(tmp_path / "a.bin", library, body)


def test_every_format_has_its_header():
    assert list(HEADERS) == sorted(FORMATS, key=list(HEADERS).index) and len(HEADERS) == len(
        FORMATS
    )


def test_programs_get_json(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", moving_frames())
    stated = json.loads(inspect(tmp_path / "a.nii.gz", "--json").output)
    assert stated["clip"]["spacing_mm"] == [0.5, 0.4] and stated["clip"]["sector_depth_mm"] == 24.0
    assert stated["header"]["header"]["units"] == "mm, sec"
    assert stated["sources"][0] == {
        "quantity": "frame_rate_hz",
        "value": pytest.approx(25),
        "text": "pixdim[3] 25 fps (0.04 sec): used",
    }
    assert stated["warnings"][0]["code"] == "implausible_depth" and stated["refusal"] == ""
    missing = inspect(tmp_path / "none.avi", "--json")
    assert missing.exit_code == 1 and json.loads(missing.output)["clip"] is None
    assert json.loads(missing.output)["refusal"] == "FILE: no such file or folder"


def test_a_folder_with_one_file_is_that_file(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write_nifti(folder / "a.nii.gz", moving_frames())
    assert inspect(folder).output == inspect(folder / "a.nii.gz").output


def test_a_number_that_is_none_is_shown_and_long_vectors_are_short(tmp_path):
    path = tmp_path / "a.dcm"
    steps = [0.0, *[33.3] * 29]
    clip = ultrasound(moving_frames(30), FrameTimeVector=steps, FrameTime="33.333")
    clip.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes().replace(b"33.333", b"33,333", 1))
    said = values(inspect(path).output)
    assert said["FrameTime"].endswith("33,333")
    assert said["FrameTimeVector"].startswith("30 values, 0 33.3 ... 33.3, 33.3 to 33.3")


def test_a_refusal_comes_after_what_could_be_read(tmp_path):
    save_object(tmp_path / "x.dcm", moving_frames(3), Modality="CT")
    result = inspect(tmp_path / "x.dcm")
    said = values(result.output)
    assert result.exit_code == 1 and said["Modality"] == "CT" and said["format"] == "dicom"
    assert result.output.splitlines()[-1].startswith("no clip: FILE: Modality must be US")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 " + MARK.encode())
    assert values(inspect(tmp_path / "a.pdf").output)["format"] == "none that is read (PDF)"
    write_metaimage(tmp_path / "a.mhd", moving_frames())
    (tmp_path / "a.raw").unlink()
    said = values(inspect(tmp_path / "a.mhd").output)
    assert said["ElementDataFile"] == "another file, which is missing"
    assert said["DimSize"] == "64 48 6"


def named_object(path):
    texts = {
        entry[4]: MARK
        for tag, entry in DicomDictionary.items()
        if entry[0] in {"PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE", "CS"}
        and entry[4] and not entry[3] and tag >> 16 in (0x8, 0x10, 0x18, 0x20)
    }  # fmt: skip
    plain = {"SpecificCharacterSet": "ISO_IR 100", "Modality": "US"}
    dataset = ultrasound(
        moving_frames(), **{**texts, **plain, "FrameTime": 40.0}, StudyInstanceUID=generate_uid(),
        SequenceOfUltrasoundRegions=[region()], StudyDate="20200131",
    )  # fmt: skip
    dataset.add_new(0x00090010, "LO", MARK)
    dataset.save_as(path, enforce_file_format=True)


def named_video(path):
    with av.open(str(path), "w", format="matroska") as container:
        container.metadata.update({"title": MARK, "ARTIST": MARK, MARK: MARK, "comment": MARK})
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        stream.metadata["handler_name"] = MARK
        for frame in moving_frames():
            rgb = np.stack([frame] * 3, -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


def named_nifti(path):
    import gzip

    write_nifti(path, moving_frames())
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[148:156] = data[328:336] = MARK.encode()  # descrip, intent_name
    path.write_bytes(bytes(data))


def named_metaimage(path):
    write_metaimage(path, moving_frames())
    path.write_text(f"Comment = {MARK}\n{MARK} = 1\nModality = {MARK}\n" + path.read_text())


def named_tiff(path):
    first, *rest = map(Image.fromarray, moving_frames())
    tags = {270: MARK, 315: MARK, 316: MARK}  # ImageDescription, Artist, HostComputer
    first.save(path, format="TIFF", save_all=True, append_images=rest, tiffinfo=tags)


def named_folder(path):
    path.mkdir()
    info = PngInfo()
    info.add_text("Author", MARK)
    info.add_text(MARK, MARK)
    for index, frame in enumerate(moving_frames()):
        Image.fromarray(frame).save(path / f"{MARK}_{index}.png", pnginfo=info)
    (path / f"{MARK}_0.png").rename(path / f"{MARK}_0.{MARK}")


def named_arrays(path):
    with path.open("wb") as file:
        np.savez(file, frames=moving_frames(), **{MARK: np.zeros(3)})


def named_hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["data/image_sc"] = moving_frames()
        file["metadata/subject/id"] = MARK
        file[f"{MARK}/{MARK}"] = np.zeros(3)
        file.attrs[MARK] = MARK


@pytest.mark.parametrize(
    ("write", "fields"),
    [
        (named_object, "PatientName StudyDate InstitutionName private elements"),
        (named_video, "artist comment handler_name title other keys: 1"),
        (named_nifti, "descrip intent_name"),
        (named_metaimage, "other fields: 3"),
        (named_tiff, "ImageDescription Artist HostComputer"),
        (named_folder, "author other keys: 1"),
        (named_arrays, "none"),
        (named_hdf5, "metadata/subject/id attributes of the file"),
    ],
)
def test_a_planted_name_is_nowhere_and_its_field_is_named(tmp_path, write, fields):
    folder = tmp_path / MARK
    folder.mkdir()
    path = folder / f"{MARK}.dat"
    write(path)
    for options in ((), ("--json",)):
        result = inspect(path, *options)
        assert result.exit_code == 0, result.output
        assert MARK not in result.output.upper() and "20200131" not in result.output
        named = values(result.output)["fields"] if not options else result.output
        for field in fields.split(" ") if options == () else ():
            assert field in named
    if path.is_file():
        path.write_bytes(path.read_bytes()[:400])  # what is left of a broken file
        (folder / f"{MARK}2").write_text(MARK)
        for broken in (path, folder):
            assert MARK not in inspect(broken).output.upper()

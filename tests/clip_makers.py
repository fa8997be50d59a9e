"""Tiny clips in every format, written by the tests for themselves."""

import av
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from echoseg.io.nifti import write_masks

RATE_HZ = 25.0


def moving_frames(num_frames=6, rows=48, columns=64):
    y, x = np.mgrid[:rows, :columns]
    return np.stack(
        [(120 + 90 * np.sin(x / 7 + t) * np.cos(y / 9)).astype(np.uint8) for t in range(num_frames)]
    )


def ultrasound(frames, **elements):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality = "US"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape[:3]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = frames.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = frames.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def region(**changes):
    part = Dataset()
    part.RegionSpatialFormat, part.RegionDataType = 1, 1
    part.PhysicalUnitsXDirection = part.PhysicalUnitsYDirection = 3
    part.RegionLocationMinX0, part.RegionLocationMinY0 = 0, 0
    part.RegionLocationMaxX1, part.RegionLocationMaxY1 = 63, 47
    part.PhysicalDeltaX, part.PhysicalDeltaY = 0.04, -0.05
    for name, value in changes.items():
        setattr(part, name, value)
    return part


def write_dicom(path, frames):
    dataset = ultrasound(frames, FrameTime=1000 / RATE_HZ, SequenceOfUltrasoundRegions=[region()])
    dataset.save_as(path, enforce_file_format=True)
    return (0.5, 0.4)


def write_video(path, frames):
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=int(RATE_HZ))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:], "yuvj420p"
        stream.options = {"qmin": "1", "qmax": "1"}
        for frame in frames:
            rgb = np.stack([frame] * 3, -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


def write_container(  # noqa: PLR0913
    path, frames, codec, container_format, *, rate_hz=25, options=None, pixels="yuv420p"
):
    options = options or {"x265-params": "log-level=none"}
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=rate_hz, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:], pixels
        stream.bit_rate = 4_000_000
        for frame in frames:
            rgb = np.stack([frame] * 3, -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


def write_nifti(path, frames):
    write_masks(path.with_suffix(".nii.gz"), frames, (0.5, 0.4), 1 / RATE_HZ)
    path.with_suffix(".nii.gz").rename(path)
    return (0.5, 0.4)


def write_metaimage(path, frames, spacing_mm=(0.5, 0.4)):
    (num_frames, rows, columns), (row_mm, column_mm) = frames.shape, spacing_mm
    raw = path.with_suffix(".raw")
    raw.write_bytes(frames.tobytes())
    path.write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = False\nElementSpacing = {column_mm} {row_mm} 1\n"
        f"DimSize = {columns} {rows} {num_frames}\n"
        f"ElementType = MET_UCHAR\nElementDataFile = {raw.name}\n"
    )
    return spacing_mm


def write_numpy(path, frames):
    with path.open("wb") as file:
        np.save(file, frames)


def write_tiff(path, frames):
    first, *rest = map(Image.fromarray, frames)
    first.save(path, format="TIFF", save_all=True, append_images=rest)


def write_hdf5(path, frames):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["data/image_sc"] = frames


def write_zarr(path, frames, *, zarr_format=2, geometry=None, **attributes):
    """A recording of EchoXFlow: beams 1.4 rad wide, 10 to 130 mm deep."""
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    root.create_array("data/2d_brightness_mode", data=frames, chunks=(1, *frames.shape[1:]))
    stamps_s = (7.5 + np.arange(len(frames)) / RATE_HZ).astype(np.float32)
    root.create_array("timestamps/2d_brightness_mode", data=stamps_s)
    geometry = geometry or {"DepthStart": 0.01, "DepthEnd": 0.13, "Tilt": 0.0, "Width": 1.4}
    sector = {"semantic_id": "bmode", "geometry": geometry}
    root.attrs["recording_manifest"] = {"sectors": [sector]}
    root.attrs["exam_id"] = "exam-7"
    root.attrs.update(attributes)
    return root


def write_dicom_series(path, frames, **elements):
    path.mkdir()
    elements |= {"FrameTime": 1000 / RATE_HZ, "SequenceOfUltrasoundRegions": [region()]}
    for index, frame in enumerate(frames):
        dataset = ultrasound(frame[None], SeriesInstanceUID="1.2.3", **elements)
        dataset.InstanceNumber = index + 1
        dataset.save_as(path / f"{index:03}", enforce_file_format=True)
    return (0.5, 0.4)


def write_image_folder(path, frames):
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"frame{index + 7}.png")  # 10 comes after 9


def save_object(path, frames=None, **elements):
    """A DICOM object; without frames one without pictures."""
    dataset = ultrasound(moving_frames(1) if frames is None else frames, **elements)
    if frames is None:
        for name in ("PixelData", "Rows", "Columns", "NumberOfFrames"):
            del dataset[name]
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def make_disc(root, frames):
    """A study as it comes on a disc: two clips among stills, reports, a volume and a viewer."""
    images, still = root / "DICOM", frames[:1]
    known = {"FrameTime": 40.0, "PatientID": "4711", "StudyInstanceUID": "1.2.3"}
    save_object(images / "IM_1", frames, **known, SequenceOfUltrasoundRegions=[region()])
    save_object(images / "IM_2", frames[::-1], **known)
    save_object(images / "IM_3", still, **known, SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1")
    save_object(images / "ONE", still, **known)
    save_object(images / "CT", frames, Modality="CT", **known)
    save_object(images / "VOL_1.dcm", frames, **known, SOPClassUID="1.2.840.10008.5.1.4.1.1.6.2")
    save_object(images / "SR_1", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", Modality="US")
    save_object(root / "DICOMDIR", SOPClassUID="1.2.840.10008.1.3.10")
    (root / "VIEWER" / "icons").mkdir(parents=True)
    for side in (16, 32):
        Image.new("L", (side, side), 200).save(root / "VIEWER" / "icons" / f"{side}.png")
    for name in ("VIEWER/run.exe", "VIEWER/Thumbs.db", "autorun.inf"):
        (root / name).write_bytes(b"MZ" + bytes(200))

"""Tiny clips in every format, written by the tests for themselves."""

import av
import numpy as np
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


def write_image_folder(path, frames):
    path.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"frame{index + 7}.png")  # 10 comes after 9

"""The report as Encapsulated PDF, and the overlay as a secondary-capture cine.

Both are for viewers that show neither SR nor SEG. The cine is JPEG baseline, which every viewer
decodes; its modality is OT, so that no software takes it for a clip to analyze.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echoseg.dicom.objects import Kind, code_item, new_object, reference_item, source_instances
from echoseg.dicom.result import Measured, Result
from echoseg.dicom.values import TITLE
from echoseg.report.schema import DISCLAIMER
from echoseg.report.writer import OVERLAY, PDF

PDF_DOCUMENT = Kind(
    file_name="report_pdf.dcm",
    class_uid="1.2.840.10008.5.1.4.1.1.104.1",
    modality="DOC",
    series_number=9703,
    description="echoseg report, research use only",
)
CINE = Kind(
    file_name="overlay.dcm",
    class_uid="1.2.840.10008.5.1.4.1.1.7.4",
    modality="OT",
    series_number=9704,
    description="echoseg overlay, research use only",
)
_QUALITY = 90
_FRAME_TIME = 0x00181063


def build_pdf(result: Measured) -> Any:
    """Make the Encapsulated PDF, a `pydicom.Dataset`; None for a result without `report.pdf`."""
    path = result.folder / PDF
    if not path.is_file():
        return None
    content, dataset = path.read_bytes(), new_object(result, PDF_DOCUMENT)
    dataset.ConversionType, dataset.BurnedInAnnotation = "WSD", "YES"
    dataset.AcquisitionDateTime = ""
    dataset.DocumentTitle = f"Report of echoseg. {DISCLAIMER}"
    dataset.ConceptNameCodeSequence = [code_item(*TITLE)]
    dataset.SourceInstanceSequence = _sources(result)
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(content)
    dataset.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return dataset


def build_cine(result: Result) -> Any:
    """Make the cine of the overlay, a `pydicom.Dataset`; None without `overlay.mp4`."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit
    from pydicom.valuerep import DS

    path = result.folder / OVERLAY
    if not path.is_file():
        return None
    frames, dataset = list(_jpegs(path)), new_object(result, CINE)
    rows, columns = frames[0][1]
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType, dataset.BurnedInAnnotation = "WSD", "YES"
    dataset.PatientOrientation = dataset.Laterality = ""
    dataset.DerivationDescription = f"Contours drawn over the clip. {DISCLAIMER}"
    dataset.SourceImageSequence = _sources(result)
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = len(frames), rows, columns
    rate_hz = result.report.input.frame_rate_hz or (30.0 if len(frames) > 2 else 1.0)
    dataset.FrameTime = DS(1000 / rate_hz, auto_format=True)
    dataset.FrameIncrementPointer = _FRAME_TIME
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    size = sum(len(content) for content, _ in frames)
    dataset.LossyImageCompressionRatio = round(3 * rows * columns * len(frames) / size, 1)
    dataset.PixelData = encapsulate([content for content, _ in frames])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return dataset


def _sources(result: Measured) -> list[Any]:
    return [reference_item(*uids) for uids in source_instances(result)]


def _jpegs(path: Path) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """The frames of a video as JPEG with chroma of half the width, and their rows and columns."""
    import av

    with av.open(str(path)) as video:
        for frame in video.decode(video=0):
            content = io.BytesIO()
            frame.to_image().save(content, "JPEG", quality=_QUALITY, subsampling="4:2:2")
            yield content.getvalue(), (frame.height, frame.width)

"""Segmentation object (SEG) of a cine: one frame per source frame and segment.

An ultrasound clip has no Frame of Reference, so a frame of the SEG is matched to the clip's by
Referenced Frame Number (PS3.3 C.8.20, C.7.6.16.2.6). Dimensions are segment number and temporal
position. Frames without pixels of the segment are written too, since viewers count on them. Pixel
Measures are in the shared groups, or OHIF shows an empty page; highdicom reads them only where
both spacing and thickness are given. A picture of ultrasound is a plane: its nominal thickness is
too small for the volume of a heart to come of it. Plane Orientation is the source's, or the one
that viewers take where there is none: OHIF compares the two.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from echoseg.clip import Label
from echoseg.dicom.objects import Kind, code_item, new_object, reference_item, source_series
from echoseg.dicom.result import Result
from echoseg.io.dicom_seg import SEGMENTS
from echoseg.io.dicom_writer import hash_uid
from echoseg.report.schema import DISCLAIMER

SEG = Kind(
    file_name="seg.dcm",
    class_uid="1.2.840.10008.5.1.4.1.1.66.4",
    modality="SEG",
    series_number=9701,
    description="echoseg masks, research use only",
)
_COLORS = {
    Label.LV_CAVITY: (34891, 53479, 50167),
    Label.LV_MYOCARDIUM: (57494, 10747, 54274),
    Label.LA_CAVITY: (21168, 53248, 5176),
}
"""CIELab color of each label: red, green, blue."""
_NOMINAL_THICKNESS_MM = 0.001
_SEGMENT_NUMBER, _TEMPORAL_POSITION = 0x0062000B, 0x00209128
_SEGMENT_GROUP, _CONTENT_GROUP = 0x0062000A, 0x00209111


def build_seg(result: Result) -> Any:
    """Make the SEG of a result, a `pydicom.Dataset`; None where no mask has a pixel."""
    labels = [label for label in SEGMENTS if (result.masks == label).any()]
    if not labels:
        return None
    dataset = new_object(result, SEG)
    dataset.ReferencedSeriesSequence = source_series(result)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SegmentationType, dataset.ContentLabel = "BINARY", "ECHOSEG"
    dataset.ContentDescription = f"Masks of a cine. {DISCLAIMER}"
    dataset.ContentCreatorName = ""
    dataset.PatientOrientation = ""
    dataset.SegmentSequence = [
        _segment(result, number, label) for number, label in enumerate(labels, start=1)
    ]
    _add_pixels(dataset, result, labels)
    _add_dimensions(dataset)
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(result)]
    dataset.PerFrameFunctionalGroupsSequence = list(_frames(result, len(labels)))
    return dataset


def _segment(result: Result, number: int, label: Label) -> Any:
    """Describe a segment: what it shows, and what made it (PS3.3 C.8.20.2)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel, code = SEGMENTS[label]
    item.RecommendedDisplayCIELabValue = list(_COLORS[label])
    item.SegmentedPropertyCategoryCodeSequence = [
        code_item("123037004", "SCT", "Anatomical Structure")
    ]
    item.SegmentedPropertyTypeCodeSequence = [code_item(*code)]
    name, version = result.algorithm
    item.SegmentAlgorithmType = "AUTOMATIC" if result.report.model else "SEMIAUTOMATIC"
    item.SegmentAlgorithmName = name[:64]
    if result.report.model:
        algorithm = Dataset()
        algorithm.AlgorithmFamilyCodeSequence = [
            code_item("123110", "DCM", "Artificial Intelligence")
        ]
        algorithm.AlgorithmName, algorithm.AlgorithmVersion = name[:64], version[:64]
        algorithm.AlgorithmParameters = f"model SHA-256 {result.report.model.sha256}"
        algorithm.AlgorithmSource = "echoseg"
        item.SegmentationAlgorithmIdentificationSequence = [algorithm]
    return item


def _add_pixels(dataset: Any, result: Result, labels: list[Label]) -> None:
    """Add the bits of all frames, those of the first segment first."""
    from pydicom.pixels.utils import pack_bits

    masks, header = result.masks, result.source.header
    dataset.NumberOfFrames = len(labels) * len(masks)
    dataset.Rows, dataset.Columns = masks.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    is_lossy = str(header.get("LossyImageCompression", "")) == "01"
    dataset.LossyImageCompression = "01" if is_lossy else "00"
    for name in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if is_lossy and header.get(name):
            dataset.add(header[name])
    bits = np.stack([masks == label for label in labels])
    dataset.PixelData = pack_bits(bits.astype(np.uint8).ravel(), pad=True)
    dataset["PixelData"].VR = "OB"


def _add_dimensions(dataset: Any) -> None:
    from pydicom.dataset import Dataset

    uid = hash_uid("echoseg dimensions", str(dataset.SOPInstanceUID))
    organization = Dataset()
    organization.DimensionOrganizationUID = uid
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = []
    for pointer, group, name in (
        (_SEGMENT_NUMBER, _SEGMENT_GROUP, "Segment Number"),
        (_TEMPORAL_POSITION, _CONTENT_GROUP, "Temporal Position"),
    ):
        index = Dataset()
        index.DimensionOrganizationUID = uid
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, group
        index.DimensionDescriptionLabel = name
        dataset.DimensionIndexSequence.append(index)


def _shared_groups(result: Result) -> Any:
    """Pixel Measures of the stored pixels (PS3.3 C.7.6.16.2.1); spacing where it is known."""
    from pydicom.dataset import Dataset

    groups, measures, orientation = Dataset(), Dataset(), Dataset()
    clip = result.report.input
    measures.SliceThickness = _NOMINAL_THICKNESS_MM
    if clip.spacing_mm is not None:
        (row_mm, column_mm), (rows, columns) = clip.spacing_mm, result.masks.shape[1:]
        spacing = row_mm * clip.rows / rows, column_mm * clip.columns / columns
        measures.PixelSpacing = [f"{mm:.10g}" for mm in spacing]
    stated = result.source.header.get("ImageOrientationPatient")
    orientation.ImageOrientationPatient = stated or [1, 0, 0, 0, 1, 0]
    groups.PixelMeasuresSequence = [measures]
    groups.PlaneOrientationSequence = [orientation]
    return groups


def _frames(result: Result, num_segments: int) -> Iterator[Any]:
    """Which segment and which frame of the source each frame of the SEG is of."""
    from pydicom.dataset import Dataset

    places = {frame: place for place, frame in enumerate(result.source.frames)}
    in_time = {
        frame: n for n, frame in enumerate(sorted(result.frames, key=places.__getitem__), start=1)
    }
    for number in range(1, num_segments + 1):
        for frame in result.frames:  # of two alone, ED comes first, which may be the later one
            position = in_time[frame]
            image = reference_item(frame.class_uid, frame.instance_uid)
            if frame.number is not None:
                image.ReferencedFrameNumber = frame.number
            image.SpatialLocationsPreserved = "YES"
            image.PurposeOfReferenceCodeSequence = [
                code_item("121322", "DCM", "Source image for image processing operation")
            ]
            derivation, content, segment, groups = Dataset(), Dataset(), Dataset(), Dataset()
            derivation.SourceImageSequence = [image]
            derivation.DerivationCodeSequence = [code_item("113076", "DCM", "Segmentation")]
            content.DimensionIndexValues = [number, position]
            content.TemporalPositionIndex = position
            segment.ReferencedSegmentNumber = number
            groups.FrameContentSequence = [content]
            groups.DerivationImageSequence = [derivation]
            groups.SegmentIdentificationSequence = [segment]
            yield groups

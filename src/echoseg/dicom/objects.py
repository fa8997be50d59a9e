"""What all DICOM objects of a result share: patient, study, series, equipment, identifiers.

Patient and study are those of the source, the series is new. Identifiers are hashes of source and
result, so repeated runs give the same ones. Texts are UTF-8.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoseg.dicom.identity import add_identity
from echoseg.dicom.result import Measured
from echoseg.files import atomic_write
from echoseg.io.dicom_writer import hash_uid
from echoseg.report.schema import DISCLAIMER


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of DICOM object.

    Attributes:
        file_name: Name of its file.
        class_uid: Its SOP class.
        modality: Modality of its series.
        series_number: Number of its series; far above those of machines.
        description: Series Description.
    """

    file_name: str
    class_uid: str
    modality: str
    series_number: int
    description: str


def code_item(value: str, scheme: str, meaning: str) -> Any:
    """An item of a code sequence, a `pydicom.Dataset`."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def reference_item(class_uid: str, instance_uid: str) -> Any:
    """An item that refers to an instance, a `pydicom.Dataset`."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
    return item


def source_series(result: Measured) -> list[Any]:
    """Items per series of the source with its instances (Referenced Series Sequence)."""
    from pydicom.dataset import Dataset

    items: dict[str, Any] = {}
    for class_uid, instance in source_instances(result):
        series = next(
            one.source.series[instance] for one in result.planes if instance in one.source.series
        )
        item = items.setdefault(series, Dataset())
        item.SeriesInstanceUID = series
        references = list(item.get("ReferencedInstanceSequence") or [])
        item.ReferencedInstanceSequence = [*references, reference_item(class_uid, instance)]
    return list(items.values())


def source_instances(result: Measured) -> list[tuple[str, str]]:
    """SOP class and instance of each object of the sources."""
    frames = [frame for one in result.planes for frame in one.source.frames if frame]
    return list(dict.fromkeys((frame.class_uid, frame.instance_uid) for frame in frames))


def instance_uid(result: Measured, kind: Kind) -> Any:
    """SOP Instance UID of an object of a result."""
    return hash_uid("echoseg", kind.class_uid, kind.file_name, result.key)


def series_uid(instance: str) -> Any:
    """Series Instance UID of the series that holds an object of ours alone."""
    return hash_uid("echoseg series", str(instance))


def new_object(result: Measured, kind: Kind) -> Any:
    """A `pydicom.Dataset` with everything but the content of its kind."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset, header = Dataset(), result.source.header
    dataset.SpecificCharacterSet = "ISO_IR 192"
    add_identity(dataset, header)
    dataset.SOPClassUID = kind.class_uid
    dataset.SOPInstanceUID = instance_uid(result, kind)
    dataset.SeriesInstanceUID = series_uid(dataset.SOPInstanceUID)
    dataset.Modality, dataset.SeriesNumber = kind.modality, kind.series_number
    dataset.SeriesDescription = kind.description
    dataset.InstanceNumber = 1
    dataset.Manufacturer = dataset.ManufacturerModelName = "echoseg"
    model = result.planes[0].report.model
    dataset.DeviceSerialNumber = model.sha256[:16] if model else "none"
    dataset.SoftwareVersions = result.report.software.version
    day, clock = result.written.strftime("%Y%m%d"), result.written.strftime("%H%M%S")
    dataset.InstanceCreationDate = dataset.ContentDate = dataset.SeriesDate = day
    dataset.InstanceCreationTime = dataset.ContentTime = dataset.SeriesTime = clock
    dataset.ContributingEquipmentSequence = [_contribution(result)]
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _contribution(result: Measured) -> Any:
    """What processed the source, and that it is for research (PS3.3 C.12.1.1.5)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item("109102", "DCM", "Processing Equipment")]
    item.Manufacturer = item.ManufacturerModelName = "echoseg"
    item.SoftwareVersions = result.report.software.version
    item.ContributionDescription = f"{', '.join(result.algorithm)}. {DISCLAIMER}"
    return item


def save(dataset: Any, path: Path) -> None:
    """Write an object.

    Raises:
        OutputError: If it cannot be written.
    """
    from pydicom import dcmwrite

    with warnings.catch_warnings(), atomic_write(path) as partial:
        warnings.simplefilter("ignore")  # values of the source that break rules of their type
        dcmwrite(partial, dataset, enforce_file_format=True)

"""Structured report (SR) of echo measurements: TID 5200 in Comprehensive SR, or TID 5300.

TID 5200 describes a value by code, method, view and phase; TID 5300, the Simplified Adult Echo SR,
has one code for all of that where there is one. Both: PS3.16 annex A.
"""

from collections.abc import Iterable
from typing import Any

from echoseg.dicom.objects import (
    Kind,
    instance_uid,
    new_object,
    reference_item,
    series_uid,
    source_series,
)
from echoseg.dicom.result import Result
from echoseg.dicom.seg import SEG
from echoseg.dicom.values import (
    ED,
    INDETERMINATE,
    LA,
    LV,
    OWN_SCHEME,
    TITLE,
    Concept,
    Value,
    origin_text,
    reliability_text,
    report_view,
    sent_values,
    view_concept,
)
from echoseg.errors import ConfigError
from echoseg.io.dicom_writer import hash_uid
from echoseg.report.schema import DISCLAIMER

SR = Kind(
    file_name="sr.dcm",
    class_uid="1.2.840.10008.5.1.4.1.1.88.33",
    modality="SR",
    series_number=9702,
    description="echoseg measurements, research use only",
)
SIMPLIFIED_SR = Kind(
    file_name="sr.dcm",
    class_uid="1.2.840.10008.5.1.4.1.1.88.72",
    modality="SR",
    series_number=9702,
    description="echoseg measurements, research use only",
)
_COMMENT = Concept("121106", "DCM", "Comment")


def build_sr(result: Result, *, simplified: bool = False) -> Any:
    """Make the SR of a result, a `pydicom.Dataset`.

    Args:
        result: The result.
        simplified: TID 5300 in Simplified Adult Echo SR, in place of TID 5200.

    Raises:
        ConfigError: If highdicom is not installed.
    """
    try:
        from highdicom.sr import ContainerContentItem
    except ImportError as error:
        raise ConfigError("DICOM objects need highdicom; pip install 'echoseg[dicom]'") from error
    kind = SIMPLIFIED_SR if simplified else SR
    dataset = new_object(result, kind)
    template = "5300" if simplified else "5200"
    root = ContainerContentItem(_code(TITLE), is_content_continuous=False, template_id=template)
    dataset.update(root)
    dataset.ContentSequence = list(
        _context(result)
        + (_simplified_groups(result) if simplified else (_library(result), *_sections(result)))
        + _comments(result)
    )
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.CodingSchemeIdentificationSequence = [_own_scheme()]
    if simplified:  # its Timezone Module is mandatory; dates are the source's too
        offset = result.written.astimezone().strftime("%z")
        dataset.TimezoneOffsetFromUTC = result.source.header.get("TimezoneOffsetFromUTC") or offset
    dataset.PerformedProcedureCodeSequence = []
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = [_evidence(result, source_series(result))]
    if (result.masks > 0).any():
        dataset.PertinentOtherEvidenceSequence = [_evidence(result, [_seg_series(result)])]
    return dataset


def _own_scheme() -> Any:
    """What the scheme of this project's own codes is (PS3.3 C.12.1.1.1)."""
    from pydicom.dataset import Dataset

    scheme = Dataset()
    scheme.CodingSchemeDesignator = OWN_SCHEME
    scheme.CodingSchemeName = "Values of echoseg that have no code of a standard"
    scheme.CodingSchemeResponsibleOrganization = "echoseg maintainers"
    return scheme


def _code(concept: Concept) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(concept.value, concept.scheme, concept.meaning)


def _coded(name: Concept, value: Concept, relationship: str = "HAS CONCEPT MOD") -> Any:
    from highdicom.sr import CodeContentItem

    return CodeContentItem(_code(name), _code(value), relationship)


def _text(name: Concept, value: str, relationship: str = "CONTAINS") -> Any:
    from highdicom.sr import TextContentItem

    return TextContentItem(_code(name), value, relationship)


def _container(name: Concept, items: Iterable[Any]) -> Any:
    from highdicom.sr import ContainerContentItem, ContentSequence

    container = ContainerContentItem(
        _code(name), is_content_continuous=False, relationship_type="CONTAINS"
    )
    container.ContentSequence = ContentSequence(list(items))
    return container


def _context(result: Result) -> tuple[Any, ...]:
    """Language, and the device that observed (TID 1204, 1001)."""
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        LanguageOfContentItemAndDescendants,
        ObservationContext,
        ObserverContext,
    )

    name, version = result.algorithm
    device = DeviceObserverIdentifyingAttributes(
        uid=hash_uid("echoseg device", name, version),
        name=name,
        manufacturer_name="echoseg",
        model_name=name,
    )
    observer = ObserverContext(_code(Concept("121007", "DCM", "Device")), device)
    language = _code(Concept("en-US", "RFC5646", "English (United States)"))
    return (
        *LanguageOfContentItemAndDescendants(language),
        *ObservationContext(observer_device_context=observer),
    )


def _library(result: Result) -> Any:
    """The clip (Image Library)."""
    from highdicom.sr import ImageContentItem

    name = Concept("121324", "DCM", "Source image")
    instances = dict.fromkeys((one.class_uid, one.instance_uid) for one in result.source.frames)
    images = [
        ImageContentItem(_code(name), *uids, relationship_type="CONTAINS") for uids in instances
    ]
    return _container(Concept("111028", "DCM", "Image Library"), images)


def _sections(result: Result) -> tuple[Any, ...]:
    """A section per site with one group of values (TID 5202, 5203)."""
    values = sent_values(result.report)
    mode = _coded(Concept("399264008", "SCT", "Image Mode"), Concept("399064001", "SCT", "2D mode"))
    view = view_concept(report_view(result.report))
    of_view = [_coded(Concept("111031", "DCM", "Image View"), view)] if view else []
    sections = []
    for site in (LV, LA):
        numbers = [
            _number(result, value, value.name, of_view) for value in values if value.site == site
        ]
        if numbers:
            group = _container(Concept("125007", "DCM", "Measurement Group"), [mode, *numbers])
            place = _coded(Concept("363698007", "SCT", "Finding Site"), site)
            sections.append(_container(Concept("121070", "DCM", "Findings"), [place, group]))
    return tuple(sections)


def _simplified_groups(result: Result) -> tuple[Any, ...]:
    """Values with a pre-coordinated code, and all others (TID 5300, 5301, 5303)."""
    groups = {
        Concept("125301", "DCM", "Pre-coordinated Measurements"): [],
        Concept("125303", "DCM", "Adhoc Measurements"): [],
    }
    first, others = groups.values()
    for value in sent_values(result.report):
        if value.precoordinated:
            first.append(_number(result, value, value.precoordinated, []))
        else:
            others.append(_number(result, value, value.name, []))
    return tuple(_container(name, numbers) for name, numbers in groups.items() if numbers)


def _number(result: Result, value: Value, name: Concept, modifiers: list[Any]) -> Any:
    """A number with method, phase, interval, images and algorithm (TID 300)."""
    from highdicom.sr import AlgorithmIdentification, Measurement
    from pydicom.sequence import Sequence

    is_plain = name is value.name
    is_withheld = value.number is None
    (item,) = Measurement(
        name=_code(name),
        value=0.0 if value.number is None else value.number,
        unit=_code(value.unit),
        qualifier=_code(INDETERMINATE) if is_withheld else None,
        algorithm_id=AlgorithmIdentification(*result.algorithm),
        method=_code(value.method) if value.method and is_plain else None,
        properties=_properties(result, value),
        referenced_images=list(_images(result, value)),
    )
    if is_withheld:
        item.MeasuredValueSequence = Sequence()  # highdicom asks for a number
    if is_plain:
        phase = Concept("272518008", "SCT", "Cardiac Cycle Point")
        phases = [_coded(phase, value.phases[0])] if len(value.phases) == 1 else []
        item.ContentSequence.extend([*modifiers, *phases])
    if value.key == "ef":
        reliability = Concept("reliability", OWN_SCHEME, "Reliability")
        text = reliability_text(result.report)
        item.ContentSequence.append(_text(reliability, text, "HAS PROPERTIES"))
    return item


def _properties(result: Result, value: Value) -> Any:
    """The interval, as distances from the value (PS3.16 CID 225), and that it is a mean."""
    from highdicom.sr import MeasurementProperties

    report = result.report
    interval = report.reliability.interval if report.reliability else None
    number, limits = value.number, {}
    if value.key == "ef" and number is not None and interval is not None:
        above, below = interval.high_percent - number, number - interval.low_percent
        if min(above, below) >= 0:  # otherwise it is in the text alone
            limits["upper_measurement_uncertainty"] = round(above, 1)
            limits["lower_measurement_uncertainty"] = round(below, 1)
    if number is not None and report.results.num_beats > 1:
        limits["selection_status"] = _code(Concept("121412", "DCM", "Mean value chosen"))
    properties = MeasurementProperties(**limits) if limits else None
    for item in properties or ():
        for measured in item.get("MeasuredValueSequence") or ():
            measured.MeasurementUnitsCodeSequence = [_code(value.unit)]  # of highdicom: none
    return properties


def _images(result: Result, value: Value) -> Iterable[Any]:
    """The frames of ED and ES that a value is of."""
    from highdicom.sr import SourceImageForMeasurement

    results = result.report.results
    frames = [results.ed_frame if phase == ED else results.es_frame for phase in value.phases]
    for index in frames:
        if index is not None:
            class_uid, uid, number = result.frames[index]
            yield SourceImageForMeasurement(class_uid, uid, [number] if number else None)


def _comments(result: Result) -> tuple[Any, ...]:
    """What a reader of the numbers must know."""
    report = result.report
    texts = [DISCLAIMER, origin_text(report), reliability_text(report)]
    if report.input.view != report_view(report):
        texts.append(f"The view, {report_view(report)}, was predicted, not stated.")
    texts += [warning.message for warning in report.warnings]
    return tuple(_text(_COMMENT, text) for text in texts)


def _evidence(result: Result, series: list[Any]) -> Any:
    """The instances of a study that are referred to; here per series of `SeriesInstanceUID`."""
    from pydicom.dataset import Dataset

    study = Dataset()
    study.StudyInstanceUID = str(result.source.header.StudyInstanceUID)
    for item in series:
        item.ReferencedSOPSequence = item.ReferencedInstanceSequence
        del item.ReferencedInstanceSequence
    study.ReferencedSeriesSequence = series
    return study


def _seg_series(result: Result) -> Any:
    from pydicom.dataset import Dataset

    uid, series = instance_uid(result, SEG), Dataset()
    series.SeriesInstanceUID = series_uid(uid)
    series.ReferencedInstanceSequence = [reference_item(SEG.class_uid, uid)]
    return series

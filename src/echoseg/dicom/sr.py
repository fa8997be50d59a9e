"""Structured report (SR) of echo measurements: TID 5200 in Comprehensive SR, or TID 5300.

TID 5200 describes a value by code, method, view and phase; TID 5300, the Simplified Adult Echo SR,
has one code for all of that where there is one. Both: PS3.16 annex A.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from echoseg.dicom.objects import (
    Kind,
    instance_uid,
    new_object,
    reference_item,
    series_uid,
    source_instances,
    source_series,
)
from echoseg.dicom.result import Measured, Result
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
from echoseg.report.schema import DISCLAIMER, ef_statement

SR = Kind(
    file_name="sr.dcm",
    class_uid="1.2.840.10008.5.1.4.1.1.88.33",
    modality="SR",
    series_number=9702,
    description="echoseg measurements, research use only",
)
SIMPLIFIED_SR = replace(SR, class_uid="1.2.840.10008.5.1.4.1.1.88.72")
_COMMENT = Concept("121106", "DCM", "Comment")


def build_sr(result: Measured, *, simplified: bool = False) -> Any:
    """Make the SR of a result, a `pydicom.Dataset`.

    Args:
        result: The result of a clip, or of two views of a heart with the values of each.
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
    if segmented := [one for one in result.planes if (one.masks > 0).any()]:
        others = [_seg_series(one) for one in segmented]
        dataset.PertinentOtherEvidenceSequence = [_evidence(result, others)]
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


def _context(result: Measured) -> tuple[Any, ...]:
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


def _library(result: Measured) -> Any:
    """The clips (Image Library)."""
    from highdicom.sr import ImageContentItem

    name = _code(Concept("121324", "DCM", "Source image"))
    images = [
        ImageContentItem(name, *uids, relationship_type="CONTAINS")
        for uids in source_instances(result)
    ]
    return _container(Concept("111028", "DCM", "Image Library"), images)


def _sections(result: Measured) -> tuple[Any, ...]:
    """A section per site with a group of values, of two views three (TID 5202, 5203)."""
    mode = _coded(Concept("399264008", "SCT", "Image Mode"), Concept("399064001", "SCT", "2D mode"))
    sections = []
    for site in (LV, LA):
        groups = []
        for part in result.parts:
            values = [one for one in sent_values(part.report) if one.site == site]
            numbers = [_number(part, one, one.name, _view_items(part)) for one in values]
            if numbers:
                name = Concept("125007", "DCM", "Measurement Group")
                groups.append(_container(name, [mode, *numbers]))
        if groups:
            place = _coded(Concept("363698007", "SCT", "Finding Site"), site)
            sections.append(_container(Concept("121070", "DCM", "Findings"), [place, *groups]))
    return tuple(sections)


def _view_items(part: Measured) -> list[Any]:
    """The view as a modifier; none of two views together."""
    view = view_concept(report_view(part.report)) if isinstance(part, Result) else None
    return [_coded(Concept("111031", "DCM", "Image View"), view)] if view else []


def _simplified_groups(result: Measured) -> tuple[Any, ...]:
    """Values with a pre-coordinated code, and all others (TID 5300, 5301, 5303)."""
    groups = {
        Concept("125301", "DCM", "Pre-coordinated Measurements"): [],
        Concept("125303", "DCM", "Adhoc Measurements"): [],
    }
    first, others = groups.values()
    for part in result.parts:
        for value in sent_values(part.report):
            if value.precoordinated:
                first.append(_number(part, value, value.precoordinated, []))
            else:
                others.append(_number(part, value, value.name, _view_items(part)))
    return tuple(_container(name, numbers) for name, numbers in groups.items() if numbers)


def _number(part: Measured, value: Value, name: Concept, modifiers: list[Any]) -> Any:
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
        algorithm_id=AlgorithmIdentification(*part.algorithm),
        method=_code(value.method) if value.method and is_plain else None,
        properties=_properties(part, value),
        referenced_images=list(_images(part, value)),
    )
    if is_withheld:
        item.MeasuredValueSequence = Sequence()  # highdicom asks for a number
    if is_plain:
        phase = Concept("272518008", "SCT", "Cardiac Cycle Point")
        phases = [_coded(phase, value.phases[0])] if len(value.phases) == 1 else []
        item.ContentSequence.extend([*modifiers, *phases])
    if value.key == "ef":
        reliability = Concept("reliability", OWN_SCHEME, "Reliability")
        text = reliability_text(part.report)
        item.ContentSequence.append(_text(reliability, text, "HAS PROPERTIES"))
    return item


def _properties(part: Measured, value: Value) -> Any:
    """The interval, as distances from the value (PS3.16 CID 225), and that it is a mean."""
    from highdicom.sr import MeasurementProperties

    interval = ef_statement(part.report).interval
    number, limits = value.number, {}
    if value.key == "ef" and number is not None and interval is not None:
        above, below = interval.high_percent - number, number - interval.low_percent
        if min(above, below) >= 0:  # otherwise it is in the text alone
            limits["upper_measurement_uncertainty"] = round(above, 1)
            limits["lower_measurement_uncertainty"] = round(below, 1)
    if number is not None and any(one.report.results.num_beats > 1 for one in part.planes):
        limits["selection_status"] = _code(Concept("121412", "DCM", "Mean value chosen"))
    properties = MeasurementProperties(**limits) if limits else None
    for item in properties or ():
        for measured in item.get("MeasuredValueSequence") or ():
            measured.MeasurementUnitsCodeSequence = [_code(value.unit)]  # of highdicom: none
    return properties


def _images(part: Measured, value: Value) -> Iterable[Any]:
    """The frames of ED and ES that a value is of, of two views those of both."""
    from highdicom.sr import SourceImageForMeasurement

    for plane in part.planes:
        results = plane.report.results
        for phase in value.phases:
            index = results.ed_frame if phase == ED else results.es_frame
            if index is not None:
                class_uid, uid, number = plane.frames[index]
                yield SourceImageForMeasurement(class_uid, uid, [number] if number else None)


def _comments(result: Measured) -> tuple[Any, ...]:
    """What a reader of the numbers must know."""
    report = result.report
    texts = [DISCLAIMER, origin_text(report), reliability_text(report)]
    for view in (report_view(one.report) for one in result.planes if not _states_view(one)):
        texts.append(f"The view, {view}, was predicted, not stated.")
    texts += [text for one in result.planes if (text := _pair_text(one))]
    texts += [warning.message for warning in report.warnings]
    return tuple(_text(_COMMENT, text) for text in texts)


def _pair_text(plane: Result) -> str:
    """That only ED and ES have masks; empty where all frames have."""
    if not plane.report.input.frame_indices:
        return ""
    places = {frame: number for number, frame in enumerate(plane.source.frames, start=1)}
    ed, es = (places[frame] for frame in plane.frames)
    return (
        f"Only two of {len(places)} frames have masks, and the values are of these: frame {ed} is "
        f"taken as ED, frame {es} as ES (counted from 1)."
    )


def _states_view(plane: Result) -> bool:
    return plane.report.input.view == report_view(plane.report)


def _evidence(result: Measured, series: list[Any]) -> Any:
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

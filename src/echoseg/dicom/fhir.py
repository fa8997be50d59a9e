"""A result as FHIR R4: a DiagnosticReport and an Observation per value, in one Bundle.

Patient and study are referred to by their identifiers in the DICOM source. Both resources are
`preliminary`: no person has reviewed them. Identifiers are hashes, as those of DICOM objects.
"""

import hashlib
import uuid
from typing import Any

from echoseg.clip import View
from echoseg.dicom.result import Measured, Result
from echoseg.dicom.values import (
    OWN_SCHEME,
    Concept,
    Value,
    origin_text,
    reliability_text,
    report_view,
    sent_values,
)
from echoseg.report.schema import DISCLAIMER, ef_statement

FHIR = "fhir.json"
_SYSTEMS = {
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    OWN_SCHEME: "urn:echoseg:codes",
}
_STUDY = Concept("42148-7", "LN", "US Heart")


def build_fhir(result: Measured) -> dict[str, Any]:
    """The Bundle (type collection) as JSON types; a withheld EF has a dataAbsentReason."""
    values = [(part, value) for part in result.parts for value in sent_values(part.report)]
    observations = [_observation(part, value) for part, value in values]
    urls = [_url(part, value.key) for part, value in values]
    report = {
        "resourceType": "DiagnosticReport",
        **_shared(result),
        "code": _concept(_STUDY),
        "result": [{"reference": url} for url in urls],
        "conclusion": " ".join(
            (reliability_text(result.report), origin_text(result.report), DISCLAIMER)
        ),
    }
    entries = zip([_url(result, "report"), *urls], [report, *observations], strict=True)
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries],
    }


def _url(result: Measured, key: str) -> str:
    digest = hashlib.sha256(f"echoseg fhir {key} {result.key}".encode()).digest()
    return f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=5)}"


def _shared(result: Measured) -> dict[str, Any]:
    """What report and observations have alike: state, patient and day of the study."""
    header = result.source.header
    shared: dict[str, Any] = {"status": "preliminary"}
    if patient := str(header.get("PatientID", "")):
        shared["subject"] = {"type": "Patient", "identifier": {"value": patient}}
    day = str(header.get("StudyDate", ""))
    if len(day) == 8 and day.isdigit():
        shared["effectiveDateTime"] = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    return shared


def _concept(concept: Concept) -> dict[str, Any]:
    coding = {"system": _SYSTEMS[concept.scheme], "code": concept.value, "display": concept.meaning}
    return {"coding": [coding], "text": concept.meaning}


def _code(part: Measured, value: Value) -> dict[str, Any]:
    """The value's code, that of value, view and method together, and the view in words."""
    code = _concept(value.name)
    if value.precoordinated:
        code["coding"] += _concept(value.precoordinated)["coding"]
    if isinstance(part, Result) and report_view(part.report) != View.UNKNOWN:
        code["text"] = f"{value.name.meaning}, {report_view(part.report)}"
    return code


def _quantity(number: float, unit: Concept) -> dict[str, Any]:
    system = "http://unitsofmeasure.org"
    return {"value": number, "unit": unit.meaning, "system": system, "code": unit.value}


def _observation(result: Measured, value: Value) -> dict[str, Any]:
    study = f"urn:oid:{result.source.header.StudyInstanceUID}"
    observation: dict[str, Any] = {
        "resourceType": "Observation",
        **_shared(result),
        "code": _code(result, value),
        "bodySite": _concept(value.site),
        "device": {"display": ", ".join(result.algorithm)},
        "derivedFrom": [
            {"type": "ImagingStudy", "identifier": {"system": "urn:dicom:uid", "value": study}}
        ],
        "note": [{"text": DISCLAIMER}, {"text": origin_text(result.report)}],
    }
    if value.method:
        observation["method"] = _concept(value.method)
    if value.number is not None:
        observation["valueQuantity"] = _quantity(value.number, value.unit)
    else:
        reason = {
            "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
            "code": "unknown",
        }
        observation["dataAbsentReason"] = {"coding": [reason], "text": "Value indeterminate"}
    interval = ef_statement(result.report).interval
    if value.key == "ef":
        observation["note"].append({"text": reliability_text(result.report)})
    if value.key == "ef" and value.number is not None and interval is not None:
        ends = {"lower": interval.low_percent, "upper": interval.high_percent}
        observation["component"] = [
            {
                "code": {"text": f"{interval.level_percent:.0f} % interval, {name} end"},
                "valueQuantity": _quantity(round(number, 1), value.unit),
            }
            for name, number in ends.items()
        ]
    return observation

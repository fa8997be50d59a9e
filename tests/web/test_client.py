"""The typed client and a real server: a clip in, a correction, a signature, exports, refusals."""

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import echoseg.weights
from echoseg.cli import app
from echoseg.errors import ConfigError
from echoseg.web.api import DecisionRequest, EditRequest, SetView, WorklistQuery
from echoseg.web.client import PageClient, ServerError
from page_makers import PASSWORD, running_page

CLIP = Path(echoseg.weights.__file__).with_name("simulated_a4c.dcm")
ROOT = Path(__file__).parents[2]


def test_the_description_of_the_interface_is_up_to_date():
    """Of paths, methods, fields and their kinds: words differ between versions of FastAPI."""
    from scripts.openapi import description

    def answer(operation):
        return {
            kind: body["schema"]
            for kind, body in operation["responses"]["200"].get("content", {}).items()
        }

    def parts(document):
        schemas = document["components"]["schemas"].items()
        fields = {
            name: {field: kinds(each) for field, each in schema.get("properties", {}).items()}
            | {"": sorted(schema.get("required", ()))}
            for name, schema in schemas
        }
        return {path: sorted(methods) for path, methods in document["paths"].items()}, fields

    def kinds(schema):
        inner = [*schema.get("anyOf", ()), *schema.get("allOf", ()), *schema.get("prefixItems", ())]
        inner += [schema[name] for name in ("items", "additionalProperties") if schema.get(name)]
        inner = [each for each in inner if isinstance(each, dict)]
        own = {f"{name} {schema[name]}" for name in ("type", "$ref", "enum") if name in schema}
        return sorted(own.union(*map(kinds, inner)))

    published = json.loads((ROOT / "docs" / "openapi.json").read_text())
    assert parts(published) == parts(json.loads(description()))
    assert "not a medical device" in published["info"]["description"]
    paths = published["paths"]
    assert all(answer(each) for path in paths.values() for each in path.values())
    assert all(all(answer(each).values()) for path in paths.values() for each in path.values())
    binary = {"type": "string", "format": "binary"}
    frame = paths["/api/clips/{clip}/frames/{frame}.jpg"]["get"]
    assert answer(frame) == {"image/jpeg": binary}
    body = paths["/api/clips"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["properties"]["files"]["items"] == binary


@pytest.mark.slow
def test_a_clip_goes_in_is_read_signed_and_exported(tmp_path):
    with (
        running_page(tmp_path / "data") as (address, _),
        PageClient(address) as page,
    ):
        (tmp_path / "text.dcm").write_text("no clip")
        (clip,) = page.add(CLIP).added
        assert page.add(CLIP).added == (clip,)  # the same clip is one row
        (broken,) = page.add(tmp_path / "text.dcm").added
        detail = page.wait(clip, timeout_s=200)
        assert detail.num_frames == 64 and page.clips().total == 2
        with pytest.raises(ServerError, match="could not be analyzed: "):
            page.wait(broken, timeout_s=60)
        assert page.clips(WorklistQuery(filter="uncorrected", ef_from=90)).total == 0
        reading = page.reading(clip)
        assert 45 < reading.ef.ef_percent < 70 and len(reading.contours) == 64
        edit = EditRequest(revision=0, operation=SetView(kind="view", view="A4C"))
        assert page.edit(clip, edit).revision == 1
        with pytest.raises(ServerError) as refused:
            page.edit(clip, edit)  # of a version that is not the newest
        assert refused.value.status == 409
        signed = DecisionRequest(revision=1, decision="accepted")
        page.decide(clip, signed)
        assert page.clip(clip).row.decision == "accepted"
        assert {entry.kind for entry in page.history(clip)} >= {"view"}
        page.export(clip, tmp_path / "out.zip")
        assert "report.json" in str(zipfile.ZipFile(tmp_path / "out.zip").namelist())
        page.export(clip, tmp_path / "out.csv", format="csv")
        assert "ef_percent" in (tmp_path / "out.csv").read_text()
        for wrong in ("../x", "A" * 8, ""):
            with pytest.raises(ServerError, match="named by ids of small"):
                page.clip(wrong)
        with pytest.raises(ServerError) as refused:
            page.clip("0" * 16)
        assert refused.value.status == 404


def test_an_account_signs_in_and_a_wrong_password_is_refused(tmp_path):
    words = ["serve", "account", "add", "meier", "--data", str(tmp_path / "data")]
    assert CliRunner().invoke(app, words, input=PASSWORD).exit_code == 0
    with running_page(tmp_path / "data", "--sign-in") as (address, _):
        with pytest.raises(ServerError, match="asks for an account"):
            PageClient(address)
        with pytest.raises(ServerError, match="do not fit"):
            PageClient(address, account="meier", password="a wrong password")
        with PageClient(address, account="meier", password=PASSWORD) as page:
            assert page.clips().total == 0


def test_passwords_are_not_sent_unencrypted_and_no_server_is_told():
    for host in ("10.0.0.1:8080", "localhost.a.invalid", "127.a.invalid", "127.0.0.1@a.invalid"):
        with pytest.raises(ConfigError, match="https address only"):
            PageClient(f"http://{host}", account="meier", password="x")
    with pytest.raises(ServerError, match="cannot be reached"):
        PageClient("http://[::1]:9", account="meier", password="x")
    with pytest.raises(ServerError, match=r"cannot be reached \(no server answers there\); check"):
        PageClient("http://127.0.0.1:9")
    for url in ("127.0.0.1:8197", "localhost:8197"):
        with pytest.raises(ConfigError, match="must begin with http:// or https://"):
            PageClient(url)

"""The result folder: whole or not at all."""

import csv
import json
import re
from pathlib import Path

import av
import nibabel
import numpy as np
import pytest

from echoseg.clip import Clip, ClipWarning, View
from echoseg.errors import OutputError
from echoseg.inference.analysis import Analysis
from echoseg.measure.measure import measure_masks
from echoseg.report import writer as results
from echoseg.report.schema import Report, json_schema
from echoseg.report.writer import check_output, result_folder_names, write_results
from echoseg.weights.card import ModelCard

MODEL = ModelCard(
    name="made-up",
    sha256="0" * 64,
    licence="Apache-2.0",
    architecture="mssnet",
    image_size=160,
)


def made_up(num_frames=12, *, empty=False, source="<b>x&.avi", spacing_mm=None):
    rows, columns = np.mgrid[:90, :121]
    masks = np.zeros((num_frames, 90, 121), np.uint8)
    for index in range(num_frames):
        width = 14 + 4 * np.sin(2 * np.pi * index / num_frames)
        for label, extra in ((2, 6), (1, 0)):
            inside = ((columns - 60) / (width + extra)) ** 2 + ((rows - 50) / (35 + extra)) ** 2 < 1
            masks[index][inside & (rows < 52)] = label
        masks[index][(np.hypot(columns - 60, rows - 62) < 14) & (rows >= 52)] = 3
    masks *= not empty
    warning = ClipWarning(code="odd", message="a <script> in a message")
    clip = Clip(
        frames=(60 + 40 * masks).astype(np.uint8),
        times_s=np.arange(num_frames) / 25,
        spacing_mm=spacing_mm,
        source=f"some/folder/{source}",
        view=View.A4C,
        warnings=(warning,),
    )
    found = measure_masks(masks, spacing_mm=spacing_mm, times_s=clip.times_s)
    return Analysis(clip=clip, masks=masks, measurement=found, model=MODEL)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    analysis = made_up()
    return analysis, write_results(analysis, tmp_path_factory.mktemp("r") / "clip")


def test_masks_come_back_on_the_clips_own_grid(written):
    analysis, folder = written
    stored = np.asarray(nibabel.load(folder / "masks.nii.gz").dataobj).transpose(2, 1, 0)
    assert np.array_equal(stored, analysis.masks)


def test_the_overlay_plays_at_the_clips_rate(written):
    analysis, folder = written
    with av.open(str(folder / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == pytest.approx(25)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == analysis.clip.num_frames
    assert frames[0].shape[0] > 480
    assert not np.array_equal(frames[0], frames[6])


def test_a_page_holds_a_short_video_and_names_a_long_one(written, tmp_path, monkeypatch):
    analysis, folder = written
    assert '<video src="data:video/mp4;base64,' in (folder / "report.html").read_text("utf-8")
    monkeypatch.setattr(results, "MAX_VIDEO_BYTES", 1000)
    other = write_results(analysis, tmp_path / "long")
    assert '<video src="overlay.mp4"' in (other / "report.html").read_text("utf-8")


def test_the_report_keeps_its_schema_and_names_no_folder(written):
    _, folder = written
    text = (folder / "report.json").read_text()
    report = Report.model_validate_json(text)
    assert json.loads(text)["schema_version"] == "2"
    assert report.input.file_name == "<b>x&.avi"
    assert "some/folder" not in text
    assert report.results.ef_percent == pytest.approx(written[0].measurement.ef_percent, abs=0.05)
    assert {"odd", "no_scale_no_millilitres"} <= {warning.code for warning in report.warnings}


def test_a_refused_scale_is_nowhere_in_the_folder(tmp_path):
    analysis = made_up(spacing_mm=(9.0, 9.0))
    assert "implausible_size" in {warning.code for warning in analysis.warnings}
    folder = write_results(analysis, tmp_path / "refused")
    header = nibabel.load(folder / "masks.nii.gz").header
    assert header.get_xyzt_units()[0] == "unknown"
    assert header["pixdim"][1] == 1
    assert Report.model_validate_json((folder / "report.json").read_text()).input.spacing_mm is None
    page = (folder / "report.html").read_text()
    assert "<dt>Scale</dt><dd>none</dd>" in page
    bare = write_results(made_up(), tmp_path / "bare")
    for name in ("overlay.mp4", "frames.csv"):
        assert (folder / name).read_bytes() == (bare / name).read_bytes()


def test_notes_stand_apart_from_warnings(written):
    _, folder = written
    report = Report.model_validate_json((folder / "report.json").read_text())
    assert [note.code for note in report.notes] == ["largest_smallest_volume", "regularised"]
    assert "largest_smallest_volume" not in {warning.code for warning in report.warnings}
    page = (folder / "report.html").read_text()
    alert = page[page.index('class="alert"') : page.index("</section>")]
    words = "largest and smallest volume of the smoothed curve"
    assert words not in alert and words in page


def test_the_table_has_a_row_a_frame_and_marks_the_phases(written):
    analysis, folder = written
    with (folder / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame_index"]) for row in rows] == list(range(12))
    assert rows[analysis.measurement.ed_frame]["phase"] == "ED"
    assert rows[analysis.measurement.es_frame]["phase"] == "ES"
    assert rows[0]["volume_ml"] == ""
    # the wall is painted brighter than the cavity, and the cavity beats evenly
    assert all(float(row["contrast"]) > 0 for row in rows)
    assert {row["wall_segments_unseen"] for row in rows} == {"0"}
    jumps = [row["lv_area_jump_percent"] for row in rows]
    assert jumps[0] == jumps[-1] == "" and max(map(float, jumps[1:-1])) < 8


def test_the_page_holds_everything_and_fetches_nothing(written):
    page = (written[1] / "report.html").read_text()
    assert "&lt;b&gt;x&amp;.avi" in page
    assert "<b>x" not in page
    assert "a &lt;script&gt; in a message" in page
    assert "not a medical device" in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 3  # the overlay, ED, ES
    assert all(source.startswith("data:") for source in sources)


def test_no_ef_is_written_with_its_reason(tmp_path):
    folder = write_results(made_up(empty=True), tmp_path / "clip")
    report = Report.model_validate_json((folder / "report.json").read_text())
    assert report.results.ef_percent is None
    assert "0 of 12 frames" in report.results.refusal
    assert "0 of 12 frames" in (folder / "report.html").read_text()


def test_a_folder_that_exists_is_kept_unless_forced(tmp_path):
    folder = write_results(made_up(), tmp_path / "clip")
    before = (folder / "report.json").read_bytes()
    with pytest.raises(OutputError, match="--force"):
        write_results(made_up(empty=True), folder)
    assert (folder / "report.json").read_bytes() == before
    write_results(made_up(empty=True), folder, force=True)
    assert (folder / "report.json").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_text("x")
    with pytest.raises(OutputError, match=r"holds no report\.json"):
        write_results(made_up(), tmp_path / "photos", force=True)
    assert (tmp_path / "photos" / "mine.jpg").exists()


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), ValueError("odd")])
def test_a_run_cut_half_way_leaves_what_was_there(tmp_path, monkeypatch, error):
    folder = write_results(made_up(), tmp_path / "clip")
    before = (folder / "report.json").read_bytes()

    def cut(analysis, **how):
        raise error

    monkeypatch.setattr(results, "curve_svg", cut)
    with pytest.raises((OutputError, KeyboardInterrupt, ValueError)):
        write_results(made_up(), folder, force=True)
    with pytest.raises((OutputError, KeyboardInterrupt, ValueError)):
        write_results(made_up(), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]
    assert (folder / "report.json").read_bytes() == before


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / "file" / "clip")


def test_clips_of_one_name_get_folders_of_their_own(tmp_path):
    from pathlib import Path

    (tmp_path / "frames.v2").mkdir()
    sources = ["a/x.dcm", "b/x.avi", "c/X.mp4", "d/y.nii.gz", "e/Ü b.mp4", "f/.."]
    names = result_folder_names([*map(Path, sources), tmp_path / "frames.v2"])
    assert names == ["x", "x-2", "X-3", "y", "Ü_b", "clip", "frames.v2"]


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("CON.dcm", "CON_"), ("nul.avi", "nul_"), ("Lpt1.x.avi", "Lpt1_.x"), ("com¹.avi", "com¹_"),
        ("CONE.avi", "CONE"), ("com10.avi", "com10"), ("a:b.avi", "a_b"), ("a...avi", "a"),
        ("-rf.avi", "rf"), ("..-o.avi", "o"), ("x" * 179 + ".y.avi", "x" * 179),
    ],
)  # fmt: skip
def test_names_of_folders_are_names_on_windows_too_and_no_options(source, folder):
    assert result_folder_names([Path(source)]) == [folder]


def test_names_that_windows_holds_for_the_same_differ():
    names = result_folder_names(
        [*map(Path, ("aux.avi", "AUX.mp4", "aux_.avi", "e\u0301", "\u00e9"))]
    )
    assert names == ["aux_", "AUX_-2", "aux_-3", "\u00e9", "\u00e9-2"]


def test_a_result_folder_that_holds_more_is_not_replaced(tmp_path):
    folder = write_results(made_up(), tmp_path / "clip")
    (folder / "my notes.txt").write_text("x")
    with pytest.raises(OutputError, match=r"holds my notes\.txt, which echoseg did not write"):
        write_results(made_up(), folder, force=True)
    assert (folder / "my notes.txt").read_text() == "x"


def test_the_sheet_to_print_is_written_when_asked_for_and_is_the_same_twice(tmp_path):
    folders = [write_results(made_up(), tmp_path / name, pdf=True) for name in ("a", "b")]
    sheets = [(folder / results.PDF).read_bytes() for folder in folders]
    assert sheets[0] == sheets[1]
    assert sheets[0].startswith(b"%PDF") and b"/Count 1" in sheets[0]
    assert {path.name for path in folders[0].iterdir()} == results.FILES
    assert b"CreationDate" not in sheets[0]


def test_the_files_written_are_those_known_as_ours(written):
    assert {path.name for path in written[1].iterdir()} == results.FILES - {results.PDF}


def test_a_failure_takes_the_folders_it_made_away(tmp_path, monkeypatch):
    def cut(analysis, **how):
        raise OSError("disk full")

    monkeypatch.setattr(results, "curve_svg", cut)
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputError, match="disk full"):
        write_results(made_up(), tmp_path / "there" / "a" / "b" / "clip")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_checking_a_place_makes_nothing(tmp_path):
    check_output(tmp_path / "a" / "b" / "clip")
    assert list(tmp_path.iterdir()) == []


def test_the_published_schema_is_the_reports():
    published = Path(__file__).parents[2] / "docs" / "report.schema.json"
    # python -c "import json; from echoseg.report.schema import json_schema;
    #            print(json.dumps(json_schema(), indent=2))" > docs/report.schema.json
    assert json.loads(published.read_text()) == json_schema()

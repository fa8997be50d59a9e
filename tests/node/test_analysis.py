"""What a worker does with a study: what was lost for a moment is tried again, not given up."""

from dataclasses import replace

import pydicom
import pytest

from dicom_makers import MODEL, reliability, write_source
from echoseg.errors import OutputError
from echoseg.inference.analysis import analyze_masks
from echoseg.io import load_clip
from echoseg.node.analysis import StudyTask, analyze_study, study_settings
from echoseg.report import study
from echoseg.report.cohort import work


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Analyze a study of one clip by its true masks; `errors` are raised before, one a call."""
    source = tmp_path / "studies" / "study-1" / "0123456789abcdef.dcm"
    source.parent.mkdir(parents=True)
    masks, errors = write_source(source), []

    def analyze(settings, entry, masks_held=None):
        if errors:
            raise errors.pop(0)
        analysis = analyze_masks(load_clip(entry.source), masks)
        return replace(analysis, model=MODEL, reliability=reliability())

    for module in (work, study):
        monkeypatch.setattr(module, "analyze_entry", analyze)
    monkeypatch.setattr(work, "load_analyzer", lambda *_: None)
    settings = study_settings("camus").model_copy(update={"backend": "torch", "pdf": False})
    task = StudyTask(folder=tmp_path, name="study-1", settings=settings)
    return errors, lambda **options: analyze_study(task.model_copy(update=options))


def kinds(folder, result):
    paths = [folder / one.path for one in result.objects]
    return sorted(pydicom.dcmread(path).Modality for path in paths)


def test_a_clip_for_which_memory_ran_out_is_tried_again(run, tmp_path):
    errors, analyze = run
    errors.append(MemoryError())
    with pytest.raises(OutputError, match="1 clips have no result yet: memory ran out"):
        analyze()
    result = analyze()
    assert kinds(tmp_path, result) == ["OT", "SEG", "SR"] and result.reason == ""


def test_the_last_try_sends_what_there_is(run):
    errors, analyze = run
    errors.append(MemoryError())
    result = analyze(is_last=True)
    assert result.objects == () and result.reason == "1 failed"


def test_a_heart_that_was_lost_is_tried_again(run, tmp_path, monkeypatch):
    _, analyze = run
    with monkeypatch.context() as patch:
        patch.setattr(study, "_write_heart", lambda *_: f"{study.NOT_WRITTEN}: killed")
        with pytest.raises(OutputError, match="killed"):
            analyze()
    assert "SR" in kinds(tmp_path, analyze())


@pytest.mark.parametrize(
    ("simplified", "class_uid"),
    [(False, "1.2.840.10008.5.1.4.1.1.88.33"), (True, "1.2.840.10008.5.1.4.1.1.88.72")],
)
def test_the_report_is_of_the_class_that_is_set(run, simplified, class_uid):
    _, analyze = run
    classes = {one.class_uid for one in analyze(simplified_sr=simplified).objects}
    assert class_uid in classes
    assert sum(".88." in uid for uid in classes) == 1

"""Signatures, blinded second reads, their agreement, and corrected clips as training data."""

import numpy as np
import pytest

from echoseg.data.custom import collect
from echoseg.errors import DatasetError, OutputError
from echoseg.inference.ef_statement import state_ef
from echoseg.web.accounts import Reader
from echoseg.web.api import Brush, DecisionRequest, EditRequest
from echoseg.web.reading.agreement import MIN_PAIRS, compare_reads, with_limits
from echoseg.web.records import Role
from echoseg.web.refusal import Refusal
from reading_makers import page_with_clip

ADA, BEN, CAI = (Reader(name, Role.READER) for name in ("ada", "ben", "cai"))


@pytest.fixture
def page_and_clip(settings, tmp_path):
    page, clip = page_with_clip(settings, tmp_path)
    yield page, clip
    page.close()


def edit(page, clip, slot, reader, *, radius_px=14.0, frame=None):
    shown = page.readings.reading(clip, slot, reader)
    frame = shown.es_frame if frame is None else frame
    stroke = Brush(frame=frame, structure="lv_cavity", line=((95, 60),), radius_px=radius_px)
    request = EditRequest(revision=shown.revision, operation=stroke)
    return page.readings.edit(clip, slot, reader, request)


def sign(page, clip, slot, reader, decision="accepted", reason="clear borders"):
    revision = page.readings.reading(clip, slot, reader).revision
    request = DecisionRequest(revision=revision, decision=decision, reason=reason)
    return page.readings.decide(clip, slot, reader, request)


def refused(status, action, *given, **named):
    with pytest.raises(Refusal) as caught:
        action(*given, **named)
    assert caught.value.status_code == status
    return str(caught.value)


def test_a_signed_reading_takes_no_more_edits_until_it_is_reopened(page_and_clip):
    page, clip = page_and_clip
    edit(page, clip, 1, ADA)
    assert "reason" in refused(422, sign, page, clip, 1, ADA, "rejected", " ")
    signed = sign(page, clip, 1, ADA)
    assert (signed.decision, signed.can_undo, signed.can_redo) == ("accepted", False, False)
    assert "signed" in refused(409, edit, page, clip, 1, ADA)
    refused(409, page.readings.undo, clip, 1, ADA, signed.revision)
    refused(409, sign, page, clip, 1, ADA)
    assert page.worklist.row(clip).decision == "accepted"
    opened = sign(page, clip, 1, ADA, "reopened", "annulus")
    assert opened.decision == "" and opened.can_undo
    edit(page, clip, 1, ADA, frame=21)
    kinds = [one.kind for one in page.readings.history(clip, 1, ADA)]
    assert kinds == ["brush", "accepted", "reopened", "brush"]


def test_who_signs_need_not_be_who_began(page_and_clip):
    page, clip = page_and_clip
    edit(page, clip, 1, ADA)
    signed = sign(page, clip, 1, BEN)
    assert (signed.reader, signed.signed_by) == ("ada", "ben")
    reopened = sign(page, clip, 1, ADA, "reopened")
    assert (reopened.reader, reopened.signed_by) == ("ada", "")


def test_a_second_reader_sees_the_network_alone_until_both_have_signed(page_and_clip):
    page, clip = page_and_clip
    network = page.readings.reading(clip, 1, CAI)
    assert "has not begun" in refused(409, page.readings.reading, clip, 2, BEN)
    first = edit(page, clip, 1, ADA)
    assert first.ef.ef_percent != network.ef.ef_percent
    second = page.readings.reading(clip, 2, BEN)
    assert (second.revision, second.ef, second.contours) == (0, network.ef, network.contours)
    edit(page, clip, 2, BEN, radius_px=9.0)
    for action in (page.readings.reading, page.readings.history, page.readings.analysis):
        assert "second reader" in refused(403, action, clip, 1, BEN)
        assert "another reader's" in refused(403, action, clip, 2, ADA)
    refused(403, edit, page, clip, 2, CAI)
    row = page.worklist.row(clip)
    assert (row.is_corrected, row.decision) == (False, "")
    assert row.ef_percent == pytest.approx(network.ef.ef_percent, abs=0.06)
    log = page.audit.path.read_text()
    assert "percent" not in log and str(first.ef.ef_percent)[:5] not in log
    sign(page, clip, 2, BEN)
    assert page.readings.reading(clip, 1, BEN).ef == first.ef
    assert "Sign the first read" in refused(403, page.readings.reading, clip, 2, ADA)
    sign(page, clip, 1, ADA)
    assert page.readings.reading(clip, 2, ADA).decision == "accepted"
    assert page.worklist.row(clip).ef_percent == pytest.approx(first.ef.ef_percent)


def test_who_saw_the_first_read_cannot_do_the_second(page_and_clip):
    page, clip = page_and_clip
    edit(page, clip, 1, ADA)
    page.readings.history(clip, 1, BEN)
    assert "seen the first read" in refused(403, page.readings.reading, clip, 2, BEN)
    assert "seen the first read" in refused(403, page.readings.reading, clip, 2, ADA)
    edit(page, clip, 2, CAI)
    assert "corrects it" not in refused(403, edit, page, clip, 1, CAI)


def test_agreement_counts_pairs_that_stayed_independent(page_and_clip):
    page, clip = page_and_clip
    edit(page, clip, 1, ADA)
    edit(page, clip, 2, BEN, radius_px=9.0)
    one, two = sign(page, clip, 1, ADA), sign(page, clip, 2, BEN)
    answer = page.readings.agreement()
    assert answer.ef_percent.n == 1 and answer.num_reopened == 0
    assert answer.ef_percent.bias == pytest.approx(one.ef.ef_percent - two.ef.ef_percent)
    assert page.readings._ef_agreement() == answer.ef_percent
    sign(page, clip, 1, ADA, "reopened", "after all")
    sign(page, clip, 1, ADA)
    again = page.readings.agreement()
    assert page.readings._ef_agreement() == again.ef_percent  # held until a decision
    assert (again.ef_percent.n, again.num_reopened) == (0, 1)


def test_limits_of_agreement_are_the_interval_of_a_reader_from_twenty_pairs_on():
    rng = np.random.default_rng(0)
    truth = rng.uniform(30, 70, MIN_PAIRS)
    pairs = list(zip(truth + rng.normal(0, 3, MIN_PAIRS), truth, strict=True))
    result = compare_reads([*pairs, (None, 50.0)])
    assert result.n == MIN_PAIRS
    stated = with_limits(state_ef(55.0), result)
    reach = 1.96 * np.std([a - b for a, b in pairs], ddof=1)
    assert stated.interval.low_percent == pytest.approx(55 - reach)
    assert "two readers on 20 clips" in stated.interval.source
    assert with_limits(state_ef(55.0), compare_reads(pairs[1:])).interval is None
    assert with_limits(state_ef(None), result).interval is None


def test_accepted_corrections_are_a_data_set(page_and_clip, tmp_path):
    page, clip = page_and_clip
    folder = tmp_path / "training"
    with pytest.raises(DatasetError, match="no corrected clip is accepted yet"):
        page.readings.write_training_data(folder, ADA)
    assert not folder.exists()
    edit(page, clip, 1, ADA, frame=20)
    sign(page, clip, 1, ADA)
    answer = page.readings.write_training_data(folder, ADA)
    assert (answer.num_clips, answer.num_unsigned) == (1, 0)
    ((loaded, annotation),) = collect(folder)
    analysis = page.readings.analysis(clip, 1, ADA)
    assert np.array_equal(annotation.masks, analysis.masks)
    ends = {analysis.measurement.ed_frame, analysis.measurement.es_frame}
    assert annotation.labelled_frames == tuple(sorted({20, *ends}))
    assert loaded.frames.shape == annotation.masks.shape
    assert loaded.spacing_mm == pytest.approx((1.001, 1.001))
    assert loaded.frame_rate_hz == pytest.approx(40)
    with pytest.raises(OutputError, match="exists already"):
        page.readings.write_training_data(folder, ADA)


def test_the_report_names_the_reader_and_keeps_the_networks_ef(page_and_clip):
    page, clip = page_and_clip
    network = page.readings.reading(clip, 1, ADA).network_ef
    edit(page, clip, 1, ADA)
    sign(page, clip, 1, ADA)
    analysis = page.readings.analysis(clip, 1, CAI)
    assert (analysis.reading.reader, analysis.reading.decision) == ("ada", "accepted")
    assert analysis.reading.is_corrected and analysis.reading.network_ef == network
    assert "corrected_by_reader" in {one.code for one in analysis.notes}

"""Which clips of a folder are of one heart: by their headers, else by names, else by folder."""

import pytest
from PIL import Image
from pydicom.dataset import Dataset

from clip_makers import moving_frames, save_object
from echoseg.clip import View
from echoseg.errors import ConfigError
from echoseg.io.dicom_view import view_code
from echoseg.report.hearts import find_hearts, split_name

FRAMES = moving_frames(3)


def hearts(root):
    found = {heart.name: heart for heart in find_hearts(root)[0]}
    return {
        name: {c.name: (c.view, c.view_from) for c in heart.clips} for name, heart in found.items()
    }


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def coded(view):
    code, item = view_code(view), Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return {"ViewCodeSequence": [item]}


def test_files_are_of_one_heart_by_what_their_names_share(tmp_path):
    touch(tmp_path, "p2_2CH.avi", "p1_A4C.mp4", "p1_a2c.mp4", "p2_4CH.nii.gz", "p3_A4C.avi")
    (tmp_path / "tables.csv").write_text("x")
    found = hearts(tmp_path)
    assert {name: sorted(clips) for name, clips in found.items()} == {
        "p1": ["p1_A4C.mp4", "p1_a2c.mp4"],
        "p2": ["p2_2CH.avi", "p2_4CH.nii.gz"],
        "p3": ["p3_A4C.avi"],
    }
    assert found["p1"]["p1_a2c.mp4"] == (View.A2C, "name")


def test_a_folder_with_one_clip_of_each_view_is_one_heart_and_folders_are_hearts(tmp_path):
    touch(tmp_path, "smith/IM1_A4C.avi", "smith/IM9_A2C.avi", "smith/x.avi", "jones/1.avi")
    found = hearts(tmp_path)
    assert {name: len(clips) for name, clips in found.items()} == {"smith": 3, "jones": 1}
    assert found["smith"]["smith/x.avi"] == (View.UNKNOWN, "pictures")


def test_objects_of_one_study_are_one_heart_and_the_header_states_the_view(tmp_path):
    for name, study, elements in (
        ("a/1", "1.2.3", coded(View.A4C)),
        ("b/2", "1.2.3", coded(View.PLAX)),
        ("b/3", "1.2.3", {}),
        ("b/4", "1.2.4", {}),
    ):
        save_object(tmp_path / name, FRAMES, PatientID="7", StudyInstanceUID=study, **elements)
    found = hearts(tmp_path)
    assert found == {
        tmp_path.name: {
            "a/1": (View.A4C, "header"),
            "b/2": (View.PLAX, "header"),
            "b/3": (View.UNKNOWN, "pictures"),
        },
        "b": {"b/4": (View.UNKNOWN, "pictures")},
    }


def test_clips_of_two_patients_are_never_one_heart(tmp_path):
    for name, patient in (("x_A4C.dcm", "1"), ("x_A2C.dcm", "2")):
        save_object(tmp_path / name, FRAMES, PatientID=patient, StudyInstanceUID="1.2.3")
    assert [len(clips) for clips in hearts(tmp_path).values()] == [1, 1]


def test_a_disc_of_several_patients_keeps_each_apart(tmp_path):
    for index, (patient, study, view) in enumerate(
        (
            ("A", "1.2.1", View.A4C), ("A", "1.2.1", View.A2C), ("B", "1.2.2", View.A4C),
            ("B", "1.2.2", View.A2C), ("C", "", View.A4C), ("C", "", View.A2C), ("D", "", View.A4C),
        )
    ):  # fmt: skip
        known = {"PatientID": patient, "StudyInstanceUID": study, **coded(view)}
        save_object(tmp_path / "DICOM" / f"IM{index:05d}", FRAMES, **known)
    found = find_hearts(tmp_path)[0]
    clips = sorted(sorted(int(clip.name[-5:]) for clip in heart.clips) for heart in found)
    assert clips == [[0, 1], [2, 3], [4, 5], [6]]
    assert len({heart.name for heart in found}) == 4


def test_two_studies_of_a_patient_are_two_hearts_whatever_the_names(tmp_path):
    for name, study in (("x_A4C.dcm", "1.2.3"), ("x_A2C.dcm", "1.2.4")):
        save_object(tmp_path / name, FRAMES, PatientID="1", StudyInstanceUID=study)
    for name in ("y_A4C.dcm", "y_A2C.dcm"):
        save_object(tmp_path / name, FRAMES, PatientID="1")
    assert sorted(map(sorted, hearts(tmp_path).values())) == [
        ["x_A2C.dcm"], ["x_A4C.dcm"], ["y_A2C.dcm", "y_A4C.dcm"],
    ]  # fmt: skip


def test_a_folder_without_a_clip_is_refused_with_what_it_holds(tmp_path):
    save_object(tmp_path / "SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
    with pytest.raises(ConfigError, match=r"holds no clip \(SR: .*Comprehensive SR"):
        find_hearts(tmp_path)


@pytest.mark.parametrize(
    ("name", "view", "rest", "without_take"),
    [
        ("p7_A4C", View.A4C, "p7", "p7"),
        ("patient0001_2CH_half_sequence", View.A2C, *["patient0001_half_sequence"] * 2),
        ("4ch", View.A4C, "", ""),
        ("Apical2 rest", View.A2C, "rest", "rest"),
        ("p1_A4C_2", View.A4C, "p1_2", "p1"),
        ("A2C 03", View.A2C, "03", ""),
        ("smith-4ch-stress-2", View.A4C, "smith_stress_2", "smith_stress"),
        ("plax", View.UNKNOWN, "plax", "plax"),
        ("0XA4C9", View.UNKNOWN, "0XA4C9", "0XA4C9"),
    ],
)
def test_the_view_is_read_from_the_name(name, view, rest, without_take):
    parts = split_name(name)
    assert (parts.view, parts.heart(False), parts.heart(True)) == (view, rest, without_take)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("p1_A4C_1 p1_A4C_2 p1_A2C", {"p1": 3}),  # takes of one heart
        ("p1_A4C_1 p1_A2C_1 p1_A4C_2 p1_A2C_2", {"p1": 4}),
        ("p1_A4C_1 p1_A2C p2_A4C p2_A2C_7 p2_3", {"p1": 2, "p2": 3}),
        ("A4C_1 A4C_2 A2C", {"study": 3}),
        ("A4C_1 A2C_1 A4C_2 A2C_2", {"1": 2, "2": 2}),  # numbers pair them, so they may be patients
        ("IM1_A4C IM2_A4C IM9_A2C IM5", {"study": 4}),  # no name pairs them: the folder is a study
        ("smith_A4C_1 smith_A4C_2 smith_A2C_1", {"smith": 3}),
        ("p1_A4C p1_A2C p1_3 other", {"p1": 4}),
        ("a b c", {"study": 3}),
        ("p1_A4C p2_A2C", {"p1": 1, "p2": 1}),  # perhaps two patients: never one biplane EF
        ("smith_A4C jones_A2C_2", {"smith": 1, "jones_2": 1}),
        ("0012_A4C 0013_A2C", {"0012": 1, "0013": 1}),
        ("img_01_A4C clip2_A2C", {"study": 2}),
    ],
)
def test_a_folder_is_one_heart_unless_names_pair_the_views(tmp_path, names, expected):
    folder = tmp_path / "study"
    touch(folder, *(f"{name}.avi" for name in names.split()))
    assert {name: len(clips) for name, clips in hearts(folder).items()} == expected


def test_an_animation_beside_the_clips_of_a_disc_is_not_a_heart(tmp_path):
    (tmp_path / "VIEWER").mkdir()
    first, *rest = (Image.fromarray(frame) for frame in FRAMES)
    for name in ("busy.gif", "busy.webp", "pages.tif"):
        first.save(tmp_path / "VIEWER" / name, save_all=True, append_images=rest)
    assert len(hearts(tmp_path)["VIEWER"]) == 3  # what else would be the study?
    save_object(tmp_path / "IM_1", FRAMES, StudyInstanceUID="1.2.3")
    found, others = find_hearts(tmp_path)
    assert [clip.name for heart in found for clip in heart.clips] == ["IM_1"]
    assert len(others) == 3 and "viewer program" in others["VIEWER/busy.gif"]

import numpy as np
import pytest

from echoseg.clip import Annotation, Clip


def masks(num_frames=5, top=3):
    made = np.zeros((num_frames, 6, 8), np.uint8)
    made[:, 2:4, 2:5] = top
    return made


def test_all_frames_are_labelled_by_default():
    assert Annotation(masks=masks()).labelled_frames == (0, 1, 2, 3, 4)
    assert Annotation(masks=masks(), labelled_frames=()).labelled_frames == ()


def test_unknown_values_stay_unknown():
    known = Annotation(masks=masks(), ed_frame=0, es_frame=3, ef_percent=61.5, quality="Good")
    assert (known.edv_ml, known.esv_ml) == (None, None)
    assert known.ef_percent == 61.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"masks": masks()[0]}, r"masks must be a non-empty \(T, H, W\) uint8 array, got \(6, 8\)"),
        ({"masks": masks().astype(int)}, "uint8 array, got .* int64"),
        ({"masks": masks(top=4)}, "labels 0 to 3, got 4"),
        ({"labelled_frames": (2, 1)}, "labelled_frames must increase"),
        ({"labelled_frames": (1, 1)}, "labelled_frames must increase"),
        ({"labelled_frames": (1, 5)}, "labelled_frames must be 0 to 4, .* got 5"),
        ({"ed_frame": -1}, "ed_frame must be 0 to 4, .* got -1"),
        ({"es_frame": 5}, "es_frame must be 0 to 4"),
        ({"ed_frame": 2, "es_frame": 2}, "must differ, both are 2"),
        ({"ef_percent": 101.0}, "ef_percent must be 0 to 100, got 101"),
        ({"ef_percent": float("nan")}, "ef_percent must be 0 to 100, got nan"),
        ({"edv_ml": 0.0}, "edv_ml must be positive and finite, got 0"),
        ({"esv_ml": float("inf")}, "esv_ml must be positive and finite, got inf"),
        ({"edv_ml": 50.0, "esv_ml": 60.0}, "esv_ml must not be over edv_ml, got 60 and 50"),
        ({"quality": "Good\nor not"}, "quality must be one line"),
    ],
)
def test_what_would_make_a_number_wrong_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Annotation(**({"masks": masks()} | changes))


def test_masks_of_another_clip_are_refused():
    known = Annotation(masks=masks())
    known.check_fits(Clip(frames=np.zeros((5, 6, 8), np.uint8)))
    with pytest.raises(ValueError, match=r"clip's shape \(4, 6, 8\), got \(5, 6, 8\)"):
        known.check_fits(Clip(frames=np.zeros((4, 6, 8), np.uint8)))


@pytest.mark.parametrize(
    ("times_s", "words"),
    [
        (np.arange(4.0), r"times_s must be 5 increasing times, one per frame, got shape \(4,\)"),
        (np.array([0.0, 0.1, 0.1, 0.2, 0.3]), "increasing"),
        (np.array([0.0, 0.1, np.nan, 0.2, 0.3]), "increasing"),
        (np.array([0.0, 0.1, 0.2, 0.3, np.inf]), "increasing"),
        (np.ones((5, 1)), "increasing"),
    ],
)
def test_times_that_are_none_of_the_frames_are_refused(times_s, words):
    with pytest.raises(ValueError, match=words):
        Clip(frames=masks(), times_s=times_s)


def test_times_in_a_list_are_refused_where_they_are_given():
    with pytest.raises(TypeError, match="times_s must be a numpy array, got list; pass"):
        Clip(frames=masks(), times_s=[0.0, 0.1, 0.2, 0.3, 0.4])

"""Answers of the server that are lost or break off: what is stored is not sent twice, nor lost."""

import time

import pytest

EDITS = "/api/clips/clip0/edits"
ELSEWHERE = "This reading was changed elsewhere."
EXCLUDE = {"kind": "beat", "beat": 1, "is_excluded": True}


def settled(page, revision):
    """Wait until every edit was answered."""
    page.locator(f'.pane[data-waiting="0"][data-revision="{revision}"]').wait_for()


def stored(fake):
    return [state["operation"] for state in fake.states[1:]]


def edit_thrice(page):
    """Three edits, of which two wait for the answer to the first."""
    page.keyboard.press("d")
    page.get_by_label("Beat 2 is part of the mean").uncheck()
    page.get_by_label("View", exact=True).select_option("A2C")
    page.keyboard.press("Escape")  # leave the fields: the next keys are those of the page


@pytest.mark.parametrize("num_lost", [1, 2, 3])
def test_an_edit_whose_answer_is_lost_is_stored_once_and_what_waits_after_it(page, fake, num_lost):
    fake.num_lost = num_lost  # after the first one the browser itself sends it again
    edit_thrice(page)
    settled(page, 3)
    assert [one["kind"] for one in stored(fake)] == ["beat", "beat", "view"]
    assert page.locator("#say").inner_text() == "ED set to frame 0."
    assert page.locator(".view .note").inner_text() == ""
    assert page.get_by_label("View", exact=True).input_value() == "A2C"


@pytest.mark.parametrize("num_cut", [1, 2])
def test_an_answer_that_breaks_off_ends_nothing(page, fake, num_cut):
    fake.num_cut = num_cut
    edit_thrice(page)
    page.locator(".view .note", has_text="not stored yet").wait_for()
    settled(page, 3)
    assert [one["kind"] for one in stored(fake)] == ["beat", "beat", "view"]
    assert page.locator(".view .note").inner_text() == ""
    page.keyboard.press("Control+z")
    settled(page, 2)


def test_undo_redo_and_a_signature_whose_answers_are_lost(page, fake):
    edit_thrice(page)
    settled(page, 3)
    fake.num_lost = 1
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    settled(page, 1)
    for state in fake.states[1:]:
        state["time"] -= 60
    fake.num_lost = 2
    page.keyboard.press("Control+Shift+Z")
    settled(page, 2)
    assert page.locator("#say").inner_text() == "ED set to frame 0."
    fake.num_lost = 2
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("dialog").get_by_role("button", name="Accept").click()
    page.locator(".decision.accepted").wait_for()
    settled(page, 2)
    assert ELSEWHERE not in page.locator("#say").inner_text()
    assert [row[4] for row in fake.signatures] == ["accepted"]


@pytest.mark.parametrize("is_down", [False, True])
def test_the_same_edit_of_another_window_is_not_taken_for_this_one(page, fake, is_down):
    fake._edit({"operation": EXCLUDE})
    fake.states[1]["time"] = time.time() - 60
    fake.is_down = is_down
    page.get_by_label("Beat 2 is part of the mean").uncheck()
    if is_down:
        page.locator(".view .note", has_text="not stored yet").wait_for()
        fake.is_down = False
    page.locator("#say", has_text=ELSEWHERE).wait_for()
    settled(page, 1)
    assert stored(fake) == [EXCLUDE]


def test_a_redo_that_another_window_makes_impossible_says_so(page, fake):
    page.keyboard.press("d")
    settled(page, 1)
    page.keyboard.press("Control+z")
    settled(page, 0)
    fake._edit({"operation": EXCLUDE})
    page.keyboard.press("Control+Shift+Z")
    page.locator("#say", has_text=ELSEWHERE).wait_for()
    settled(page, 1)


def test_an_answer_that_cannot_be_shown_says_so_and_ends_nothing(page, fake):
    send = fake.post
    fake.post = lambda path, body: (send(path, body)[0], None)
    page.keyboard.press("d")
    page.locator("#say", has_text="could not be shown").wait_for()
    settled(page, 1)
    fake.post = send
    page.get_by_label("Beat 2 is part of the mean").uncheck()
    settled(page, 2)

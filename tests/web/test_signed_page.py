"""Signed readings in Chromium: what would edit is disabled, or says that the reading is signed."""

import pytest

from browsers import drag

EDITS = "/api/clips/clip0/edits"
SIGNED = "This reading is signed. Reopen it first to change it."
ITEMS = ("Carry to neighbors", "Set ED here", "Set ES here", "Exclude this beat", "Add or remove")


def edits(fake):
    return [body["operation"] for path, body in fake.requests if path == EDITS]


def settled(page):
    """Wait until every edit was answered."""
    page.locator('.pane[data-waiting="0"]').wait_for()


def said(page):
    return page.locator("#say").inner_text()


def forget(page):
    page.evaluate("document.getElementById('say').textContent = ''")


def accept(page):
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("dialog").get_by_role("button", name="Accept").click()
    page.locator(".decision.accepted").wait_for()


def test_what_edits_is_disabled_in_a_signed_reading_until_it_is_reopened(page, fake):
    page.keyboard.press("b")
    accept(page)
    assert page.get_by_role("button", name="Look").get_attribute("aria-pressed") == "true"
    controls = [page.get_by_label("Beat 2 is part of the mean"), page.get_by_label("View")]
    page.get_by_text("More", exact=True).click()
    controls += [page.get_by_role("button", name=name) for name in ITEMS]
    assert [one.is_disabled() for one in controls] == [True] * 7
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Reopen").click()
    page.get_by_label("Reason", exact=True).fill("another beat")
    page.get_by_role("dialog").get_by_role("button", name="Reopen").click()
    page.get_by_role("button", name="Accept").wait_for()
    page.get_by_text("More", exact=True).click()
    assert [one.is_disabled() for one in controls] == [False] * 7
    assert edits(fake) == []


@pytest.mark.parametrize("key", [*"pbekacdsx", "Control+z", "Control+Shift+Z"])
def test_a_key_that_edits_says_that_the_reading_is_signed(page, fake, key):
    accept(page)
    page.keyboard.press(key)
    assert said(page) == SIGNED
    assert [path for path, _ in fake.requests] == ["/api/clips/clip0/decision"]


def test_marks_of_a_signed_reading_stay_and_say_why(page, fake):
    accept(page)
    mark = page.locator('[data-mark="ed1"]')
    place = mark.get_attribute("transform")
    drag(page, mark.locator("circle").last, 60)
    assert said(page) == SIGNED
    forget(page)
    mark.focus()
    page.keyboard.press("ArrowRight")
    assert said(page) == SIGNED
    assert mark.get_attribute("transform") == place
    assert mark.get_attribute("aria-disabled") == "true"
    assert edits(fake) == []


def test_an_edit_of_a_reading_that_another_window_signed_says_so(page, fake):
    fake.decision = ("accepted", "")
    page.keyboard.press("d")
    page.locator("#say", has_text="signed elsewhere").wait_for()
    page.locator(".decision.accepted").wait_for()
    page.keyboard.press("d")
    assert said(page) == SIGNED


@pytest.mark.parametrize("item", ["Set ED here", "Exclude this beat", "Add or remove"])
def test_nothing_is_said_to_be_done_that_the_server_refuses(page, fake, item):
    said_all = []
    page.expose_function("heard", lambda text: said_all.append(text))
    page.evaluate("""() => new MutationObserver(
      () => window.heard(document.getElementById("say").textContent)
    ).observe(document.getElementById("say"), { childList: true, characterData: true })""")
    fake.refusals.append((422, "This cannot be done."))
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name=item).click()
    page.locator("#say", has_text="This cannot be done.").wait_for()
    settled(page)
    page.wait_for_timeout(50)
    assert said_all == ["Not stored: This cannot be done."]


def test_an_edit_is_confirmed_once_it_is_stored(page, fake):
    with fake.lock:  # the server does not answer yet
        page.keyboard.press("d")
        page.wait_for_timeout(100)
        assert said(page) == ""
    page.locator("#say", has_text="ED set to frame 0.").wait_for()
    page.keyboard.press("x")
    page.locator("#say", has_text="Beat 1 is excluded from the mean.").wait_for()


def test_the_history_says_which_end_of_a_beat_and_which_frame(page, fake):
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("d")
    page.keyboard.press("s")
    page.get_by_label("Beat 2 is part of the mean").uncheck()
    page.locator('.pane[data-waiting="0"][data-revision="3"]').wait_for()
    page.keyboard.press("Escape")
    page.get_by_label("Beat 2 is part of the mean").check()
    page.locator('.pane[data-waiting="0"][data-revision="4"]').wait_for()
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="History").click()
    what = page.locator("table.history tr td:nth-child(4)").all_inner_texts()
    assert what[1:] == [
        "ED set to frame 3", "ES set to frame 3",
        "beat 2 excluded", "beat 2 part of the mean again",
    ]  # fmt: skip
    page.get_by_role("button", name="Show version 2").click()
    bar = page.get_by_role("group", name="An earlier version is shown")
    assert "ES set to frame 3, by tester" in bar.inner_text()


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_decision_without_its_reason_says_that_one_is_needed(page, fake, reason):
    page.get_by_role("button", name="Reject").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name="Reject").click()
    why = dialog.get_by_role("alert")
    assert why.inner_text() == "Not rejected: a reason is needed."
    assert dialog.get_by_label("Reason").get_attribute("aria-invalid") == "true"
    dialog.get_by_label("Reason").fill("foreshortened")
    assert not why.count()
    dialog.get_by_role("button", name="Reject").click()
    page.locator(".decision.rejected", has_text="foreshortened").wait_for()


def test_a_scale_without_its_length_says_what_is_missing(page, fake):
    page.get_by_role("button", name="Set pixel spacing").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Set scale").click()
    assert "fill" in dialog.get_by_role("alert").inner_text()


def frame_of(page):
    return page.locator(".pane").get_attribute("data-frame")


def test_after_a_drag_by_mouse_the_arrow_keys_step_frames(page, fake):
    page.get_by_role("button", name="Points").click()
    drag(page, page.locator(".handle").nth(3), 60)
    settled(page)
    page.keyboard.press("ArrowRight")
    assert frame_of(page) == "1"
    page.keyboard.press("Delete")  # the point of another frame was not chosen
    page.wait_for_timeout(500)
    assert len(edits(fake)) == 1
    page.keyboard.press("ArrowLeft")
    drag(page, page.locator(".handle").nth(3), 5)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # moves the point that Tab went to
    page.keyboard.press("Escape")
    settled(page)
    assert frame_of(page) == "0" and len(edits(fake)) == 3


def test_after_a_drag_of_a_mark_the_arrow_keys_step_frames(page, fake):
    drag(page, page.locator('[data-mark="es0"] circle').last, 60)
    settled(page)
    frame = int(frame_of(page))
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(600)
    assert int(frame_of(page)) == frame + 1 and len(edits(fake)) == 1

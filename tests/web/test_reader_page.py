"""The reader page in Chromium against a server that plays along, refuses, or is gone."""

import itertools

import pytest

from browsers import drag, opened
from echoseg.inference.ef_statement import state_ef
from fake_page import FakePage, running
from worklist_makers import wait_for

EDITS = "/api/clips/clip0/edits"


def posted(fake, path=EDITS):
    return [body for where, body in fake.requests if where == path]


def settled(page):
    """Wait until every edit was answered."""
    page.locator('.pane[data-waiting="0"]').wait_for()


def test_a_drag_of_a_control_point_changes_ef_history_and_curve(page, fake):
    before = page.locator("#ef").inner_text()
    line = page.locator(".curve .line").get_attribute("d")
    page.keyboard.press("p")
    drag(page, page.locator(".handle").nth(3), 60)
    settled(page)
    (body,) = posted(fake)
    assert body["revision"] == 0
    assert body["operation"]["kind"] == "contour"
    assert body["operation"]["points"][3][0] > fake._ellipse(0)[3][0] + 20
    assert page.locator("#ef").inner_text() != before
    assert page.locator(".curve .line").get_attribute("d") != line
    assert "corrected by reader" in page.locator(".ef").inner_text()
    own = page.locator(".network").inner_text().replace("\xa0", " ")
    assert own == "network 50 %, 90 % interval 40 to 66 %"
    page.keyboard.press("h")
    assert "contour" in page.locator("table.history").inner_text()


ORANGE_PIXELS = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4)
    count += data[i] > 240 && Math.abs(data[i + 1] - 138) < 12 && Math.abs(data[i + 2] - 61) < 12;
  return count;
}"""


def test_contours_of_a_running_analysis_are_provisional_until_it_is_ready(browser, fake):
    detail = fake.detail()
    detail["row"] |= {"state": "running"}
    curves = [fake._curves(fake.states[0], frame).model_dump(mode="json") for frame in range(2)]
    fake.answers = {"clip0": detail, "curves": {"contours": []}}
    with running(fake) as url, opened(browser, f"{url}/clip/clip0") as page:
        page.locator('.pane[data-provisional="0"]').wait_for()
        canvas = page.locator("canvas.cine")
        assert canvas.evaluate(ORANGE_PIXELS) == 0
        fake.answers["curves"] = {"contours": curves}
        page.locator('.pane[data-provisional="2"]').wait_for()
        dashed = canvas.evaluate(ORANGE_PIXELS)
        text = page.locator(".numbers").inner_text()
        assert "12 of 30 frames" in text and "provisional" in text and "%" not in text
        page.keyboard.press("ArrowRight")
        page.locator('.pane[data-frame="1"]').wait_for()
        assert canvas.evaluate(ORANGE_PIXELS) > 0
        for key in ("p", "d", "x", "c", "h", "Control+z"):
            page.keyboard.press(key)
        assert page.get_by_role("button", name="Points").is_disabled()
        assert page.locator(".handle").count() == page.locator("dialog").count() == 0
        page.keyboard.press("Home")
        fake.answers = {}
        page.locator("#ef").wait_for()
        page.locator('.pane[data-provisional=""]').wait_for()
        assert 0.4 * canvas.evaluate(ORANGE_PIXELS) < dashed < 0.8 * canvas.evaluate(ORANGE_PIXELS)
        assert page.get_by_role("button", name="Points").is_enabled()
    assert posted(fake) == []


def test_a_clip_without_frames_yet_says_what_it_waits_for(browser, fake):
    detail = fake.detail() | {"num_frames": 0}
    fake.answers = {"clip0": detail | {"row": detail["row"] | {"state": "queued", "num_frames": 0}}}
    with running(fake) as url, opened(browser, f"{url}/clip/clip0") as page:
        page.get_by_text("It waits for its turn.").wait_for()
        fake.answers["clip0"]["row"]["state"] = "running"
        page.get_by_text("Its file is being read.").wait_for()
        fake.answers = {}
        page.locator("#ef").wait_for()


def test_a_clip_whose_analysis_fails_while_it_is_shown_says_why(browser, fake):
    detail = fake.detail()
    detail["row"] |= {"state": "running"}
    fake.answers = {"clip0": detail, "curves": {"contours": []}}
    with running(fake) as url, opened(browser, f"{url}/clip/clip0") as page:
        page.locator('.pane[data-provisional="0"]').wait_for()
        failed = {"state": "failed", "reason": "no ultrasound sector"}
        fake.answers["clip0"] = detail | {"row": detail["row"] | failed}
        page.get_by_text("no ultrasound sector").wait_for()


def test_a_point_stays_in_the_picture(page, fake):
    page.keyboard.press("p")
    handle = page.locator(".handle").nth(3)
    drag(page, handle, 3000, -3000)
    settled(page)
    handle.scroll_into_view_if_needed()
    surface, box = page.locator(".surface").bounding_box(), handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert surface["x"] <= x <= surface["x"] + surface["width"] + 1
    assert surface["y"] - 1 <= y <= surface["y"] + surface["height"]
    assert len(posted(fake)) == 1


def test_escape_takes_a_drag_back(page, fake):
    page.keyboard.press("p")
    handle = page.locator(".handle").nth(3)
    box = handle.bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 12)
    page.keyboard.press("Escape")
    page.mouse.up()
    assert handle.bounding_box() == box
    assert posted(fake) == []


def test_a_correction_by_keyboard_alone(page, fake):
    page.keyboard.press("p")  # the first point has the focus now
    for _ in range(3):
        page.keyboard.press("Tab")
    assert "point 4 of 10" in page.evaluate("document.activeElement.ariaLabel")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Tab")  # leaving the point sends it
    settled(page)
    (body,) = posted(fake)
    x, y = fake._ellipse(0)[3]
    assert body["operation"]["points"][3] == pytest.approx([x + 11, y], abs=0.02)
    assert len(body["operation"]["points"]) == 10
    page.keyboard.press("a")
    settled(page)
    assert len(posted(fake)[1]["operation"]["points"]) == 11
    page.keyboard.press("Delete")
    settled(page)
    assert len(posted(fake)[2]["operation"]["points"]) == 10
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    settled(page)
    assert "network" == page.locator(".ef .badge").inner_text()
    assert page.get_by_role("button", name="Undo").is_disabled()
    page.keyboard.press("Control+Shift+Z")
    settled(page)
    assert "corrected by reader" == page.locator(".ef .badge").inner_text()


def test_edits_are_sent_in_order_each_on_the_answer_to_the_one_before(page, fake):
    page.keyboard.press("b")
    box = page.locator(".surface").bounding_box()
    for i in range(5):
        page.mouse.move(box["x"] + 300, box["y"] + 100 + 40 * i)
        page.mouse.down()
        page.mouse.move(box["x"] + 330, box["y"] + 110 + 40 * i)
        page.mouse.up()
    settled(page)
    assert [body["revision"] for body in posted(fake)] == [0, 1, 2, 3, 4]
    first = posted(fake)[0]["operation"]
    assert first["kind"] == "brush" and not first["is_erasing"] and first["radius_px"] > 0
    page.keyboard.press("]")
    page.keyboard.press("e")
    page.mouse.click(box["x"] + 320, box["y"] + 200)
    settled(page)
    last = posted(fake)[-1]["operation"]
    assert last["is_erasing"] and last["radius_px"] > first["radius_px"]


def test_a_conflict_shows_the_reading_anew_and_says_so(page, fake):
    fake._edit({"operation": {"kind": "view", "view": "A2C"}})  # by another window
    page.keyboard.press("x")
    page.locator("#say", has_text="changed elsewhere").wait_for()
    settled(page)
    assert page.get_by_label("View", exact=True).input_value() == "A2C"
    page.keyboard.press("x")
    settled(page)
    assert [body["revision"] for body in posted(fake)] == [0, 1]


def test_a_refused_edit_is_not_drawn_and_the_reason_is_shown(page, fake):
    fake.refusals.append((422, "The contour crosses itself."))
    page.keyboard.press("p")
    handle = page.locator(".handle").nth(3)
    box = handle.bounding_box()
    drag(page, handle, 60)
    page.locator("#say", has_text="The contour crosses itself.").wait_for()
    settled(page)
    assert handle.bounding_box() == box


def test_nothing_is_lost_while_the_server_is_gone(page, fake):
    fake.is_down = True
    page.keyboard.press("p")
    drag(page, page.locator(".handle").nth(3), 60)
    page.locator(".view .note", has_text="not stored yet").wait_for()
    drag(page, page.locator(".handle").nth(2), 40)
    fake.is_down = False
    settled(page)
    assert [body["revision"] for body in posted(fake)] == [0, 1]
    assert page.locator(".view .note").inner_text() == ""


def test_a_correction_is_carried_only_after_its_preview_was_taken(page, fake):
    page.keyboard.press("c")
    take = page.get_by_role("button", name="Take it")
    assert take.is_disabled()
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("Dashed: the preview").wait_for()
    assert posted(fake) == []
    page.get_by_label("Last frame").fill("5")
    assert take.is_disabled()  # what is taken is what was shown
    page.get_by_role("button", name="Preview").click()
    take.click()
    settled(page)
    assert posted(fake)[0]["operation"] == {
        "kind": "carry", "frame": 0, "first": 0, "last": 5, "by": "flow",
    }  # fmt: skip


def test_an_earlier_version_is_shown_and_taken_as_a_new_one(page, fake):
    page.keyboard.press("p")
    drag(page, page.locator(".handle").nth(3), 60)
    settled(page)
    corrected = page.locator("#ef").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("x")  # version 2
    settled(page)
    page.keyboard.press("h")
    page.get_by_role("button", name="Show version 0").click()
    bar = page.get_by_role("group", name="An earlier version is shown")
    assert "network's own result" in bar.inner_text()
    assert page.locator("#ef").inner_text() != corrected
    assert page.locator(".ef .badge").inner_text() == "network"
    page.keyboard.press("p")
    assert page.locator(".handle").count() == 0  # read-only
    assert page.get_by_role("button", name="Accept").count() == 0
    page.keyboard.press("x")
    page.keyboard.press("Control+z")
    settled(page)
    assert len(posted(fake)) == 2
    bar.get_by_role("button", name="Return").click()
    page.locator('.pane[data-revision="2"]').wait_for()
    assert bar.count() == 0
    page.keyboard.press("h")
    page.get_by_role("button", name="Show version 1").first.click()
    bar.get_by_role("button", name="Make this the current one").click()
    page.locator('.pane[data-revision="3"]').wait_for()
    assert posted(fake)[-1]["operation"] == {"kind": "restore", "version": 1}
    assert posted(fake)[-1]["revision"] == 2
    assert page.locator("#ef").inner_text() == corrected
    page.keyboard.press("h")
    assert "earlier version restored" in page.get_by_role("dialog").inner_text()


def test_the_interval_is_shaded_over_the_beat_and_says_what_it_is(page):
    band = page.locator(".interval-band rect").bounding_box()
    curve = page.locator(".curve .line").bounding_box()
    assert 0.4 * curve["width"] < band["width"] < 0.6 * curve["width"]  # the first of two beats
    marks = [page.locator(".interval-band line").nth(i).bounding_box()["y"] for i in (0, 1)]
    assert band["height"] == pytest.approx(abs(marks[1] - marks[0]), abs=1) and band["height"] > 10
    words = page.locator(".interval-band title").text_content().replace("\xa0", " ")
    assert "ES volume for an EF of 40 to 66 %, with this ED volume" in words and "ml" in words
    assert "ES volume" in page.locator(".curve .legend").inner_html()
    page.keyboard.press("p")
    drag(page, page.locator(".handle").nth(3), 60)
    settled(page)
    assert page.locator(".interval-band").count() == 0  # calibrated for the network's contours


def test_ed_and_es_are_moved_by_drag_arrow_and_key(page, fake):
    curve = page.locator(".curve")
    step = curve.bounding_box()["width"] / 30
    drag(page, page.locator('[data-mark="es0"] circle').last, 2 * step)
    settled(page)
    moved = posted(fake)[0]["operation"]
    assert (moved["kind"], moved["beat"]) == ("beat", 0) and moved["es_frame"] in (8, 9)
    page.locator('[data-mark="ed1"]').focus()
    page.keyboard.press("ArrowRight")
    page.locator('.pane[data-revision="2"]').wait_for()
    assert posted(fake)[1]["operation"] == {"kind": "beat", "beat": 1, "ed_frame": 16}
    assert page.evaluate("document.activeElement.dataset.mark") == "ed1"
    page.keyboard.press("Escape")
    page.locator(".play").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("d")
    settled(page)
    assert posted(fake)[2]["operation"] == {"kind": "beat", "beat": 1, "ed_frame": 17}
    assert "*" in page.locator(".beats tbody").inner_text()


def test_an_export_that_takes_a_while_says_so(page, fake):
    page.get_by_text("More").click()
    page.get_by_role("button", name="Export").click()
    page.get_by_role("link", name="Report", exact=True).click()
    said = page.locator("dialog [role=status]")
    assert said.inner_text() == "Report is being prepared; its download begins by itself."


def test_a_beat_is_excluded_in_the_table(page, fake):
    page.get_by_label("Beat 2 is part of the mean").uncheck()
    settled(page)
    assert posted(fake)[0]["operation"] == {"kind": "beat", "beat": 1, "is_excluded": True}
    assert "1 of 2" in page.locator(".values").inner_text()
    assert page.locator(".curve .excluded").count() == 1


def test_view_scale_and_frame_rate_are_stated_with_a_reason(page, fake):
    page.keyboard.press("p")
    page.get_by_label("Reason for the next edits").fill("apex was cut")
    page.get_by_label("View", exact=True).select_option("A2C")
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    box = page.locator(".surface").bounding_box()
    page.mouse.click(box["x"] + 300, box["y"] + 100)
    page.mouse.click(box["x"] + 300, box["y"] + 300)
    page.get_by_label("Distance").first.fill("5")
    page.get_by_role("dialog").get_by_role("button", name="Set scale").click()
    page.locator('.pane[data-revision="2"]').wait_for()
    page.get_by_role("button", name="Set frame rate").click()
    page.get_by_label("Frames per second").fill("25")
    page.get_by_role("dialog").get_by_role("button", name="Set frame rate").click()
    page.locator('.pane[data-revision="3"]').wait_for()
    view, scale, rate = posted(fake)
    assert view["operation"] == {"kind": "view", "view": "A2C"}
    assert view["reason"] == "apex was cut"
    assert scale["operation"]["length_mm"] == 50
    assert rate["operation"] == {"kind": "frame_rate", "frame_rate_hz": 25}
    assert "25 Hz" in page.locator(".values").inner_text().replace("\xa0", " ")


def test_a_rejection_needs_a_reason_and_a_signed_reading_takes_no_edits(page, fake):
    page.get_by_role("button", name="Reject").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Reject").click()
    assert dialog.is_visible()
    dialog.get_by_label("Reason").fill("foreshortened")
    dialog.get_by_role("button", name="Reject").click()
    page.locator(".decision.rejected", has_text="foreshortened").wait_for()
    page.keyboard.press("p")
    assert page.locator(".handle").count() == 0
    assert page.get_by_role("button", name="Points").is_disabled()
    page.get_by_role("button", name="Reopen").click()
    dialog.get_by_label("Reason").fill("another beat is whole")
    dialog.get_by_role("button", name="Reopen").click()
    page.get_by_role("button", name="Accept").wait_for()
    page.keyboard.press("p")
    page.locator(".handle").first.wait_for()
    decisions = [body["decision"] for body in posted(fake, "/api/clips/clip0/decision")]
    assert decisions == ["rejected", "reopened"]


def test_a_structure_is_removed_and_drawn_anew(page, fake):
    item = "Add or remove the structure"
    for expected in (0, 12):
        page.get_by_text("More").click()
        page.get_by_role("button", name=item).click()
        settled(page)
        assert len(posted(fake)[-1]["operation"]["points"]) == expected


def test_the_cine_plays_at_its_true_speed(page):
    page.locator('.pane[data-ready="all"]').wait_for()
    code = """() => new Promise((resolve) => {
      const pane = document.querySelector(".pane");
      const begin = performance.now();
      const frames = [];
      new MutationObserver(() => {
        frames.push([Number(pane.dataset.frame), performance.now() - begin]);
        if (frames.length > 40) resolve(frames);
      }).observe(pane, { attributeFilter: ["data-frame"] });
      document.querySelector(".play").click();
    })"""
    shown = page.evaluate(code)
    (first, begin), (last, end) = shown[0], shown[-1]
    turns = sum(b[0] < a[0] for a, b in itertools.pairwise(shown))
    played = last + 30 * turns - first
    assert played / 30 == pytest.approx((end - begin) / 1000, abs=0.1)


def test_a_name_is_never_markup(browser):
    name = "<img src=x onerror=alert(1)>.dcm"
    fake = FakePage(name=name)
    with running(fake) as url, opened(browser, f"{url}/clip/clip0") as page:
        page.locator("#ef").wait_for()
        assert page.locator("h1").inner_text() == name
        assert page.locator("img").count() == 0
        page.goto(url)
        page.get_by_role("link", name=name).wait_for()
        assert page.locator("img").count() == 0


def test_what_is_not_reliable_has_no_number(browser):
    fake = FakePage()
    unreliable = fake.reading().model_copy(update={
        "ef": state_ef(61.0, reliable=False, reason="the view is not apical"),
        "warnings": ("The view is not apical.",),
    })  # fmt: skip
    fake.reading = lambda frames=None, head=None: unreliable
    with running(fake) as url, opened(browser, f"{url}/clip/clip0") as page:
        page.locator("#ef").wait_for()
        text = page.locator(".numbers").inner_text()
        assert "not reliable" in page.locator("#ef").inner_text()
        assert "61" not in text and "EDV" not in text and "volume" not in text.lower()
        assert page.locator("svg.interval, .interval-band").count() == 0
        assert text.index("Before you read the numbers") < text.index("not reliable")


def test_a_blinded_second_read_begins_at_two_views_too(browser, fake, monkeypatch):
    asked = []
    views = [fake.row(0) | {"view": view} for view in ("A4C", "A2C")]
    detail = fake.detail() | {"study": views}
    monkeypatch.setattr(fake, "detail", lambda: detail)
    with running(fake) as url, opened(browser, f"{url}/study/study0") as page:
        page.locator("#ef").nth(1).wait_for()
        page.get_by_text("More", exact=True).nth(1).click()
        page.on("request", lambda request: asked.append(request.url.removeprefix(url)))
        page.get_by_role("link", name="Blinded second read").click()
        page.wait_for_url("**/clip/clip0?slot=2")
        page.locator("#ef").wait_for()
        assert "second read, blinded" in page.locator("#title").inner_text()
        assert not page.get_by_role("link", name="Both views").count()  # shows the first read
        assert "/api/clips/clip0/reading?slot=2" in asked
        assert not any("slot=1" in path for path in asked)
        page.get_by_text("More", exact=True).click()
        page.get_by_role("link", name="First read").click()
        page.wait_for_url("**/clip/clip0?slot=1")
        page.get_by_role("link", name="Both views").wait_for()


@pytest.mark.parametrize(("signed_by", "name"), [("meier", "meier"), (None, "tester")])
def test_a_signature_names_who_signed(browser, fake, signed_by, name):
    fake.decision = ("accepted", "")
    reading = fake.reading().model_dump(mode="json")
    fake.answers["reading"] = reading | {"signed_by": signed_by}
    with running(fake) as url, opened(browser, f"{url}/clip/clip0") as page:
        text = page.locator(".decision.accepted").inner_text()
        assert text.startswith(f"Accepted by {name}")


def test_two_views_stand_beside_each_other_with_the_biplane_ef(browser, fake):
    with running(fake) as url, opened(browser, f"{url}/study/study0") as page:
        page.locator("#ef").nth(1).wait_for()
        biplane = page.locator(".biplane").inner_text().replace("\xa0", " ")
        assert "57 %, 90 % interval 40 to 66 %" in biplane and "120 ml" in biplane
        left, right = (page.locator(".pane").nth(i).bounding_box() for i in (0, 1))
        assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
        assert "by phase" in page.locator(".in-step").inner_text()
        page.locator(".surface").nth(1).click()

        def frames():
            return [page.locator(".pane").nth(i).get_attribute("data-frame") for i in (0, 1)]

        page.keyboard.press("ArrowRight")
        assert frames() == ["1", "1"]  # the same clip twice: the same frame
        page.get_by_label("Both clips").uncheck()
        page.keyboard.press("ArrowRight")
        assert frames() == ["1", "2"]
        page.get_by_label("Both clips").check()
        page.get_by_role("button", name="Play").first.click()
        wait_for(lambda: int(frames()[1]) > 6)
        page.get_by_role("button", name="Pause").first.click()
        one, other = map(int, frames())
        assert abs(one - other) <= 1

"""The report in Chromium: clip and curve in step, one column on a phone, findings of axe-core."""

import pytest

from browsers import chromium, opened, overflow, serious_findings
from echoseg.report.writer import write_results
from report.figures.test_report_sheets import heart

PHONE = {"width": 360, "height": 780}


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """(analysis, address of its report)"""
    analysis = heart(source="a patient's clip with a rather long name.avi")
    folder = write_results(analysis, tmp_path_factory.mktemp("report") / "clip")
    return analysis, (folder / "report.html").as_uri()


def shown(page):
    """The frame that the clip, the bar, its words and the curve's line show."""
    return page.evaluate("""() => {
        const video = document.querySelector("video"), svg = document.querySelector("figure ~ svg");
        const places = svg.dataset.x.split(" ").map(Number), line = svg.querySelector(".now");
        return [Math.floor(video.currentTime * video.dataset.rate + 1e-6),
                Number(document.querySelector(".player input").value),
                Number(document.querySelector(".player output").textContent.replace("frame ", "")),
                places.indexOf(Number(line.getAttribute("x1")))]; }""")


def click_at_frame(page, frame):
    page.evaluate("() => document.querySelector('figure ~ svg').scrollIntoView({block: 'center'})")
    x, y = page.evaluate(
        """(frame) => {
            const svg = document.querySelector("figure ~ svg"), box = svg.getBoundingClientRect();
            const x = Number(svg.dataset.x.split(" ")[frame]);
            const at = new DOMPoint(x, 0).matrixTransform(svg.getScreenCTM());
            return [at.x, box.y + box.height / 2]; }""",
        frame,
    )
    page.mouse.click(x, y)


def test_a_click_on_the_curve_shows_its_frame(browser, report):
    analysis, address = report
    with opened(browser, address) as page:
        page.wait_for_function("() => document.querySelector('video').readyState > 1")
        last = analysis.clip.num_frames - 1
        for frame in (analysis.measurement.es_frame, 0, analysis.measurement.ed_frame, last):
            click_at_frame(page, frame)
            assert shown(page) == [frame] * 4
        page.get_by_label("One frame back").click()
        assert shown(page) == [last - 1] * 4
        page.get_by_label("One frame on").press("Enter")
        assert shown(page) == [last] * 4
        page.get_by_label("Frame", exact=True).fill("7")
        assert shown(page) == [7] * 4
        assert page.evaluate("() => document.querySelector('video').controls") is False


def test_the_clip_plays_with_its_curve_and_stops(browser, report):
    with opened(browser, report[1], reduced_motion="no-preference") as page:
        page.get_by_label("Speed").select_option("0.5")
        page.wait_for_function("() => document.querySelector('.player input').value > 3")
        assert page.evaluate("() => document.querySelector('video').playbackRate") == 0.5
        page.get_by_role("button", name="Pause").click()
        frames = shown(page)
        page.wait_for_timeout(300)
        assert shown(page) == frames and len(set(frames)) == 1
        assert page.get_by_role("button", name="Play").is_visible()


def test_who_wants_no_motion_sees_a_still_clip(browser, report):
    with opened(browser, report[1]) as page:
        page.wait_for_timeout(300)
        assert shown(page) == [0] * 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 860}])
def test_nothing_scrolls_sideways_and_axe_finds_nothing_serious(browser, report, viewport, scheme):
    with opened(browser, report[1], viewport=viewport, color_scheme=scheme) as page:
        assert overflow(page) == 0
        hidden = page.evaluate("""() => [...document.querySelectorAll("body *")]
            .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth
                    && !one.closest("svg, .unseen, .reflow thead"))
            .map((one) => one.outerHTML.slice(0, 80))""")
        assert hidden == []
        assert serious_findings(page) == []


def test_a_phone_names_every_value_of_a_table(browser, report):
    with opened(browser, report[1], viewport=PHONE) as page:
        names = page.evaluate("""() => [...document.querySelectorAll(".reflow td:not(:empty)")]
            .filter((one) => one.parentElement.querySelectorAll("td:not(:empty)").length > 1)
            .map((one) => getComputedStyle(one, "::before").content)""")
        assert names and all(len(name) > 3 for name in names)
        assert {'"EF"', '"EDV"', '"heart rate"', '"measured"'} <= set(names)
        row = page.locator(".reflow tbody tr").first
        assert row.inner_text().startswith("beat 1")
        alone = page.locator("tr", has_text="Stroke volume")
        name, value = (alone.locator(kind).first.bounding_box() for kind in ("th", "td"))
        assert name["y"] == value["y"] and name["x"] + name["width"] <= value["x"]

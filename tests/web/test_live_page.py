"""The live page in Chromium: a named source is played, with its latency, and ends in words."""

from browsers import chromium, opened, overflow
from page_makers import running_page
from worklist_makers import write_clip


def test_a_named_source_is_played_with_latency_and_numbers_in_the_window(tmp_path):
    path = write_clip(tmp_path / "in" / "secret-name.dcm", num_frames=90)
    source = ["--live-source", f"echo lab 1={path}"]
    with running_page(tmp_path / "data", *source) as (address, _), chromium() as browser:
        with opened(browser, f"{address}/live") as page:
            page.set_default_timeout(60_000)
            page.get_by_label("Camera, stream or clip").select_option("echo lab 1")
            page.get_by_role("button", name="Start").click()
            page.locator(".latency", has_text="ms behind").wait_for()
            assert overflow(page) <= 0
            right = page.evaluate("""() => Math.max(...[...document.querySelectorAll(".values td")]
                .map((one) => one.getBoundingClientRect().right)) - innerWidth""")
            assert right <= 0
            page.get_by_text("The run ended: end of the source.").wait_for()
            assert page.get_by_role("button", name="Start").is_visible()
            assert "secret-name" not in page.content()

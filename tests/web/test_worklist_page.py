"""The worklist page in Chromium: 10,000 clips, keys, drops, and what there is to see at first."""

import itertools
import time

from browsers import opened
from fake_page import FakePage, running
from worklist_makers import wait_for


def test_ten_thousand_clips_are_paged(browser):
    fake = FakePage(num_clips=10_000)
    fake.rows = [fake.row(i) for i in range(10_000)]
    fake.row = lambda i: fake.rows[i]
    with running(fake) as url, opened(browser, url) as page:
        page.get_by_text("1 to 50 of 10000").wait_for()
        assert page.locator("#rows tr").count() == 50
        begin = time.monotonic()
        page.get_by_role("button", name="Next", exact=True).click()
        page.get_by_text("51 to 100 of 10000").wait_for()
        assert time.monotonic() - begin < 2
        page.keyboard.press("p")
        page.get_by_text("1 to 50 of 10000").wait_for()
        page.get_by_label("Search").fill("clip-9999")
        page.get_by_text("1 to 1 of 1", exact=True).wait_for()
        page.get_by_label("Search").fill("no such clip")
        page.get_by_text("No clip fits these filters.").wait_for()


def test_keys_walk_through_the_list_and_open_a_clip(browser):
    with running(FakePage(num_clips=8)) as url, opened(browser, url) as page:
        page.locator("#rows tr").first.wait_for()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        assert page.locator("tr.selected").get_attribute("data-id") == "clip0"
        page.keyboard.press("/")
        page.keyboard.type("j")  # a letter, in the search
        assert page.get_by_label("Search").input_value() == "j"
        page.get_by_text("No clip fits these filters.").wait_for()
        page.get_by_label("Search").fill("")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert "next, previous clip" in page.get_by_role("dialog").inner_text()
        page.keyboard.press("Escape")
        page.locator("#rows tr").nth(7).wait_for()
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/clip/clip0")


def measured(fake):
    """A fake whose clip 3 is measured: a frame more at each look."""
    row, frames = fake.row, itertools.count(1)
    fake.row = lambda i: row(i) | ({"frames_done": next(frames)} if i == 3 else {})
    return fake


def test_a_clip_is_opened_while_it_is_measured(browser):
    with running(measured(FakePage(num_clips=8))) as url, opened(browser, url) as page:
        page.locator("#row-clip3").wait_for()
        assert page.locator("#row-clip4 a").count() == 0  # it waits for its turn
        for _ in range(4):
            page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/clip/clip3")
        page.goto(url)
        link = page.locator("#row-clip3 a")
        link.hover()
        page.mouse.down()
        before = page.locator("#row-clip3").inner_text()
        wait_for(lambda: page.locator("#row-clip3").inner_text() != before)
        page.mouse.up()
        page.wait_for_url("**/clip/clip3")


def test_a_row_says_how_far_it_is_and_why_it_failed(browser):
    fake = FakePage(num_clips=8)
    fake.post = lambda path, body: (fake.requests.append(path), (200, {}))[1]
    with running(fake) as url, opened(browser, url) as page:
        page.locator("#rows tr").first.wait_for()
        assert "12 of 30 frames" in page.locator("#row-clip3").inner_text()
        assert "the file ends early" in page.locator("#row-clip2").inner_text()
        unreliable = page.locator("#row-clip6").inner_text()
        assert "not reliable" in unreliable and "%" not in unreliable
        page.get_by_label("Try again: clip-3").click()
        page.get_by_label("State").select_option("failed")
        page.get_by_text("1 to 2 of 2").wait_for()
    assert fake.requests == ["/api/clips/clip2/retry"]


def test_an_empty_list_names_the_first_step(browser):
    fake = FakePage(num_clips=0)
    with running(fake) as url, opened(browser, url) as page:
        page.get_by_role("heading", name="Drop apical clips here").wait_for()
        assert not page.locator("#list").is_visible()


DROP = """async (names) => {
  const data = new DataTransfer();
  for (const name of names) data.items.add(new File(["x"], name));
  for (const type of ["dragenter", "dragover", "drop"]) {
    const options = {dataTransfer: data, bubbles: true, cancelable: true};
    document.body.dispatchEvent(new DragEvent(type, options));
    const isHidden = document.getElementById("drop-hint").hidden;
    if (type === "dragenter" && isHidden) throw new Error("no hint");
  }
}"""


def uploads(fake):
    """The names of the files of each request."""
    return [sent for path, sent in fake.requests if path == "/api/clips"]


def test_files_dropped_anywhere_are_sent(browser):
    fake = FakePage(num_clips=0)
    names = [f"clip {i}.dcm" for i in range(45)]
    with running(fake) as url, opened(browser, url) as page:
        page.get_by_role("heading", name="Drop apical clips here").wait_for()
        page.evaluate(DROP, names)
        page.locator("#say", has_text="1 added").wait_for()  # the fake adds one for each request
        assert not page.locator("#drop-hint").is_visible()
    (sent,) = uploads(fake)  # the files may be the frames of one clip
    assert sorted(sent) == sorted(names)


def test_a_folder_of_frames_is_sent_in_one_request(browser, tmp_path):
    fake = FakePage(num_clips=0)
    names = [f"cine/frame_{i:03d}.png" for i in range(45)]
    for name in [*names, "cine/.DS_Store"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with running(fake) as url, opened(browser, url) as page:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Add a folder of this computer").first.click()
        chooser.value.set_files(tmp_path / "cine")
        page.locator("#say", has_text="1 added").wait_for()
    (sent,) = uploads(fake)
    assert sorted(sent) == names


def test_a_folder_of_the_server_is_added(browser):
    fake = FakePage(num_clips=0)
    fake.post = lambda path, body: (
        fake.requests.append((path, body))
        or (200, {"added": ["clip0"], "refused": [{"name": "a.txt", "reason": "not a clip"}]})
    )
    with running(fake) as url, opened(browser, url) as page:
        page.get_by_role("button", name="Add a folder of the server").first.click()
        page.get_by_label("Folder or file").fill("/data/echo")
        page.get_by_role("button", name="Add", exact=True).click()
        page.get_by_text("not a clip").wait_for()
    assert fake.requests == [("/api/folders", {"path": "/data/echo"})]


def test_agreement_and_training_data_are_one_click_away(browser):
    fake = FakePage(num_clips=1)
    one = {"n": 12, "icc": 0.93, "icc_low": 0.8, "icc_high": 0.98, "bias": -1.25, "sd": 3.0,
           "limit_low": -7.1, "limit_high": 4.6}  # fmt: skip
    few = dict.fromkeys(one) | {"n": 1}
    fake.answers["agreement"] = {"ef_percent": one, "edv_ml": few, "esv_ml": few}
    fake.post = lambda path, body: (200, {"folder": "x", "num_clips": 5, "num_unsigned": 2})
    with running(fake) as url, opened(browser, url) as page:
        page.get_by_role("button", name="Agreement of readers").click()
        text = page.get_by_role("dialog").inner_text()
        assert "0.93 (0.80 to 0.98)" in text and "-7.1 to 4.6 points" in text
        assert text.count("too few clips") == 2
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Training data").click()
        page.get_by_label("New folder of the server").fill("/data/new")
        page.get_by_role("button", name="Write").click()
        page.locator(
            "#say", has_text="5 clips written; 2 more are corrected and not accepted yet."
        ).wait_for()

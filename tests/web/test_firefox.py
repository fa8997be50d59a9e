"""The reader page in Firefox: a point is dragged and moved by keys, the clip plays."""

import pytest

from fake_page import FakePage, running
from firefox import firefox

CENTER = """(() => { const box = document.querySelectorAll(".handle")[3].getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2]; })()"""


def test_a_correction_in_firefox():
    fake = FakePage()
    with running(fake) as url, firefox() as page:
        page.open(f"{url}/clip/clip0")
        page.wait("document.getElementById('ef')")
        before = page.value("document.getElementById('ef').textContent")
        page.press("p")
        page.wait("document.querySelectorAll('.handle').length === 10")
        x, y = page.value(CENTER)
        page.drag((x, y), (x + 60, y))
        page.wait("document.querySelector('.pane').dataset.revision === '1'")
        assert page.value(CENTER) == pytest.approx([x + 60, y], abs=1.5)
        assert page.value("document.getElementById('ef').textContent") != before
        page.press("Tab")
        page.press("Shift", "Tab")  # to the point that was dragged: now arrow keys move it
        page.press("Shift", "Right")
        page.press("Tab")
        page.wait("document.querySelector('.pane').dataset.revision === '2'")
        points = [body["operation"]["points"][3] for _, body in fake.requests]
        assert points[1] == pytest.approx([points[0][0] + 10, points[0][1]], abs=0.02)
        page.press("Ctrl", "z")
        page.wait("document.querySelector('.pane').dataset.revision === '1'")
        page.wait("document.querySelector('.pane').dataset.ready === 'all'")
        page.press("v")
        page.value("document.activeElement.blur()")
        page.press(" ")
        page.wait("Number(document.querySelector('.pane').dataset.frame) > 5")

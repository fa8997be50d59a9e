"""Readings of tiny clips that are analyzed at once, by formula."""

from types import SimpleNamespace

from fastapi.testclient import TestClient

from echoseg.web.app import create_app
from page_makers import page_client
from worklist_makers import analyze_by_formula, write_clip


def page_with_clip(settings, folder, *, num_frames=60, seed=0):
    """A page, and the id of its one clip, which is analyzed."""
    page = create_app(settings).state.page
    return page, add_clip(page, folder / f"{seed}.dcm", num_frames=num_frames, seed=seed)


def add_clip(page, path, **clip):
    (added,) = page.worklist.add([write_clip(path, **clip)], "admin").ids
    row = page.worklist.claim()
    task = SimpleNamespace(source=path, alias=row.name, folder=page.worklist.clip_folder(added))
    page.worklist.finish(added, analyze_by_formula(task))
    return added


def client_of(settings):
    return page_client(create_app(settings))


class Desk:
    """A reader's requests, which name the revision that was shown last."""

    def __init__(self, client: TestClient, clip: str, slot: int = 1) -> None:
        self.client, self.clip, self.slot = client, clip, slot
        self.shown = self.load()

    def load(self):
        self.shown = self._checked(self.client.get(self._address("reading")))
        return self.shown

    def post(self, what, **body):
        revision = body.pop("revision", self.shown["revision"])
        return self.client.post(self._address(what), json={"revision": revision, **body})

    def do(self, what, **body):
        self.shown = self._checked(self.post(what, **body))
        return self.shown

    def edit(self, kind, reason="", **operation):
        return self.do("edits", operation={"kind": kind, **operation}, reason=reason)

    def points(self, frame, structure="lv_cavity"):
        shown = self.client.get(self._address("reading")).json()["contours"]
        return [tuple(point) for point in shown[frame]["contours"][structure]["points"]]

    def _address(self, what):
        return f"/api/clips/{self.clip}/{what}?slot={self.slot}"

    def _checked(self, answer):
        assert answer.status_code == 200, answer.text
        return answer.json()

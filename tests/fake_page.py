"""A server that answers as the page's does, without a network: tests make it refuse or be gone.

Its heart is an ellipse whose volume follows a cosine; its EF is of the areas of the contours.
"""

import contextlib
import io
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image, ImageDraw

import echoseg.web
from echoseg.inference.ef_statement import state_ef
from echoseg.quality.reliability import EfInterval
from echoseg.web.api import Beat, Contour, Curve, DiskLines, FrameContours, Reading, SetBeat
from echoseg.web.security import CONTENT_SECURITY_POLICY

WEB = Path(echoseg.web.__file__).parent
KINDS = ("apex", "", "", "", "lateral", "", "septal", "", "", "")
INTERVAL = EfInterval(
    low_percent=40, high_percent=66, level_percent=90, expected_error_points=6, source="a test"
)
CSRF_TOKEN = "0" * 64
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class FakePage:
    """State of the fake: clips, one reading, and what the next answers are to be.

    Attributes:
        refusals: Status and sentence of the next answers to edits, in order.
        requests: (path, body) of all that was posted.
        answers: Answers by the last part of their path, in place of the fake's own.
        num_lost: How many of the next answers to posts are not sent, though what they ask is done.
        num_cut: How many then break off half-way.
    """

    def __init__(self, num_clips=1, num_frames=30, shape=(480, 640), name="clip-1"):
        self.num_frames, self.shape, self.name = num_frames, shape, name
        self.num_clips, self.refusals, self.requests = num_clips, [], []
        self.answers, self.signatures = {}, []
        self.num_lost = self.num_cut = 0
        self.states = [self._first_state()]
        self.head, self.decision, self.is_down = 0, ("", ""), False
        self.lock = threading.Lock()
        self.jpegs = [self._jpeg(n) for n in range(num_frames)]

    def _first_state(self):
        contours = {n: {"lv_cavity": self._ellipse(n)} for n in range(self.num_frames)}
        return {
            "contours": contours, "is_corrected": False, "excluded": set(), "view": "A4C",
            "spacing": (0.4, 0.4), "rate": 30.0, "ends": {}, "operation": None, "reason": "",
        }  # fmt: skip

    def _ellipse(self, frame):
        rows, columns = self.shape
        share = 0.85 + 0.15 * np.cos(2 * np.pi * frame / 15)
        angles = 2 * np.pi * np.arange(len(KINDS)) / len(KINDS)
        x = columns / 2 + share * columns / 9 * np.sin(angles)
        y = rows / 2 - share * rows / 4 * np.cos(angles)
        return [(round(float(a), 2), round(float(b), 2)) for a, b in zip(x, y, strict=True)]

    def _jpeg(self, n):
        image = Image.new("L", self.shape[::-1], 16)
        ImageDraw.Draw(image).polygon(self._ellipse(n), fill=60, outline=200, width=12)
        data = io.BytesIO()
        image.save(data, "JPEG", quality=90)
        return data.getvalue()

    def row(self, i):
        """A row of the worklist."""
        state = ("ready", "ready", "failed", "running", "queued")[i % 5] if i else "ready"
        kind = ("plain", "unreliable")[i % 7 == 6] if state == "ready" else "none"
        return {
            "id": f"clip{i}", "name": self.name if i == 0 else f"clip-{i + 1}", "study": "",
            "state": state, "reason": "the file ends early" if state == "failed" else "",
            "added_s": 1.7e9 - i, "analyzed_s": 0.0, "view": "A4C", "num_frames": 30,
            "frames_done": 12, "ef_kind": kind,
            "ef_percent": 30.0 + i % 40 if kind == "plain" else None,
            "ef_low_percent": 20.0 + i % 40 if kind == "plain" else None,
            "ef_high_percent": 40.0 + i % 40 if kind == "plain" else None,
            "is_corrected": False, "decision": "", "label_priority": float(i),
        }  # fmt: skip

    def clips(self, query):
        """A page of the worklist, filtered by state and text only."""
        first, count = int(query.get("first", 0)), int(query.get("count", 50))
        wanted, text = query.get("state", ""), query.get("text", "")
        rows = [self.row(i) for i in range(self.num_clips)]
        kept = [r for r in rows if r["state"].startswith(wanted) and text in r["name"]]
        counts = {s: sum(r["state"] == s for r in rows) for s in ("queued", "running", "failed")}
        counts["ready"] = self.num_clips - sum(counts.values())
        page = kept[first : first + count]
        return {"total": len(kept), "first": first, "counts": counts, "rows": page}

    def detail(self):
        """The clip that was opened."""
        rows, columns = self.shape
        return {
            "row": self.row(0), "slot": 1, "rows": rows, "columns": columns,
            "num_frames": self.num_frames,
            "times_s": [n / 30 for n in range(self.num_frames)], "frame_rate_hz": 30.0,
            "spacing_mm": (0.4, 0.4), "view": "A4C", "predicted_view": "A4C",
            "r_wave_times_s": (0.0, 0.5), "warnings": (), "model": "fake", "study": [],
            "offsets": np.cumsum([0, *map(len, self.jpegs)]).tolist(),
        }  # fmt: skip

    def reading(self, frames=None, head=None):
        """The reading now or at a revision, with the curves of some frames (None: of all)."""
        head = self.head if head is None else head
        state = self.states[head]
        volumes = [self._volume(state["contours"][n].get("lv_cavity")) for n in state["contours"]]
        beats = self._beats(state, volumes)
        in_mean = [beat.ef_percent for beat in beats if not beat.is_excluded]
        means = [value for value in in_mean if value is not None]
        ef_percent = float(np.mean(means)) if means else None
        first, decision = beats[0], self.decision
        ef = state_ef(ef_percent, interval=None if state["is_corrected"] else INTERVAL)
        kept = state["contours"] if frames is None else frames
        return Reading(
            clip="clip0", slot=1, reader="tester", revision=head,
            is_past=head != self.head, can_undo=self.head > 0,
            can_redo=self.head + 1 < len(self.states),
            is_corrected=state["is_corrected"], ef=ef,
            network_ef=state_ef(50.0, interval=INTERVAL), edv_ml=first.edv_ml, esv_ml=first.esv_ml,
            heart_rate_bpm=120.0, ed_frame=first.ed_frame, es_frame=first.es_frame,
            beats=beats, curve=Curve(
                times_s=[n / state["rate"] for n in range(self.num_frames)], volumes=volumes,
                smoothed=volumes, unit="ml", r_wave_times_s=(0.0, 0.5),
            ),
            disks=[self._disks(n) for n in (first.ed_frame, first.es_frame)],
            contours=[self._curves(state, n) for n in kept], view=state["view"],
            spacing_mm=state["spacing"], frame_rate_hz=state["rate"], warnings=(),
            decision=decision[0], decision_reason=decision[1], milliseconds=1.0,
        )  # fmt: skip

    def _volume(self, points):
        """Area of a polygon, to the power of 3/2, as a volume."""
        if not points:
            return 0.0
        x, y = np.array(points).T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        return round(float(area * 0.0016) ** 1.5 * 1.2, 2)

    def _beats(self, state, volumes):
        beats = []
        for i, (ed, es) in enumerate(((0, 7), (15, 22))):
            ed, es = state["ends"].get((i, "ed"), ed), state["ends"].get((i, "es"), es)
            edv, esv = volumes[ed], volumes[es]
            beats.append(Beat(
                ed_frame=ed, es_frame=es, ef_percent=100 * (edv - esv) / edv if edv else None,
                edv_ml=edv, esv_ml=esv, gls_percent=None, peak_ejection_rate_edv_per_s=None,
                peak_filling_rate_edv_per_s=None, is_excluded=i in state["excluded"],
                is_moved=(i, "ed") in state["ends"] or (i, "es") in state["ends"],
            ))  # fmt: skip
        return beats

    def _disks(self, frame):
        points = self._ellipse(frame)
        (x, top), (_, bottom) = points[0], points[5]
        levels = np.linspace(top, bottom, 22)[1:-1]
        half = (points[2][0] - x) * 0.8
        return DiskLines(
            frame=frame, axis=((x, top), (x, bottom)), annulus=(points[6], points[4]),
            disks=[((x - half, float(y)), (x + half, float(y))) for y in levels],
        )  # fmt: skip

    def _curves(self, state, frame):
        curves = {
            name: Contour(
                points=points, kinds=KINDS if len(points) == len(KINDS) else (),
                is_reader=state["is_corrected"],
            )
            for name, points in state["contours"][frame].items()
        }  # fmt: skip
        return FrameContours(frame=frame, contours=curves)

    def post(self, path, body):
        """Answer a post: (status, JSON)."""
        with self.lock:
            self.requests.append((path, body))
            if self.refusals:
                status, text = self.refusals.pop(0)
                return status, {"error": text}
            if "/api/clips/" in path and body["revision"] != self.head:
                return 409, {"error": "there is a newer revision"}
            if bool(self.decision[0]) != (body.get("decision") == "reopened"):
                return 409, {"error": "this reading is signed, or to be reopened is not"}
            return 200, self._change(path, body)

    def _change(self, path, body):
        if path.endswith("/undo"):
            self.head -= 1
        elif path.endswith("/redo"):
            self.head += 1
        elif path.endswith("/decision"):
            is_reopened = body["decision"] == "reopened"
            self.decision = ("", "") if is_reopened else (body["decision"], body["reason"])
            known = (
                self.head,
                self.head,
                time.time(),
                body["reason"],
                body["decision"],
                None,
                None,
            )
            self.signatures.append(known)
        elif path.endswith("/carry"):
            return {"contours": self._carried(body["operation"])}
        else:
            self._edit(body)
        return json.loads(self.reading().model_dump_json())

    def _carried(self, operation):
        points = self.states[self.head]["contours"][operation["frame"]]["lv_cavity"]
        frames = range(operation["first"], operation["last"] + 1)
        contour = Contour(points=points).model_dump()
        return [{"frame": n, "contours": {"lv_cavity": contour}} for n in frames]

    def _edit(self, body):
        old, operation = self.states[self.head], body["operation"]
        change = getattr(self, f"_{operation['kind']}")
        new = old | {"operation": operation, "reason": body.get("reason", "")}
        # what is new of an edit stays: a restored state is of another operation
        kept = {"operation": operation, "reason": new["reason"], "time": time.time()}
        self.states[self.head + 1 :] = [new | change(old, operation) | kept]
        self.head += 1

    def _contour(self, old, operation):
        frame, structure = operation["frame"], operation["structure"]
        curves = {name: c for name, c in old["contours"][frame].items() if name != structure}
        if operation["points"]:
            curves[structure] = [tuple(point) for point in operation["points"]]
        return {"contours": old["contours"] | {frame: curves}, "is_corrected": True}

    def _brush(self, old, operation):
        return {"is_corrected": True}

    def _carry(self, old, operation):
        source = old["contours"][operation["frame"]]
        frames = range(operation["first"], operation["last"] + 1)
        return {"contours": old["contours"] | dict.fromkeys(frames, source), "is_corrected": True}

    def _beat(self, old, operation):
        i = operation["beat"]
        moved = {(i, end): operation.get(f"{end}_frame") for end in ("ed", "es")}
        ends = old["ends"] | {key: frame for key, frame in moved.items() if frame is not None}
        is_toggled = operation.get("is_excluded") is not None
        return {"ends": ends, "excluded": old["excluded"] ^ ({i} if is_toggled else set())}

    def _restore(self, old, operation):
        return self.states[operation["version"]]

    def _view(self, old, operation):
        return {"view": operation["view"]}

    def _spacing(self, old, operation):
        (x0, y0), (x1, y1) = operation["start"], operation["end"]
        scale = operation["length_mm"] / float(np.hypot(x1 - x0, y1 - y0))
        return {"spacing": (scale, scale)}

    def _frame_rate(self, old, operation):
        return {"rate": operation["frame_rate_hz"]}

    def _stated(self, operation):
        return SetBeat(**operation).model_dump() if operation["kind"] == "beat" else None

    def history(self):
        """All edits, those that were undone too, and signatures."""
        edits = [
            (i, i - 1, state["time"], state["reason"], state["operation"]["kind"],
             state["operation"].get("frame"), self._stated(state["operation"]))
            for i, state in enumerate(self.states) if i
        ]  # fmt: skip
        names = ("revision", "parent", "time", "reason", "kind", "frame", "beat")
        rows = sorted([*edits, *self.signatures], key=lambda row: row[2])
        return [dict(zip(names, row, strict=True)) | {"account": "tester"} for row in rows]

    def get(self, path, query):
        """Answer a get of the API."""
        if path == "/api/clips":
            return self.clips(query)
        revision = int(query.get("revision", self.head))
        answers = {"reading": lambda: self.reading(head=revision), "history": self.history}
        what = path.rpartition("/")[2]
        if what in self.answers:
            return self.answers[what]
        if what == "biplane":
            ef = state_ef(57.0, interval=INTERVAL).model_dump()
            volumes = {"edv_ml": 120.0, "esv_ml": 51.6, "warnings": ()}
            return {"clips": ["clip0", "clip0"], "ef": ef, **volumes}
        answer = answers[what]() if what in answers else self.detail()
        return json.loads(answer.model_dump_json()) if isinstance(answer, Reading) else answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _send(self, status, content, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.end_headers()
        self.wfile.write(content)

    def _json(self, status, value):
        self._send(status, json.dumps(value).encode(), "application/json")

    def _cut(self, status, value):
        """Send half of an answer, and close the connection."""
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def do_GET(self):
        parts, fake = urlsplit(self.path), self.server.fake
        if parts.path.startswith("/static/"):
            file = WEB / "static" / Path(parts.path).name
            self._send(200, file.read_bytes(), TYPES[file.suffix])
        elif parts.path.endswith("/cine.bin"):
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            self._send(206, b"".join(fake.jpegs)[first : last + 1], "application/octet-stream")
        elif parts.path.startswith("/api/"):
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            with fake.lock:
                answer = fake.get(parts.path, query)
            self._json(200, answer)
        else:
            self._send(200, _html(parts.path).encode(), "text/html; charset=utf-8")

    def do_POST(self):
        fake = self.server.fake
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if fake.is_down:
            self.close_connection = True
            self.connection.close()
            return
        assert self.headers["X-CSRF-Token"] == CSRF_TOKEN
        if self.headers["Content-Type"].startswith("multipart/"):
            names = re.findall(rb'filename="([^"]*)"', body)
            fake.requests.append((self.path, [name.decode() for name in names]))
            self._json(200, {"added": ["clip0"], "refused": []})
            return
        status, value = fake.post(urlsplit(self.path).path, json.loads(body))
        if fake.num_lost:
            fake.num_lost -= 1
            self.close_connection = True
        elif fake.num_cut:
            fake.num_cut -= 1
            self._cut(status, value)
        else:
            self._json(status, value)


def _html(path):
    templates = Environment(
        loader=FileSystemLoader(WEB / "templates"), autoescape=True, undefined=StrictUndefined
    )
    names = {"clip": "reader.html", "study": "reader.html", "live": "live.html"}
    kind = path.split("/")[1]
    return templates.get_template(names.get(kind, "worklist.html")).render(
        csrf_token=CSRF_TOKEN,
        reader={"name": "tester", "is_admin": True},
        settings={"needs_sign_in": False, "live_sources": [{"name": "lab 1"}]},
        version="0",
        clip="clip0" if kind == "clip" else "",
        study="study0" if kind == "study" else "",
    )


@contextlib.contextmanager
def running(fake):
    """Yield the address of a server for the fake."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.fake = fake
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

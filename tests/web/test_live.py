"""Live runs: what the page is sent, who may play what, and what is left when it goes away."""

import contextlib
import functools
import http.server
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image
from starlette.websockets import WebSocketDisconnect

from clip_makers import write_video
from echoseg.inference.ef_statement import state_ef
from echoseg.inference.live.session import FrameResult
from echoseg.web import routes_live
from echoseg.web.app import create_app
from echoseg.web.live import frame_message, outlines
from echoseg.web.routes_live import _allowed_address
from echoseg.web.settings import LiveSource
from heart_makers import heart
from page_makers import ADDRESS, PASSWORD, page_client, sign_in
from worklist_makers import processes, wait_for, write_clip

LIVE = "ws://127.0.0.1:8080/api/live"


def connect(client):
    return client.websocket_connect(LIVE, headers={"Origin": ADDRESS})


def receive_all(socket):
    """Messages until the last one, each frame's with its picture."""
    frames = []
    while "ended" not in (message := json.loads(socket.receive_text())):
        frames.append((message, socket.receive_bytes()))
    return frames, message["ended"]


def refusal(client, request):
    with connect(client) as socket:
        socket.send_text(request if isinstance(request, str) else json.dumps(request))
        return receive_all(socket)[1]


def children():
    return processes("run_child")


def test_a_clip_of_the_worklist_is_played_with_contours(client, tmp_path):
    (clip,) = client.app.state.page.worklist.add([write_clip(tmp_path / "Miller.dcm")], "ann").ids
    with connect(client) as socket:
        socket.send_text(json.dumps({"clip": clip}))
        frames, ended = receive_all(socket)
    assert frames and "end of the source" in ended and "Miller" not in ended
    message, jpeg = frames[-1]
    assert Image.open(io.BytesIO(jpeg)).size == (150, 150)
    assert message["frame"] == len(frames) - 1 and message["latency_ms"] > 0
    assert message["p50_ms"] <= message["p95_ms"] and message["ef"]["ef_percent"] is None
    wait_for(lambda: not children())


def test_the_process_ends_when_the_page_is_closed(client, tmp_path):
    (clip,) = client.app.state.page.worklist.add([write_clip(tmp_path / "a.dcm")], "ann").ids
    with connect(client) as socket:
        socket.send_text(json.dumps({"clip": clip}))
        wait_for(children)
    wait_for(lambda: not children())


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("none", "not valid"),
        ({}, "Choose a clip"),
        ({"clip": "a", "source": "b"}, "Choose a clip"),
        ({"source": "a", "address": "b"}, "Choose a clip"),
        ({"clip": "nothing"}, "no such clip"),
        ({"source": "rtsp://192.0.2.1/"}, "no such source"),
        ({"address": "-"}, "Standard input"),
        ({"address": "a\0b"}, "Standard input"),
        ({"address": "/no/such/file.avi"}, "no such file"),
        ({"other": "x"}, "not valid"),
    ],
)
def test_what_cannot_be_played_says_why(client, request_, reason):
    ended = refusal(client, request_)
    assert reason in ended and "/no/such" not in ended


@contextlib.contextmanager
def elsewhere(settings, role, **more):
    """A client from another machine that has signed in."""
    away = settings.model_copy(update={"host": "0.0.0.0", **more})
    with page_client(away, "/sign-in") as client:
        client.app.state.page.accounts.add("meier", PASSWORD, role)
        sign_in(client)
        yield client


def test_an_address_is_for_admins(settings, tmp_path):
    app = create_app(settings.model_copy(update={"sign_in": True}))
    app.state.page.accounts.add("meier", PASSWORD, "reader")
    client = page_client(app, "/sign-in")
    with pytest.raises(WebSocketDisconnect), connect(client):
        pass
    sign_in(client)
    path = write_clip(tmp_path / "a.dcm")
    assert "Only an admin" in refusal(client, {"address": str(path)})
    app.state.page.close()


def test_from_elsewhere_no_address_makes_the_server_ask_another_one(settings, tmp_path):
    """Addresses of streams and devices are refused, however they are written."""
    folder = tmp_path / "clips"
    (folder / "http:" / "192.0.2.1").mkdir(parents=True)
    path = write_clip(folder / "http:" / "192.0.2.1" / "a.dcm")
    (folder / "link.dcm").symlink_to("/dev/zero")
    with elsewhere(settings, "admin", clip_folders=(folder,)) as client:
        for address in (
            "http://127.0.0.1:9/", "rtsp://192.0.2.1/1", "udp://@:1234", "0", "/dev/video0",
            "v4l2:/dev/video0", "file:///etc/passwd", "concat:/etc/passwd", f"file:{path}",
            f"{folder}/../b.dcm", "/etc/passwd", str(folder / "link.dcm"), "",
        ):  # fmt: skip
            ended = refusal(client, {"address": address})
            assert "From elsewhere" in ended or "Choose a clip" in ended, address
        assert _allowed_address(client.app.state.page.settings, str(path)) == str(path)


@pytest.fixture
def stream(tmp_path):
    """The address of a camera: an HTTP server that sends a video as it was recorded."""
    (tmp_path / "in").mkdir()
    frames = np.random.default_rng(0).integers(0, 255, (12, 96, 128), np.uint8)
    write_video(tmp_path / "in" / "camera.avi", frames)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=tmp_path / "in")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://ann:secret@127.0.0.1:{server.server_port}/camera.avi"
        server.shutdown()


def test_a_named_stream_is_played_by_every_reader_and_its_address_stays_here(
    settings, stream, monkeypatch
):
    monkeypatch.setattr(routes_live, "_RECONNECT_S", 0.0)
    named = (LiveSource.model_validate(f"Echo lab 1={stream}"),)
    with elsewhere(settings, "reader", live_sources=named) as client:
        html = client.get("/live").text
        assert "Echo lab 1" in html and "secret" not in html
        with connect(client) as socket:
            socket.send_text(json.dumps({"source": "Echo lab 1"}))
            frames, ended = receive_all(socket)
        assert 0 < len(frames) <= 12 and frames[-1][0]["latency_ms"] > 0
        assert "went away" in ended and "secret" not in ended and "--" not in ended
        *_, note = client.app.state.page.audit.records()
        assert note.options == {"account": "meier", "source": "Echo lab 1"}


def test_a_run_ends_after_its_time_and_says_so(settings, tmp_path):
    short = settings.model_copy(update={"live_limit_min": 0.01})
    with page_client(short) as client:
        path = write_clip(tmp_path / "a.dcm", num_frames=600)
        with connect(client) as socket:
            socket.send_text(json.dumps({"address": str(path)}))
            _, ended = receive_all(socket)
        assert ended.startswith("The run ended after 0.01 min, the limit of this server; start it")
        wait_for(lambda: not children())


def test_a_message_holds_no_number_that_is_withheld():
    mask = heart(spacing_mm=(1.0, 1.0), size=(150, 150))
    known = {"frame_index": 3, "time_s": 0.1, "mask": mask, "last_ed_s": None, "last_es_s": None}
    known |= {"num_beats": 0, "beat": None, "reset": "", "latency_s": 0.02}
    ef = state_ef(61.0, reliable=False, reason="dark")
    result = FrameResult(**known, volume_ml=None, volume_px3=900.0, ef=ef)
    message = frame_message(result, (0.02, None))
    assert (message.volume, message.unit, message.p50_ms, message.p95_ms) == (
        900.0, "relative", 20.0, None,
    )  # fmt: skip
    assert message.ef.ef_percent is None and message.latency_ms == 20.0


def test_outlines_go_around_the_structures():
    mask = heart(spacing_mm=(1.0, 1.0), size=(150, 150))
    lines = outlines(mask)
    assert set(lines) == {"lv_cavity", "lv_epi", "la"}
    for name, labels in (("lv_cavity", (1,)), ("lv_epi", (1, 2)), ("la", (3,))):
        x, y = np.array(lines[name]).T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        assert area == pytest.approx(np.isin(mask, labels).sum(), rel=0.05), name
        assert len(x) <= 160
    assert outlines(np.zeros((9, 9), np.uint8)) == {}

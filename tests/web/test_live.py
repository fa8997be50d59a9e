"""Live runs: what the page is sent, who may play what, and what is left when it goes away."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.websockets import WebSocketDisconnect

from echoseg.inference.ef_statement import state_ef
from echoseg.inference.live.session import FrameResult
from echoseg.web.app import create_app
from echoseg.web.live import frame_message, outlines
from heart_makers import heart
from page_makers import ADDRESS, page_client, sign_in
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
        ({"clip": "nothing"}, "no such clip"),
        ({"source": "-"}, "Standard input"),
        ({"source": "/no/such/file.avi"}, "no such file"),
        ({"other": "x"}, "not valid"),
    ],
)
def test_what_cannot_be_played_says_why(client, request_, reason):
    ended = refusal(client, request_)
    assert reason in ended and "/no/such" not in ended


def test_sources_are_for_admins(settings, tmp_path):
    app = create_app(settings.model_copy(update={"sign_in": True}))
    app.state.page.accounts.add("meier", "correct horse battery", "reader")
    client = page_client(app, "/sign-in")
    with pytest.raises(WebSocketDisconnect), connect(client):
        pass
    sign_in(client)
    path = write_clip(tmp_path / "a.dcm")
    assert "Only an admin" in refusal(client, {"source": str(path)})
    app.state.page.close()


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

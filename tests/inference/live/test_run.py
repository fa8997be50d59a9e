"""A live run: fast sources lose old frames and say so, sources end, go away and come back."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from clip_makers import moving_frames, write_dicom, write_video
from echoseg.cli import app
from echoseg.errors import ArgumentError, ConfigError, DamagedError, FormatError, OutputError
from echoseg.inference.live.frame_queue import FrameQueue
from echoseg.inference.live.run import LiveOptions, Run
from echoseg.inference.live.session import Session
from echoseg.inference.live.sources import LiveFrame, SourceOptions, is_endless, open_source
from echoseg.io.video import GrowingVideo
from echoseg.report.figures.live import open_sinks
from heart_makers import beating
from inference.live.stand_ins import GreySession, painted


def frames_of(masks, interval_s=0.0):
    for number, frame in enumerate(painted(masks)):
        time.sleep(interval_s)
        yield LiveFrame(frame=frame, time_s=number / 40, arrived_s=time.perf_counter())


def run(opener, *, delay_s=0.0, sinks=(), **options):
    session = Session(GreySession(delay_s=delay_s))
    return Run(opener, session, sinks, LiveOptions(**options))


def test_under_load_the_newest_frames_are_taken_and_the_others_counted():
    masks, _, _ = beating(60)
    status = run(lambda: frames_of(masks, 0.005), delay_s=0.03).follow()
    assert status.ended == "end of the source"
    assert status.dropped > 20
    assert status.num_frames + status.dropped == 60
    assert status.result.time_s == pytest.approx(59 / 40)  # the last one came through


def test_where_none_may_be_dropped_all_come_through_in_order():
    masks, _, _ = beating(30)
    status = run(lambda: frames_of(masks), delay_s=0.003, drop=False).follow()
    assert (status.num_frames, status.dropped) == (30, 0)


@pytest.mark.parametrize("drop", [True, False])
def test_only_a_run_that_may_drop_frames_looks_for_the_sector_aside(drop):
    session = Session(GreySession())
    Run(lambda: frames_of(beating(1)[0]), session, (), LiveOptions(drop=drop))
    assert session.waits is not drop


def test_a_source_that_comes_back_goes_on_and_time_does_not_run_back():
    masks, _, _ = beating(10)
    opened, times, resets = [], [], []

    class Times:
        def write(self, frame, reading):
            times.append(reading.time_s)
            resets.append(reading.reset)

        def close(self):
            pass

    def opener():
        opened.append(True)
        return frames_of(masks if len(opened) < 3 else masks[:0])

    status = run(opener, sinks=[Times()], drop=False, is_endless=True, reconnect_s=1.2).follow()
    assert status.ended == "the source went away"
    assert status.num_frames == 20 and len(opened) >= 3
    assert times == sorted(times)
    assert (status.resets, resets) == (1, [""] * 10 + ["reconnected"] + [""] * 9)
    assert "did not return within 1.2 s" in status.problems[0]


class Kept:
    """A sink that keeps what it is given, and fails from a frame on."""

    def __init__(self, fails_at=None):
        self.readings, self.fails_at, self.closed = [], fails_at, 0

    def write(self, frame, reading):
        if reading.frame_index == self.fails_at:
            raise OutputError("the place is full; make room")
        self.readings.append(reading)

    def close(self):
        self.closed += 1


def test_an_end_that_is_not_waited_for_is_no_reset_but_a_problem():
    masks, _, _ = beating(3)
    status = run(lambda: frames_of(masks), drop=False, is_endless=True).follow()
    assert (status.ended, status.resets) == ("the source went away", 0)
    assert "--reconnect (reconnect_s)" in status.problems[0]


def test_a_sink_that_fails_ends_the_run_and_what_came_before_is_told():
    masks, _, _ = beating(6)
    sinks = [Kept(), Kept(fails_at=4)]
    status = run(lambda: frames_of(masks), sinks=sinks, drop=False).follow()
    assert (status.ended, status.problems) == ("cut short", ("the place is full; make room",))
    assert status.result.frame_index == 3 and [sink.closed for sink in sinks] == [1, 1]


def test_the_run_goes_on_without_an_aside_that_fails():
    masks, _, _ = beating(6)
    sink, aside = Kept(), Kept(fails_at=2)
    following = Run(
        lambda: frames_of(masks), Session(GreySession()), [sink], LiveOptions(drop=False), [aside]
    )
    status = following.follow()
    assert (status.ended, status.num_frames) == ("end of the source", 6)
    assert status.problems == ("the place is full; make room",)
    assert (len(sink.readings), len(aside.readings), aside.closed) == (6, 2, 1)


@pytest.mark.parametrize("fails", ["sink", "aside"])
def test_a_place_that_takes_no_first_frame_is_refused(fails):
    masks, _, _ = beating(3)
    sink, aside = Kept(0 if fails == "sink" else None), Kept(0 if fails == "aside" else None)
    following = Run(
        lambda: frames_of(masks), Session(GreySession()), [sink], LiveOptions(drop=False), [aside]
    )
    with pytest.raises(OutputError, match="make room"):
        following.follow()
    assert sink.closed == 1


@pytest.mark.parametrize("is_endless", [False, True])
def test_frames_of_another_size_end_the_run_also_after_a_reconnection(is_endless):
    masks, _, _ = beating(4)
    pieces = [masks, masks[:, :140]]

    def opener():
        if is_endless:
            return frames_of(pieces.pop(0))
        return (one for piece in (masks, masks[:, :140]) for one in frames_of(piece))

    sink = Kept()
    status = run(opener, sinks=[sink], drop=False, is_endless=is_endless, reconnect_s=5.0).follow()
    assert (status.ended, len(sink.readings)) == ("cut short", 4)
    assert "changed from 150 x 150 to 140 x 150 pixels" in status.problems[0]


def test_an_error_nobody_thought_of_keeps_what_came_before():
    masks, _, _ = beating(4)
    network = GreySession()
    step = network.step
    network.step = lambda frame, state: step(frame, state) if state[0] < 2 else 1 / 0
    opener, options = lambda: frames_of(masks), LiveOptions(drop=False)
    following = Run(opener, Session(network), [], options)
    status = following.follow()
    assert (status.ended, status.result.frame_index) == ("cut short", 1)
    assert "ZeroDivisionError" in status.problems[0]


def test_a_source_without_a_frame_is_refused():
    with pytest.raises(FormatError, match="ended before its first frame"):
        run(lambda: iter(())).follow()


def test_the_last_frame_is_not_dropped_for_the_error_after_it():
    def broken():
        yield from frames_of(beating(1)[0])
        raise DamagedError("the rest is lost")

    status = run(broken, drop=True, delay_s=0.1).follow()
    assert (status.num_frames, status.problems) == (1, ("the rest is lost",))


def test_a_run_ends_when_it_is_wanted_to():
    masks, _, _ = beating(5)
    sink = Kept()
    options = {"drop": False, "is_over": lambda: len(sink.readings) == 2}
    assert run(lambda: frames_of(masks), sinks=[sink], **options).follow().ended == "stopped"
    assert len(sink.readings) == 2


def test_a_source_that_never_opens_is_an_error():
    def opener():
        raise FormatError("nothing there")

    with pytest.raises(FormatError, match="nothing there"):
        run(opener, is_endless=True, reconnect_s=5).follow()


def test_a_run_is_stopped_from_another_thread():
    masks, _, _ = beating(10)

    def endless():
        while True:
            yield from frames_of(masks, 0.01)

    def forever():
        for number, each in enumerate(endless()):
            yield LiveFrame(frame=each.frame, time_s=number / 40, arrived_s=each.arrived_s)

    following = run(forever)
    threading.Timer(0.5, following.stop).start()
    assert following.follow().ended == "stopped"


def test_masks_come_back_from_the_video_they_were_written_to(tmp_path):
    masks, _, _ = beating(12)
    sinks = open_sinks(tmp_path, str(tmp_path / "over.mkv"))
    run(lambda: frames_of(masks), sinks=[*sinks.needed, *sinks.asides], drop=False).follow()
    with av.open(str(tmp_path / "masks.mkv")) as video:
        kept = [frame for frame in video.decode(video=0)]
    assert np.array_equal(np.stack([f.to_ndarray(format="gray") for f in kept]), masks)
    assert [frame.time for frame in kept] == pytest.approx(np.arange(12) / 40, abs=1e-3)
    with av.open(str(tmp_path / "over.mkv")) as video:
        assert len(list(video.decode(video=0))) == 12
    assert len((tmp_path / "frames.csv").read_text().splitlines()) == 13
    options = SourceOptions(paced=False)
    times = [one.time_s for one in open_source(str(tmp_path / "masks.mkv"), options)]
    assert times == pytest.approx(np.arange(12) / 40, abs=1e-3)  # its own, at no declared rate


def test_a_video_of_labels_refuses_another_size(tmp_path):
    video = GrowingVideo(str(tmp_path / "masks.mkv"), lossless=True, name="masks.mkv")
    video.add(np.ones((48, 64), np.uint8), 0.0)
    with pytest.raises(ArgumentError, match=r"masks.mkv holds frames of 48 x 64 .* 64 x 48"):
        video.add(np.ones((64, 48), np.uint8), 0.1)
    video.close()


def test_a_receiver_that_takes_nothing_holds_nothing_up(monkeypatch):
    monkeypatch.setattr("echoseg.io.video.WRITE_TIMEOUT_S", 0.3)
    noise = np.random.default_rng(0).integers(0, 255, (480, 480, 3), dtype=np.uint8)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        video = GrowingVideo(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(OutputError, match="check that its receiver runs"):
            for number in range(300):
                video.add(np.roll(noise, number, 0), number / 40)


def test_a_full_disk_leaves_whole_rows(tmp_path, monkeypatch):
    masks, _, _ = beating(3)
    (table,) = open_sinks(tmp_path, None).needed[1:]
    readings = [Session(GreySession()).push(frame) for frame in painted(masks)]
    table.write(masks[0], readings[0])
    raw = table._file
    table._file = SimpleNamespace(
        write=lambda row: raw.write(row[:5]), truncate=raw.truncate, close=raw.close
    )
    with pytest.raises(OutputError, match=r"frames.csv cannot be written .*; make room"):
        table.write(masks[1], readings[1])
    table.close()
    text = (tmp_path / "frames.csv").read_text()
    assert text.endswith("\n") and len(text.splitlines()) == 2


def raw_frames(data, size):
    """Yield what is read of bytes in a pipe whose other end is closed."""
    out, into = os.pipe()
    with os.fdopen(into, "wb") as pipe:
        pipe.write(data)
    try:
        yield from open_source("-", SourceOptions(size=size, frame_rate_hz=10.0, raw=out))
    finally:
        os.close(out)


def test_raw_frames_come_from_a_pipe_and_a_torn_last_one_is_told():
    frames, taken = moving_frames(5), []
    with pytest.raises(DamagedError, match="frame 5 on standard input is cut short, 4 of 3072"):
        for one in raw_frames(frames.tobytes() + b"torn", frames.shape[1:]):
            taken.append(one)
    assert np.array_equal(np.stack([one.frame for one in taken]), frames)
    assert [one.time_s for one in taken] == pytest.approx(np.arange(5) / 10)


def test_a_pipe_without_a_frame_is_refused():
    with pytest.raises(FormatError, match="ended before its first frame"):
        list(raw_frames(b"", (48, 64)))


def test_a_closed_standard_input_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(FormatError, match="closed or no pipe; pipe raw frames into it"):
        list(open_source("-", SourceOptions(size=(48, 64), frame_rate_hz=10.0)))


@pytest.mark.parametrize(
    ("size", "rate_hz"), [(None, 10.0), ((64, 64), None), ((0, 64), 10.0), ((10**7, 64), 10.0)]
)
def test_raw_frames_without_size_or_rate_are_refused(size, rate_hz):
    with pytest.raises(ConfigError, match="--size"):
        open_source("-", SourceOptions(size=size, frame_rate_hz=rate_hz))


def test_a_damaged_file_is_played_and_then_told(tmp_path):
    write_video(tmp_path / "clip.avi", moving_frames(12))
    data = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "clip.avi").write_bytes(data[: len(data) * 2 // 3])
    taken = []
    with pytest.raises(DamagedError, match=r"of 12 frames cannot be read .* the rest was played"):
        for one in open_source(str(tmp_path / "clip.avi"), SourceOptions(paced=False)):
            taken.append(one)
    assert 2 < len(taken) < 12


def test_a_size_goes_with_raw_frames_alone():
    with pytest.raises(ConfigError, match=r"--size 48 64 goes with raw frames"):
        open_source("clip.avi", SourceOptions(size=(48, 64)))


@pytest.mark.parametrize("write", [write_video, write_dicom])
def test_a_file_is_played_at_its_own_rate(tmp_path, write):
    write(tmp_path / "clip", moving_frames(11))  # 25 frames a second
    begin = time.perf_counter()
    times = [one.time_s for one in open_source(str(tmp_path / "clip"), SourceOptions())]
    assert times == pytest.approx(np.arange(11) / 25, abs=1e-3)
    assert time.perf_counter() - begin >= 0.4
    begin = time.perf_counter()
    assert len(list(open_source(str(tmp_path / "clip"), SourceOptions(paced=False)))) == 11


def test_what_may_go_away_is_told_from_a_file():
    assert (
        is_endless("rtsp://probe/1") and is_endless("/dev/video0") and is_endless("dshow:video=P")
    )
    assert not is_endless("clip.avi") and not is_endless("-") and not is_endless("C:clip.avi")


@pytest.mark.slow
def test_a_stream_over_udp_is_read_until_its_sender_falls_silent():
    url = "udp://127.0.0.1:45123"
    taken = []

    def send():
        time.sleep(0.5)
        with av.open(url, "w", format="mpegts") as out:
            stream = out.add_stream("mpeg2video", rate=25)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            stream.gop_size = 5
            for frame in np.tile(moving_frames(), (25, 1, 1)):
                picture = av.VideoFrame.from_ndarray(np.stack([frame] * 3, -1), format="rgb24")
                out.mux(stream.encode(picture))
                time.sleep(0.02)

    sender = threading.Thread(target=send)
    sender.start()
    for one in open_source(url, SourceOptions()):
        taken.append(one)
    sender.join()
    assert len(taken) > 20
    assert taken[0].frame.shape == (48, 64)


def test_a_stream_that_is_not_there_is_refused(monkeypatch):
    with pytest.raises(FormatError, match="cannot be opened as a live source"):
        list(open_source("http://127.0.0.1:9/none", SourceOptions()))


def test_nobody_waits_for_a_run_that_is_over():
    waiting = FrameQueue(drop=False, capacity=1)
    assert waiting.put(1)
    threading.Timer(0.1, waiting.close).start()
    assert not waiting.put(2)
    assert waiting.get(0.1) == 1 and waiting.get(0.0) is None and waiting.is_over


def echo_live(*words):
    return CliRunner().invoke(app, ["live", *map(str, words), "--model", "phantom"])


def test_a_file_is_followed_from_the_command_line(tmp_path):
    write_video(tmp_path / "clip.avi", moving_frames(12))
    out = tmp_path / "out"
    done = echo_live(tmp_path / "clip.avi", "-o", out, "--every-frame")
    assert done.exit_code == 0, done.output
    assert "end of the source: 12 frames, 0 dropped" in done.output
    assert "latency p50/p95/p99" in done.output
    assert {path.name for path in out.iterdir()} == {"masks.mkv", "frames.csv", "report.json"}
    report = json.loads((out / "report.json").read_text())
    assert report["ef_percent"] is None and report["ef_reason"] in done.output
    assert report["ef_reason"]
    again = echo_live(tmp_path / "clip.avi", "-o", out)
    assert again.exit_code == 2
    assert "exists and is not replaced; choose another -o" in again.output
    shown = echo_live(tmp_path / "clip.avi", "-o", tmp_path / "b", "--overlay", "foo://x")
    assert shown.exit_code == 2 and "foo://x cannot be written" in shown.output
    assert not (tmp_path / "b").exists()


def test_a_folder_that_may_not_be_looked_into_is_refused(tmp_path, monkeypatch):
    def refuse(*asked, **known):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    for words in (("-o", tmp_path / "out"), ("--overlay", tmp_path / "over.mkv")):
        done = echo_live("none.avi", *words)
        assert done.exit_code == 2
        assert "cannot be written (Permission denied); choose another" in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none.avi",), "no such file"),
        (("-", "--fps", "50"), "--size"),
        (("none.avi", "--overlay", "a.txt"), "must end in .mkv or .mp4"),
        (("none.avi", "--fps", "0.1"), "--fps (fps)"),
        (("none.avi", "-o", "a.mkv"), "must be a folder, got a.mkv; for a video give --overlay"),
        (("none.avi", "-o", "a", "--overlay", "a/b.mkv"), "neither inside the other"),
    ],
)
def test_a_wrong_command_is_one_sentence(words, message):
    done = echo_live(*words)
    assert done.exit_code == 2
    assert message in done.output.splitlines()[-1]


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_was_written_whole(tmp_path, number):
    out, over = tmp_path / "out", tmp_path / "over.mkv"
    words = ["live", "-", "--size", "64", "64", "--fps", "50", "-o", out, "--overlay", over]
    running = subprocess.Popen(
        [sys.executable, "-m", "echoseg", *map(str, words), "--model", "phantom"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    running.stdin.write(np.zeros((30, 64, 64), np.uint8).tobytes())
    running.stdin.flush()
    for _ in range(1200):
        time.sleep(0.05)
        hidden = list(tmp_path.glob(".echoseg/*/new/out/frames.csv"))
        if hidden and hidden[0].read_text().count("\n") > 1:
            break
    running.send_signal(number)
    running.wait(60)  # the pipe is still open: nothing may wait for it
    printed, said = running.communicate()
    assert running.returncode == 0, said
    assert b"stopped: " in printed and said == b""
    assert json.loads((out / "report.json").read_text())["ended"] == "stopped"
    for path in (out / "masks.mkv", over):
        with av.open(str(path)) as video:
            assert len(list(video.decode(video=0))) > 0

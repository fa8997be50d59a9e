"""A server that is killed in the middle of an analysis loses nothing that it had acknowledged."""

import os
import signal

import httpx2 as httpx
import psutil

import echoseg
from page_makers import csrf_of, running_page
from worklist_makers import wait_for, write_clip


def rows(client):
    return client.get("/api/clips").json()["rows"]


def drop(client, path):
    token = csrf_of(client.get("/").text)
    files = [("files", (path.name, path.read_bytes()))]
    answer = client.post("/api/clips", files=files, headers={"X-CSRF-Token": token})
    (clip,) = answer.json()["added"]
    return clip


def test_a_server_killed_in_an_analysis_goes_on_after_a_restart(tmp_path):
    path, folder = write_clip(tmp_path / "Miller.dcm", num_frames=45), tmp_path / "page"
    with running_page(folder) as (address, process), httpx.Client(base_url=address) as client:
        clip = drop(client, path)
        path.unlink()  # what was dropped is the server's
        wait_for(lambda: rows(client)[0]["frames_done"] > 0)
        workers = psutil.Process(process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    psutil.wait_procs(workers, 10)
    assert not any(one.is_running() and one.status() != "zombie" for one in workers)
    with running_page(folder) as (address, _), httpx.Client(base_url=address) as client:
        (row,) = rows(client)
        assert row["id"] == clip and row["state"] in ("queued", "running")
        wait_for(lambda: rows(client)[0]["state"] == "ready", 120)
        reading = client.get(f"/api/clips/{clip}/reading").json()
    again = write_clip(tmp_path / "again.dcm", num_frames=45)
    expected = echoseg.analyze(again).to_dict()
    assert reading["beats"][0]["ed_frame"] == expected["results"]["beats"][0]["ed_frame"]
    assert rows_of(folder) == {"ready"} and not list((folder / "clips" / clip).glob("*partial*"))


def rows_of(folder):
    import sqlite3

    with sqlite3.connect(folder / "page.sqlite") as database:
        return {state for (state,) in database.execute("SELECT state FROM page_clip")}

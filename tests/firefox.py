"""The system's Firefox over WebDriver BiDi: what a test needs of it, without geckodriver."""

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

_WAIT_S = 60
_KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Right": "\ue014", "Shift": "\ue008", "Ctrl": "\ue009"}


@contextlib.contextmanager
def firefox():
    """Yield the system's Firefox; the test is skipped where it is not installed."""
    client = pytest.importorskip("websockets.sync.client", reason="needs websockets")
    path = shutil.which("firefox") or pytest.skip("needs Debian's package firefox-esr")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        words = [path, "--headless", "--no-remote", "--profile", folder]
        with log.open("w") as errors:
            process = subprocess.Popen([*words, "--remote-debugging-port=0"], stderr=errors)
        try:
            with client.connect(f"{_address(log)}/session", max_size=None) as socket:
                yield Firefox(socket)
        finally:
            process.terminate()
            process.wait(30)


def _address(log):
    """The address that Firefox prints once it listens."""
    end = time.monotonic() + _WAIT_S
    while not (match := re.search(r"ws://\S+", log.read_text())):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return match[0]


class Firefox:
    """One tab."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)
        self.send("session.new", capabilities={})
        self._tab = self.send("browsingContext.create", type="tab")["context"]
        size = {"width": 1440, "height": 900}
        self.send("browsingContext.setViewport", context=self._tab, viewport=size)

    def send(self, method, **params):
        """Send a command, and return its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=_WAIT_S))
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]

    def open(self, url):
        """Open an address."""
        self.send("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def value(self, expression):
        """The value of an expression, as JSON can hold it."""
        result = self.send(
            "script.evaluate", expression=f"JSON.stringify({expression})",
            target={"context": self._tab}, awaitPromise=True,
        )  # fmt: skip
        assert result["type"] == "success", result
        return json.loads(result["result"].get("value", "null"))

    def wait(self, expression):
        """Wait until an expression is true."""
        end = time.monotonic() + _WAIT_S
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end, expression
            time.sleep(0.05)

    def press(self, *keys):
        """Press keys together, named as in `_KEYS`."""
        values = [_KEYS.get(key, key) for key in keys]
        actions = [{"type": "keyDown", "value": value} for value in values]
        actions += [{"type": "keyUp", "value": value} for value in reversed(values)]
        self._perform({"type": "key", "id": "keys", "actions": actions})

    def drag(self, start, end):
        """Drag the mouse from a place to another."""
        middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
        moves = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 20}
            for x, y in (start, middle, end)
        ]
        down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        actions = [moves[0], down, *moves[1:], up]
        self._perform({"type": "pointer", "id": "mouse", "actions": actions})

    def _perform(self, source):
        self.send("input.performActions", context=self._tab, actions=[source])

"""The Hugging Face Hub with its own library and a mirror of it here, and torch.hub."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from typer.testing import CliRunner

import echoseg
from echoseg.cli import app
from echoseg.errors import ModelError
from echoseg.weights.card import SHIPPED, find_checkpoint
from echoseg.weights.hub import fetch

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "camus"
    run = CliRunner().invoke(app, ["export", "camus", "--to", "huggingface", "-o", str(folder)])
    assert run.exit_code == 0, run.output
    return folder


@pytest.fixture(scope="module")
def mirror(repository):
    """The three kinds of answer that the Hub gives: the list of files, their size, their bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, with_body):
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:5] == ["api", "models", "lab", "echo", "tree"]:
                names = [(p.name, p.stat().st_size) for p in repository.iterdir()]
                tree = [
                    {"type": "file", "path": name, "size": size, "oid": name}
                    for name, size in [*names, ("evil.py", 9)]
                ]
                body, kind = json.dumps(tree).encode(), "application/json"
            elif parts[:4] == ["api", "models", "lab", "echo"]:
                siblings = [{"rfilename": p.name} for p in repository.iterdir()]
                siblings.append({"rfilename": "evil.py"})
                body = json.dumps({"id": "lab/echo", "sha": COMMIT, "siblings": siblings}).encode()
                kind = "application/json"
            elif parts[:3] == ["lab", "echo", "resolve"]:
                assert parts[-1] != "evil.py", "code was asked for"
                body, kind = (repository / parts[-1]).read_bytes(), "application/octet-stream"
            else:
                is_odd = parts[:4] == ["api", "models", "lab", "odd"]
                self.send_response(200 if is_odd else 404)
                if not is_odd:
                    self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def python(code, mirror, cache):
    """Run code as a user with that mirror; the library reads its settings when it is imported."""
    env = os.environ | {"HF_ENDPOINT": mirror, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


def test_the_card_is_one_that_the_hub_reads(repository):
    card = ModelCard.load(repository / "README.md")
    assert card.data.library_name == "echoseg" and card.data.license == "cc-by-nc-sa-4.0"
    values = {one.metric_name: one.metric_value for one in card.data.eval_results}
    stated = echoseg.load_model("camus")[1].camus_validation
    assert values["Dice, LV cavity, A4C"] == pytest.approx(stated["lv_endo"], abs=1e-4)
    assert "not a medical device" in card.text


def test_weights_come_from_the_hub_with_their_calibration_and_only_once(mirror, tmp_path):
    code = """
from pathlib import Path
from echoseg.weights.card import find_checkpoint, read_card
path = find_checkpoint("hf:lab/echo")
print(read_card(path).sha256, *sorted(p.name for p in path.parent.iterdir()))
"""
    sha256, *names = python(code, mirror, tmp_path).split()
    assert sha256 == hashlib.sha256(find_checkpoint("camus").read_bytes()).hexdigest()
    assert names == ["model.safetensors", "model.trust.json", "model.view.safetensors"]
    offline = f"import os; os.environ['HF_HUB_OFFLINE'] = '1'\n{code}"
    assert python(offline, "http://127.0.0.1:9", tmp_path).split()[0] == sha256


def test_a_network_of_the_hub_gives_what_the_shipped_one_gives(mirror, tmp_path):
    code = """
import torch, echoseg
frames = torch.rand(1, 2, 1, 160, 160, generator=torch.Generator().manual_seed(0))
names = ("camus", "hf:lab/echo@COMMIT")
networks = [echoseg.load_model(name)[0] for name in names]
with torch.no_grad():
    one, two = (network(frames) for network in networks)
print(torch.equal(one, two))
""".replace("COMMIT", COMMIT)
    assert python(code, mirror, tmp_path) == "True"


def test_what_cannot_be_fetched_is_refused_in_a_sentence(mirror, tmp_path):
    code = """
import echoseg
try:
    echoseg.load_model("hf:lab/none")
except echoseg.EchosegError as error:
    print(error)
"""
    for name, why in (("none", "it is not there, or not open to you"), ("odd", "no usable answer")):
        said = python(code.replace("lab/none", f"lab/{name}"), mirror, tmp_path)
        assert f"'hf:lab/{name}' cannot be fetched ({why}); check name" in said
    for wrong in ("hf:", "hf:name", "hf:a/b/c", "hf:a/b@", "hf:../../x"):
        with pytest.raises(ModelError, match="must be hf:OWNER/NAME"):
            fetch(wrong)


def test_a_hub_that_does_not_answer_is_named_with_what_chooses_it(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_, **__):
        raise LocalEntryNotFoundError("a long text with addresses")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"\(no answer, and not stored\).*HF_HUB_OFFLINE"):
        fetch("hf:lab/echo")


def test_a_network_of_another_package_is_not_imported(mirror, tmp_path, monkeypatch):
    import huggingface_hub
    from safetensors.torch import save_file

    card = {"architecture": "os:system", "image_size": 160, "licence": "MIT"}
    metadata = {"echoseg_format": "2", "card": json.dumps(card), "config": "{}"}
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors", metadata=metadata)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(ModelError, match="whose code would run"):
        echoseg.load_model("hf:lab/echo")


@pytest.mark.parametrize("name", SHIPPED)
def test_torch_hub_loads_the_shipped_networks(name):
    network = torch.hub.load(str(ROOT), name.replace("-", "_"), source="local")
    assert not network.training and network.card.name == name

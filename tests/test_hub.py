"""The files beside weights that timm, transformers and the hub want, and the way to a hub, which runs here."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open

import lenet_zoo.errors
import lenet_zoo.hub
from lenet_zoo import cards
from lenet_zoo.hub import hub_files
from lenet_zoo.models._card import weight_bytes


def write(folder: Path, name: str = "lenet5_classic", **changes: Any) -> Any:
    """A folder as a run leaves it; gives the network."""
    model: Any = lenet_zoo.create_model(name, pretrained=True, **changes)
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(weight_bytes(model.state_dict(), {"format": "pt"}))
    card = replace(model.card, sha256=cards.sha256_of(folder / "model.safetensors"))
    for file, text in hub_files(model, card).items():
        (folder / file).write_text(text, encoding="utf-8")
    card.write(folder / "card.json")
    return model


@pytest.mark.parametrize("changes", [{}, {"num_classes": 3}, {"num_classes": 3, "characters": "xyz"}], ids=str)
def test_timm_loads_the_folder(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = write(tmp_path, **changes)
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()(x), model(x))
    # transformers hands these arguments on together with the number of classes.
    config = json.loads((tmp_path / "config.json").read_bytes())
    assert not {"num_classes", "characters"} & config["model_args"].keys()
    assert config["image_processor_type"] == "LeNetImageProcessor"  # of lenet_zoo._transformers
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_model_card_has_what_the_hub_searches_by(tmp_path: Path) -> None:
    card = write(tmp_path, "lenet5_modern.fashion_mnist").card
    found = ModelCard.load(tmp_path / "README.md")
    assert found.data.library_name == "timm"
    assert found.data.license == "apache-2.0"
    assert found.data.datasets == ["zalando-datasets/fashion_mnist"]
    assert found.data.pipeline_tag == "image-classification"
    figures = {result.dataset_split: result.metric_value for result in found.data.eval_results}
    assert figures == {split: card.metrics[split]["accuracy"] for split in ("validation", "test")}
    assert "Sneaker" in found.text
    test = card.metrics["test"]
    row = f"| test | {test['correct']:,} | 10,000 | {test['correct'] / 100:.2f} % |"
    assert row in found.text.splitlines()


def test_of_an_unknown_data_set_nothing_is_claimed() -> None:
    model = lenet_zoo.create_model("lenet5_modern", num_classes=2)
    found = ModelCard(hub_files(model, replace(model.card, labels=("a", "b")))["README.md"])
    assert (found.data.datasets, found.data.license, found.data.eval_results) == (None, None, None)
    assert "accuracy |" not in found.text


def test_the_code_of_an_unknown_number_of_classes_can_be_written_anew() -> None:
    """transformers calls it for a layer that the weights do not fit, and otherwise leaves what was in memory."""
    output: Any = lenet_zoo.create_model("lenet5_classic", num_classes=36).output
    wanted = output.weight.clone()
    output.weight.fill_(float("nan"))
    output.init_non_persistent_buffers()
    assert torch.equal(output.weight, wanted)


# -------------------------------------------------------------------------------------------------------------- push


class Hub(ThreadingHTTPServer):
    """As much of the hub as receives files: what was sent, by name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.created: dict[str, Any] = {}
        self.token = ""


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            there, self.server.created = bool(self.server.created), json.loads(body)
            return self.answer(409 if there else 200, {"url": f"{self.server.url}/me/digits"})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.path == "/api/models/me/digits/preupload/main":
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            return self.answer(200, {"files": [{**file, "shouldIgnore": False} for file in files]})
        assert self.path == "/api/models/me/digits/commit/main"
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return self.answer(200, {"commitOid": "0" * 40, "commitUrl": f"{self.server.url}/me/digits/commit/0"})

    def do_GET(self) -> None:
        self.answer(404, {"error": "not here"})

    def answer(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    write(folder)
    (folder / "checkpoint.pt").write_bytes(b"of no use to others")
    return folder


def push(hub_url: str, *argv: str, token: str = "hf_right") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HF_ENDPOINT": hub_url, "HF_TOKEN": token, "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
    return subprocess.run([sys.executable, "-m", "lenet_zoo", "push", *argv], capture_output=True, text=True, env=env)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("typed", ["me/digits", "digits"])
def test_a_folder_is_sent_in_one_commit(hub: Hub, folder: Path, typed: str, there: bool) -> None:
    hub.files.clear()
    hub.created = {"name": "digits"} if there else {}
    done = push(hub.url, str(folder), typed, "--private", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["url"] == f"{hub.url}/me/digits"
    assert hub.created["name"] == "digits"
    assert hub.created.get("private") or hub.created.get("visibility") == "private"
    assert sorted(hub.files) == ["README.md", "card.json", "config.json", "model.safetensors"]
    for name in ("card.json", "config.json", "model.safetensors"):
        assert hub.files[name] == (folder / name).read_bytes()
    assert b'"hf-hub:me/digits"' in hub.files["README.md"]


@pytest.mark.parametrize(
    ("argv", "token", "status", "said"),
    [
        (["me/digits"], "hf_wrong", 1, "log in with `hf auth login`, or set HF_TOKEN"),
        (["a name/of/three"], "hf_right", 2, "'a name/of/three' is no name of a repository, give OWNER/NAME: "),
    ],
)
def test_a_refusal_is_one_line(hub: Hub, folder: Path, argv: list[str], token: str, status: int, said: str) -> None:
    done = push(hub.url, str(folder), *argv, token=token)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_hub_that_is_not_there_is_said(folder: Path) -> None:
    done = push("http://127.0.0.1:9", str(folder), "me/digits")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("lenet-zoo: me/digits was not written: ")
    assert "; is http://127.0.0.1:9 to be reached from here? HF_ENDPOINT names another hub" in done.stderr


def test_only_a_finished_network_is_sent(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(lenet_zoo.errors.InputError, match=r"has no config\.json: give a folder that `lenet-zoo train`"):
        lenet_zoo.hub.push(tmp_path, "me/digits")
    for name in ("card.json", "config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"others")
    with pytest.raises(lenet_zoo.errors.WeightsError, match="SHA-256"):
        lenet_zoo.hub.push(tmp_path, "me/digits")

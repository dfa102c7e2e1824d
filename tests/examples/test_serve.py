"""`examples/serve.py`, with only the packages that its Dockerfile installs, asked by a real client."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lenet_zoo
from lenet_zoo.cli import _DEPENDENCIES
from lenet_zoo.errors import to_install

httpx = pytest.importorskip("httpx", reason=f"needs httpx: {to_install('test')}")
for module in ("fastapi", "uvicorn", "python_multipart"):
    pytest.importorskip(module, reason=f"needs {module}: {to_install('serve')}")

ROOT = Path(__file__).parents[2]
PICTURES = [
    ROOT / "tests" / "fixtures" / "pictures" / f"{name}.png"
    for name in ("pen_fat", "pen_thin", "scan_8x8", "scan_dark_on_light")
]
MOST_BYTES, MOST_PIXELS, MOST_REQUESTS = 300_000, 4_000_000, 12
JSON = {"Content-Type": "application/json"}


def wide_picture() -> bytes:
    file = io.BytesIO()
    Image.new("1", (MOST_PIXELS + 1, 1)).save(file, "PNG")
    return file.getvalue()


WIDE = wide_picture()


def installed() -> set[str]:
    text = (ROOT / "examples" / "Dockerfile").read_text(encoding="utf-8")
    (packages,) = re.findall(r"^    && pip install --no-cache-dir ([a-z -]+) \\$", text, re.M)
    return set(packages.split())


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    return lenet_zoo.export_onnx(model, tmp_path_factory.mktemp("served") / "digits.onnx", input="pixels")


@contextmanager
def running(network: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The service on a free port, and a client of it."""
    here = {"PIL" if package == "pillow" else package for package in installed()}
    most = {"--bytes": MOST_BYTES, "--pixels": MOST_PIXELS, "--requests": MOST_REQUESTS}
    arguments = [str(network), "--port", "0", *(str(one) for option in most.items() for one in option)]
    code = (
        "import runpy, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {sorted(_DEPENDENCIES - here)}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"sys.argv = ['serve.py', *{arguments}]\n"
        f"runpy.run_path({str(ROOT / 'examples' / 'serve.py')!r}, run_name='__main__')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            break
    else:
        raise AssertionError(said)
    try:
        with httpx.Client(base_url=found[0], timeout=60, trust_env=False) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def client(network: Path) -> Iterator[httpx.Client]:
    with running(network) as (_, client):
        yield client


def test_an_uploaded_file_is_read_as_the_classifier_reads_it(client: httpx.Client, network: Path) -> None:
    classifier = lenet_zoo.OnnxClassifier(network)
    for path in PICTURES:
        (wanted,) = classifier.predict(path, top_k=2)
        answer = client.post("/predict", params={"top_k": 2}, files={"picture": path.read_bytes()})
        assert answer.status_code == 200
        assert answer.json() == {
            "label": wanted.label,
            "confidence": pytest.approx(wanted.confidence, abs=1e-6),
            "top": [{"label": t.label, "confidence": pytest.approx(t.confidence, abs=1e-6)} for t in wanted.top],
            "reason": None,
            "at_edge": wanted.at_edge,
        }


def test_a_picture_comes_within_json(client: httpx.Client) -> None:
    uploaded = client.post("/predict", files={"picture": PICTURES[0].read_bytes()}).json()
    text = base64.b64encode(PICTURES[0].read_bytes()).decode()
    assert client.post("/predict/json", json={"picture": text}).json() == uploaded
    pixels = lenet_zoo.digit_from_image(PICTURES[0]).tolist()
    assert client.post("/predict/json", json={"pixels": pixels}).json()["label"] == uploaded["label"]


def test_a_blank_picture_is_rejected_with_the_reason(client: httpx.Client) -> None:
    answer = client.post("/predict/json", json={"pixels": np.zeros((28, 28), int).tolist()})
    assert answer.status_code == 200
    assert answer.json()["label"] is None
    assert answer.json()["reason"]
    answer = client.post("/predict", params={"min_confidence": 1}, files={"picture": PICTURES[0].read_bytes()})
    assert answer.json()["label"] is None
    assert "< 1" in answer.json()["reason"]


def test_the_service_says_that_it_is_well(client: httpx.Client) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "model": "lenet5_modern", "labels": list("0123456789")}


@pytest.mark.parametrize(
    ("path", "request_", "status", "said"),
    [
        ("predict", dict(files={"picture": b"remember the milk"}), 422, "not a picture of a known format"),
        ("predict", dict(files={"picture": b""}), 422, "is empty"),
        ("predict", dict(files={"picture": PICTURES[0].read_bytes()[:-60]}), 422, "is a damaged picture"),
        ("predict", dict(files={"photo": b"x"}), 422, "body.picture: Field required"),
        ("predict", dict(content=b"x"), 422, "body.picture: Field required"),
        ("predict?top_k=two", dict(files={"picture": PICTURES[0].read_bytes()}), 422, "query.top_k: Input should be a"),
        ("predict?top_k=99", dict(files={"picture": PICTURES[0].read_bytes()}), 422, "top_k=99: from 1 to"),
        ("predict", dict(files={"picture": bytes(MOST_BYTES)}), 413, "has more than 300,000 bytes"),
        ("predict/json", dict(content=b"[" * MOST_BYTES + b"["), 413, "has more than 300,000 bytes"),
        (
            "predict/json",
            dict(content=(bytes(1000) for _ in range(MOST_BYTES // 1000 + 1))),
            413,
            "has more than 300,000 bytes",
        ),
        ("predict", dict(files={"picture": WIDE}), 413, "the picture has more than 4,000,000 pixels"),
        ("predict/json", dict(json={"picture": base64.b64encode(WIDE).decode()}), 413, "more than 4,000,000 pixels"),
        ("predict/json", dict(content=b'{"pixels": ', headers=JSON), 422, "JSON"),
        ("predict/json", dict(content=b"[" * 100_000, headers=JSON), 400, "error parsing the body"),
        ("predict/json", dict(json={}), 422, "give either picture or pixels"),
        ("predict/json", dict(json={"pixels": [[0, 1], [2]]}), 422, "rows of one length"),
        ("predict/json", dict(json={"pixels": []}), 422, "rows of one length"),
        ("predict/json", dict(json={"pixels": [[0] * 9] * 9}), 422, "give uint8 N×28×28"),
        ("predict/json", dict(json={"pixels": [[256] * 28] * 28}), 422, "body.pixels.0.0: Input should be less than"),
        ("predict/json", dict(json={"pixels": [[256] * 28] * 28}), 422, "255, and 783 more"),
        ("predict/json", dict(json={"picture": "abc"}), 422, "picture is not base64"),
        ("predict/json", dict(json={"picture": "!!!"}), 422, "picture is not base64"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_line(
    client: httpx.Client, path: str, request_: dict, status: int, said: str
) -> None:
    answer = client.post(f"/{path}", **request_)
    assert answer.status_code == status
    detail = answer.json()["detail"]
    assert said in detail
    assert "\n" not in detail
    assert client.get("/health").status_code == 200


def test_requests_at_once_get_the_answers_of_one_by_one(client: httpx.Client) -> None:
    jobs = PICTURES * 6

    def ask(path: Path) -> dict:
        return client.post("/predict", files={"picture": path.read_bytes()}).json()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, jobs))
    one_by_one = {path: ask(path) for path in PICTURES}
    assert found == [one_by_one[path] for path in jobs]


def test_more_requests_at_once_than_allowed_are_sent_away(client: httpx.Client) -> None:
    with ExitStack() as held:
        for _ in range(MOST_REQUESTS):
            held.enter_context(socket.create_connection((client.base_url.host, client.base_url.port)))
        # The service counts a connection a moment after the kernel has taken it.
        deadline = time.monotonic() + 60
        while (status := client.get("/health").status_code) == 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status == 503


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_a_request_that_has_begun_is_answered_before_the_service_stops(network: Path) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="picture"; filename="x.png"\r\n\r\n'
        + PICTURES[0].read_bytes()
        + b"\r\n--b--\r\n"
    )
    head = (
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with running(network) as (process, client):
        with socket.create_connection((client.base_url.host, client.base_url.port), timeout=60) as connection:
            connection.sendall(head.encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")  # the service has begun to read the request
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            assert any("Shutting down" in line for line in process.stderr)
            connection.sendall(body)
            answer = b""
            while part := connection.recv(10_000):
                answer += part
        assert b" 200 OK" in answer
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["label"] is not None
        assert process.wait(60) in (0, -signal.SIGTERM)


def test_the_container_copies_what_there_is_and_installs_what_is_needed() -> None:
    text = (ROOT / "examples" / "Dockerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", text, re.M) for name in line.split()]
    assert [name for name in copied if not (ROOT / name).exists()] == ["digits.onnx"]  # which the user exports
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extra,) = re.findall(r"^serve = \[\n(.*?)^\]", project, re.M | re.S)
    assert installed() - {"numpy", "onnxruntime", "pillow"} == set(re.findall(r'^    "([\w-]+)', extra, re.M))


def test_a_file_that_is_no_network_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.onnx").write_text("remember the milk")
    argv = [sys.executable, str(ROOT / "examples" / "serve.py"), str(tmp_path / "notes.onnx")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(f"serve.py: error: {tmp_path}/notes.onnx is not an ONNX file\n")

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

import lenet_zoo
from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.errors import InputError
from lenet_zoo.scoring import score
from lenet_zoo.scoring.inputs import list_input, read_unit

Score = Callable[..., dict[str, Any]]
Digits = NDArray[np.uint8]
SIZE = (28, 28)


def png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_idx(path: Path, pixels: NDArray[np.uint8]) -> Path:
    data = b"\x00\x00\x08\x03" + struct.pack(">III", *pixels.shape) + pixels.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rows_of(out: Path) -> list[dict[str, Any]]:
    """Every row of a finished job, in order of part."""
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    return [row for part in manifest["parts"] for row in pq.read_table(out / part["file"]).to_pylist()]


def files_of(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def read(path: Path, **options: Any) -> list[tuple[str, Any]]:
    """Every row of an input: key and content."""
    listed = list_input(path, SIZE, **options)
    return [
        row
        for unit in listed.units()
        for row in read_unit(listed.root, listed.kind, unit, SIZE, listed.column, listed.key)
    ]


def not_listed(path: Path, error: type[Exception] = InputError, **options: Any) -> str:
    """Why an input is refused when it is listed."""
    with pytest.raises(error) as caught:
        list_input(path, SIZE, **options)
    return str(caught.value).replace(str(path), "INPUT")


def refused(call: Any, *arguments: Any, error: type[Exception] = InputError, **options: Any) -> str:
    """What a call that fails says."""
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    return str(caught.value)


def stop_after(rows: int) -> Any:
    """A `progress` that interrupts the job when so many rows are done."""

    def progress(done: int, total: int) -> None:
        if done >= rows:
            raise KeyboardInterrupt

    return progress


@pytest.fixture(scope="session")
def digits() -> NDArray[np.uint8]:
    """1,797 real handwritten digits, uint8 28×28, as MNIST has them."""
    return np.asarray(load_dataset("digits", train=False).images.numpy())


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    return Path(lenet_zoo.export_onnx(model, tmp_path_factory.mktemp("network") / "digits.onnx", input="pixels"))


@pytest.fixture(scope="session")
def answers(network: Path, digits: NDArray[np.uint8]) -> list[str]:
    """What `OnnxClassifier` says of each of the digits."""
    return [str(one.label) for one in lenet_zoo.OnnxClassifier(network).predict(digits)]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, digits: NDArray[np.uint8]) -> Path:
    """300 pictures in two folders, in the order of the digits."""
    folder = tmp_path_factory.mktemp("collection") / "scans"
    for i, picture in enumerate(digits[:300]):
        path = folder / "ab"[i // 150] / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(picture))
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path, network: Path) -> Path:
    """What the job on the 300 pictures leaves, in parts of 40, made by two processes."""
    out = tmp_path_factory.mktemp("finished") / "out"
    score(pictures, out, model=str(network), part_rows=40, workers=2)
    return out


@pytest.fixture
def run(network: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    """`score` with the workers' work done in this process: what the rows are does not depend on where they are made."""
    from lenet_zoo.scoring import local
    from lenet_zoo.scoring.scorer import Scorer

    def here(root: str, out: str, tasks: Any, count: int, workers: int | None) -> Any:
        scorer = Scorer(root, out)
        return (scorer(*task) for task in tasks)

    monkeypatch.setattr(local, "run", here)
    return lambda source, out, **options: score(source, out, **{"model": str(network), **options})


@pytest.fixture(autouse=True)
def _no_children_left() -> Iterator[None]:
    """No worker outlives a job."""
    yield
    assert not multiprocessing.active_children()

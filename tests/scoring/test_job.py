"""Every input is a row with the classifier's answer, and the manifest says what was done."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from timm.models import save_for_hf

import lenet_zoo
from lenet_zoo.errors import ArtifactError
from lenet_zoo.pictures.character import digit_from_grey

from .conftest import Digits, Score, files_of, png, refused, rows_of, stop_after, write_idx


def test_every_picture_is_a_row_with_the_classifiers_answer(finished: Path, pictures: Path, network: Path) -> None:
    paths = sorted(pictures.rglob("*.png"))
    predicted = lenet_zoo.OnnxClassifier(network).predict(paths, top_k=3)
    rows = rows_of(finished)
    assert [row["key"] for row in rows] == [path.relative_to(pictures).as_posix() for path in paths]
    for row, one in zip(rows, predicted, strict=True):
        assert row["label"] == one.label
        assert row["labels"] == [top.label for top in one.top]
        assert row["confidences"] == pytest.approx([top.confidence for top in one.top], abs=1e-6)
        assert row["confidence"] == row["confidences"][0]
        assert (row["rejected"], row["error"]) == (False, None)


def test_broken_pictures_are_rows(tmp_path: Path, run: Score, digits: Digits) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    whole = png(digits[0])
    (folder / "0-whole.png").write_bytes(whole)
    (folder / "1-text.png").write_text("hello")
    (folder / "2-empty.png").touch()
    (folder / "3-half.png").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (60, 60), 255).save(folder / "4-blank.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(folder / "5-noise.png")
    (folder / "6-whole.png").write_bytes(whole)
    result = run(folder, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [row["error"] for row in rows] == [
        None,
        "the picture is not a picture of a known format (PNG, JPEG, GIF, BMP, TIFF, WebP …)",
        "the picture is empty (0 bytes)",
        "the picture is a damaged picture: image file is truncated",
        "no digit: the picture is of one tone",
        "no digit: the picture is noise",
        None,
    ]
    assert [row["label"] for row in rows] == ["0", None, None, None, None, None, "0"]
    assert [row["rejected"] for row in rows] == [False, False, False, False, True, True, False]
    for row in rows[1:6]:
        assert (row["confidence"], row["labels"], row["confidences"]) == (0.0, [], [])
    counts = {name: result[name] for name in ("rows", "labelled", "below_min_confidence", "no_digit", "unreadable")}
    assert counts == {"rows": 7, "labelled": 2, "below_min_confidence": 0, "no_digit": 2, "unreadable": 3}
    assert result["labels"] == {str(i): 2 * (i == 0) for i in range(10)}


def test_a_fault_of_ours_on_one_picture_is_a_row(
    tmp_path: Path, run: Score, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lenet_zoo.OnnxClassifier.find
    seen: list[int] = []

    def find(self: Any, image: Any) -> Any:
        seen.append(1)
        if len(seen) == 3:
            raise ZeroDivisionError("by nothing")
        return whole(self, image)

    monkeypatch.setattr(lenet_zoo.OnnxClassifier, "find", find)
    result = run(pictures, tmp_path / "out")
    assert result["unreadable"] == 1
    assert rows_of(tmp_path / "out")[2]["error"] == "the picture cannot be used: ZeroDivisionError: by nothing"


def test_min_confidence_rejects_and_keeps_the_answers(tmp_path: Path, run: Score, pictures: Path) -> None:
    result = run(pictures, tmp_path / "out", min_confidence=np.float64(0.9), top_k=np.int64(2))
    rows = rows_of(tmp_path / "out")
    below = [row for row in rows if row["confidence"] < 0.9]
    assert 0 < len(below) == result["below_min_confidence"] < len(rows)
    for row in rows:
        assert row["rejected"] == (row["confidence"] < 0.9)
        assert row["label"] == (None if row["rejected"] else row["labels"][0])
        assert len(row["labels"]) == len(row["confidences"]) == 2
        assert row["error"] is None


def test_a_network_of_the_zoo_is_exported_once(
    tmp_path: Path, run: Score, pictures: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(pictures, out, model="lenet5_modern", part_rows=40, progress=stop_after(100))
    monkeypatch.setattr("lenet_zoo.export.export_onnx", None)
    run(pictures, out, model="lenet5_modern.mnist", part_rows=40)
    assert rows_of(out) == rows_of(finished)
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    card = lenet_zoo.model_card("lenet5_modern.mnist")
    assert manifest["model"]["name"] == "lenet5_modern.mnist"
    assert manifest["model"]["weights_sha256"] == card["sha256"]


def test_the_manifest_says_what_is_there(finished: Path, pictures: Path, network: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text("utf-8"))
    assert list(manifest) == [
        "format", "complete", "job", "input", "model", "options", "columns", "totals", "versions", "parts",
    ]  # fmt: skip
    assert (manifest["format"], manifest["complete"]) == ("lenet_zoo.score/1", True)
    about = manifest["input"]
    assert {name: about[name] for name in ("name", "kind", "files", "rows", "column", "key")} == {
        "name": "scans", "kind": "pictures", "files": 300, "rows": 300, "column": None, "key": None,
    }  # fmt: skip
    assert about["bytes"] == sum(path.stat().st_size for path in pictures.rglob("*.png"))
    digest = hashlib.sha256(network.read_bytes()).hexdigest()
    assert manifest["model"]["name"] == "digits.onnx"
    assert manifest["model"]["sha256"] == manifest["model"]["onnx_sha256"] == digest
    assert manifest["model"]["metadata"]["labels"] == list("0123456789")
    assert manifest["options"] == {"top_k": 3, "min_confidence": 0.0, "part_rows": 40}
    assert manifest["totals"]["rows"] == manifest["totals"]["labelled"] == 300
    assert sum(manifest["totals"]["labels"].values()) == 300
    assert sorted(path.name for path in (finished / "parts").iterdir()) == [f"part-{i:05d}.parquet" for i in range(8)]
    for part in manifest["parts"]:
        data = (finished / part["file"]).read_bytes()
        assert (part["bytes"], part["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert [part["rows"] for part in manifest["parts"]] == [40] * 7 + [20]
    table = pq.read_table(finished / "parts")  # as a reader does it
    assert {field.name: str(field.type) for field in table.schema} == manifest["columns"]


def test_nothing_tells_of_the_machine(finished: Path, pictures: Path) -> None:
    for name, data in files_of(finished).items():
        assert os.fsencode(pictures.parent) not in data, name
        assert os.fsencode(finished.parent) not in data, name
    assert sorted(path.name for path in finished.iterdir()) == ["job", "manifest.json", "parts"]
    assert sorted(path.name for path in (finished / "job").iterdir()) == ["job.json", "model.onnx"]


def test_the_same_job_gives_the_same_bytes_whoever_works(
    tmp_path: Path, run: Score, pictures: Path, finished: Path
) -> None:
    moved = tmp_path / "elsewhere" / pictures.name
    shutil.copytree(pictures, moved)  # with the times of the files
    run(moved, tmp_path / "out", part_rows=40)
    assert files_of(tmp_path / "out") == files_of(finished)


def test_arguments_out_of_range(tmp_path: Path, pictures: Path, run: Score) -> None:
    out = tmp_path / "out"
    for options, said in (
        (dict(top_k=11), "top_k=11: from 1 to the network's 10 classes"),
        (dict(top_k=0), "top_k=0: from 1 to the network's 10 classes"),
        (dict(top_k=-1), "top_k=-1: from 1 to the network's 10 classes"),
        (dict(min_confidence=1.5), "min_confidence=1.5: a probability, from 0 to 1"),
        (dict(workers=0), "workers=0: at least 1"),
        (dict(part_rows=0), "part_rows=0: at least 1"),
        (dict(engine="spark"), "no engine 'spark': one of local, ray"),
        (dict(address="auto"), "address 'auto': only the engine ray has one"),
    ):
        assert refused(run, pictures, out, **options) == said
    assert refused(run, pictures, out, model="missing.onnx", error=ArtifactError) == (
        "cannot read missing.onnx: No such file or directory"
    )
    assert not out.exists()


# ---------------------------------------------------------------------------------------------- memory, no torch

WITHIN = """
import re, sys
from pathlib import Path
from lenet_zoo.scoring import local, score
from lenet_zoo.scoring.scorer import Scorer

def here(root, out, tasks, count, workers):
    scorer = Scorer(root, out)
    return (scorer(*task) for task in tasks)

local.run = here
result = score(sys.argv[1], sys.argv[2], model=sys.argv[3], part_rows=500)
assert "torch" not in sys.modules
print(result["rows"], re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_input_and_torch_is_not_imported(
    tmp_path: Path, network: Path, digits: Digits
) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process's own memory is found in Linux's /proc")
    one = tmp_path / "one.png"
    one.write_bytes(png(next(digit for digit in digits if (digit_from_grey(digit) == digit).all())))
    peaks = []
    for count in (1_000, 12_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for i in range(count):
            os.link(one, folder / f"a-picture-with-a-rather-long-name-{i:06d}.png")
        arguments = [sys.executable, "-c", WITHIN, str(folder), str(tmp_path / f"out-{count}"), str(network)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        rows, peak = map(int, done.stdout.split())
        assert rows == count
        peaks.append(peak)
    # Kept in memory, the pixels of 11,000 more pictures, or their rows, would be 9 MB and more.
    assert peaks[1] - peaks[0] < 5_000, peaks


def test_an_answer_that_is_not_a_number_is_a_row_with_an_error(
    tmp_path: Path, run: Score, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lenet_zoo.OnnxClassifier.predict_array

    def predict_array(self: Any, pixels: Any, at_edge: Any) -> Any:
        if any(np.array_equal(one, digits[1]) for one in pixels):
            raise ArtifactError("values that are not finite")  # as for any batch with such an answer
        return whole(self, pixels, at_edge)

    monkeypatch.setattr(lenet_zoo.OnnxClassifier, "predict_array", predict_array)
    result = run(write_idx(tmp_path / "a.idx3-ubyte", digits[:3]), tmp_path / "out")
    assert (result["labelled"], result["unreadable"]) == (2, 1)
    row = rows_of(tmp_path / "out")[1]
    assert (row["label"], row["labels"], row["confidence"]) == (None, [], 0.0)
    assert row["error"] == "the network's answer is not a number"


def test_a_network_in_a_folder(tmp_path: Path, run: Score, pictures: Path) -> None:
    model = lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True, num_classes=3)
    save_for_hf(model, tmp_path / "letters", model_config={"label_names": ["a", "b", "c"]})
    for _ in range(2):
        result = run(pictures, tmp_path / "out", model=f"local-dir:{tmp_path / 'letters'}")
        assert sum(result["labels"].values()) == 300
    assert result["already_complete"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["model"]["name"] == "local-dir:letters"
    assert os.fsencode(tmp_path) not in b"".join(files_of(tmp_path / "out").values())

"""`score` of lines of digits: the answers are the reader's, in the columns of any other job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import lenet_zoo
from lenet_zoo.cli._app import run as command

from .conftest import Digits, Score, files_of, refused, rows_of, stop_after, write_idx


@pytest.fixture(scope="session")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lenet_zoo.create_model("lenet5_modern.numbers", pretrained=True)
    return Path(lenet_zoo.export_onnx(model, tmp_path_factory.mktemp("reading") / "numbers.onnx", input="pixels"))


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """Six numbers of one to six digits, a blank sheet and a broken file."""
    folder = tmp_path_factory.mktemp("lines") / "amounts"
    folder.mkdir()
    for count in range(1, 7):
        line = np.concatenate([np.pad(digit, ((8, 8), (2, 2))) for digit in digits[count : 2 * count]], 1)
        Image.fromarray(255 - np.kron(line, np.ones((2, 2), np.uint8))).save(folder / f"{count}.png")
    Image.new("L", (200, 60), 255).save(folder / "7-blank.png")
    (folder / "8-broken.png").write_text("hello")
    return folder


def test_a_row_is_what_the_reader_says(tmp_path: Path, run: Score, lines: Path, reading: Path) -> None:
    result = run(lines, tmp_path / "out", model=str(reading), as_="numbers", min_confidence=0.5)
    rows = rows_of(tmp_path / "out")
    reader = lenet_zoo.OnnxReader(reading, threads=1)
    numbers = [reader.read(lines / f"{count}.png", 0.5)[0] for count in range(1, 7)]
    for row, one in zip(rows, numbers, strict=False):
        assert (row["label"], row["rejected"], row["error"]) == (one.text, one.text is None, None)
        assert row["confidence"] == pytest.approx(one.confidence)
        assert row["labels"] == [character.label for character in one.characters]
        assert row["confidences"] == pytest.approx([character.confidence for character in one.characters])
    read = [one.text for one in numbers if one.text is not None]
    assert len(read) >= 4
    assert [(row["rejected"], row["error"]) for row in rows[6:]] == [
        (True, "no number: the picture is of one tone"),
        (False, "the picture is not a picture of a known format (PNG, JPEG, GIF, BMP, TIFF, WebP …)"),
    ]
    assert (result["labelled"], result["no_digit"], result["unreadable"]) == (len(read), 1, 1)
    assert result["lengths"] == {str(length): [*map(len, read)].count(length) for length in sorted({*map(len, read)})}
    assert "labels" not in result
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["options"] == {"as": "numbers", "min_confidence": 0.5, "expect": None, "part_rows": 512}


def test_an_interrupted_job_goes_on_to_the_same_bytes(tmp_path: Path, run: Score, lines: Path, reading: Path) -> None:
    options: dict[str, Any] = dict(model=str(reading), as_="numbers", part_rows=3)
    with pytest.raises(KeyboardInterrupt):
        run(lines, tmp_path / "stopped", **options, progress=stop_after(3))
    assert not (tmp_path / "stopped" / "manifest.json").exists()
    for _ in range(2):
        result = run(lines, tmp_path / "stopped", **options)
    assert result["already_complete"]
    run(lines, tmp_path / "whole", **options)
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")
    said = refused(run, lines, tmp_path / "whole", **options, expect="3")
    assert said.endswith(
        "holds another job (expect None and not 3): name another folder with --out, or begin anew with --overwrite"
    )


def test_what_is_expected_decides(tmp_path: Path, run: Score, lines: Path, reading: Path) -> None:
    result = run(lines, tmp_path / "out", model=str(reading), as_="numbers", expect=r"\d\d")
    assert set(result["lengths"]) == {"2"}
    assert any("no number matches" in (row["error"] or "") for row in rows_of(tmp_path / "out"))


def test_parquet_of_pictures_and_no_pixels(
    tmp_path: Path, run: Score, lines: Path, reading: Path, digits: Digits
) -> None:
    options: dict[str, Any] = dict(model=str(reading), as_="numbers")
    pictures = [path.read_bytes() for path in sorted(lines.glob("[1-6].png"))]
    pixels = [[0] * 784] * len(pictures)
    pq.write_table(pa.table({"id": list("abcdef"), "image": pictures, "pixels": pixels}), tmp_path / "a.parquet")
    run(tmp_path / "a.parquet", tmp_path / "out", **options, key="id")
    run(lines, tmp_path / "other", **options)
    rows = rows_of(tmp_path / "out")
    assert [row["key"] for row in rows] == list("abcdef")
    assert [row["label"] for row in rows] == [row["label"] for row in rows_of(tmp_path / "other")[:6]]
    said = refused(run, tmp_path / "a.parquet", tmp_path / "no", **options, column="pixels")
    assert "the column 'pixels' is list" in said
    assert said.endswith("usable are encoded pictures (binary, or a struct with such a field 'bytes')")
    idx = write_idx(tmp_path / "a.idx3-ubyte", digits[:3])
    assert refused(run, idx, tmp_path / "no", **options) == (
        f"{idx} holds pixels; numbers are read from pictures: a folder of them, or Parquet files"
    )


def test_networks_and_options_of_the_other_kind_are_named(
    tmp_path: Path, run: Score, lines: Path, reading: Path, network: Path
) -> None:
    out = tmp_path / "out"
    for options, said in (
        (dict(model=str(reading)), f"{reading} reads numbers, not single characters: score its pictures with --as "
         "numbers"),
        (dict(as_="numbers"), f"{network} reads single characters, not numbers: take lenet5_modern.numbers, or leave "
         "out --as numbers"),
        (dict(as_="words"), "nothing can be scored as 'words': one of characters, numbers"),
        (dict(expect="5"), "expect='5': only numbers are expected to be of some form; score them as 'numbers'"),
        (dict(model=str(reading), as_="numbers", top_k=2), "top_k=2: a number has one answer; top_k is for single "
         "characters"),
    ):  # fmt: skip
        assert refused(run, lines, out, **options) == said
    assert not out.exists()


def test_several_lines_are_several_in_the_label(tmp_path: Path, run: Score, digits: Digits, reading: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    rows = [np.concatenate([np.pad(digits[i], 3) for i in row], 1) for row in ((0, 1, 2), (3, 5, 7))]
    page = np.concatenate([np.pad(row, ((12, 12), (8, 8))) for row in rows])
    Image.fromarray(255 - np.kron(page, np.ones((2, 2), np.uint8))).save(folder / "two.png")
    result = run(folder, tmp_path / "out", model=str(reading), as_="numbers")
    (row,) = rows_of(tmp_path / "out")
    (found,) = lenet_zoo.OnnxReader(reading, threads=1).read(folder / "two.png")
    assert len(found.lines) == 2
    assert row["label"] == found.text == "\n".join(str(line.text) for line in found.lines)
    assert result["lengths"] == {str(len(row["labels"])): 1}
    run(folder, tmp_path / "sure", model=str(reading), as_="numbers", min_confidence=row["confidence"] + 1e-4)
    (rejected,) = rows_of(tmp_path / "sure")
    assert rejected == row | {"label": None, "rejected": True}


def test_a_line_whose_answers_are_no_numbers_is_a_row(
    tmp_path: Path, run: Score, lines: Path, reading: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lenet_zoo.OnnxReader.answers

    def answers(self: Any, strips: Any) -> Any:
        if not strips.any():
            return whole(self, strips)  # as a file is opened, a blank line is tried
        raise lenet_zoo.errors.ArtifactError("values that are not finite")

    monkeypatch.setattr(lenet_zoo.OnnxReader, "answers", answers)
    result = run(lines, tmp_path / "out", model=str(reading), as_="numbers")
    assert (result["labelled"], result["unreadable"], result["lengths"]) == (0, 7, {})
    assert rows_of(tmp_path / "out")[0]["error"] == "the network's answer is not a number"


def test_the_command_takes_the_tag_that_reads_numbers(
    tmp_path: Path, run: Score, lines: Path, reading: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: list[str] = []

    def network(model: str, out: Path, scratch: Path) -> Any:
        asked.append(model)
        return reading, {"name": model}

    monkeypatch.setattr("lenet_zoo.scoring.job._network", network)
    assert command(["score", str(lines), "--out", str(tmp_path / "out"), "--as", "numbers"]) == 0
    assert asked == ["lenet5_modern.numbers"]
    assert "1 rejected without a number, 1 not readable" in capsys.readouterr().out

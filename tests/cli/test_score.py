"""`score`, as a person meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

import lenet_zoo
from lenet_zoo.cli._app import run
from lenet_zoo.cli.score import _rate
from lenet_zoo.errors import to_install


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    return Path(lenet_zoo.export_onnx(model, tmp_path_factory.mktemp("network") / "digits.onnx", input="pixels"))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two digits, a blank sheet and a broken file."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for i in (0, 3):
        ink = Image.fromarray((255 - load_digits().images[i] * 15.9).astype("uint8"))
        ink.resize((100, 100)).save(folder / f"{i}.png")
    Image.new("L", (100, 100), 255).save(folder / "blank.png")
    (folder / "broken.png").write_text("hello")
    return folder


def test_score_says_what_came_out_and_goes_on(
    tmp_path: Path, scans: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["score", str(scans), "--out", str(tmp_path / "out"), "--model", str(network), "--workers", "1"]
    assert run(argv) == 0
    captured = capsys.readouterr()
    first, second = captured.out.splitlines()
    assert first.startswith(f"{tmp_path}/out: 4 rows, in ")
    assert first.endswith(" s: 2 labelled, 1 rejected without a digit, 1 not readable")
    assert " rows/s; time of the workers: read " in second
    assert captured.err == ""
    assert run(argv) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}/out: 4 rows, were there already: 2 labelled, 1 rejected without a digit, 1 not readable\n"
    )
    assert run([*argv, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["rows"], document["labelled"], document["already_complete"]) == (4, 2, True)
    assert document["labels"] == {str(i): int(i in (0, 3)) for i in range(10)}


def test_one_row_is_not_several(tmp_path: Path, scans: Path, network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("3.png", "blank.png", "broken.png"):
        (scans / name).unlink()
    argv = ["score", str(scans), "--out", str(tmp_path / "out"), "--model", str(network), "--workers", "1"]
    assert run(argv) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/out: 1 row, in ")
    assert run(argv) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out: 1 row, was there already: 1 labelled\n"


def test_errors_are_one_line_with_a_status(
    tmp_path: Path, scans: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--model", str(network)]
    for argv, status, said in (
        ([str(scans), "--out", str(scans)], 2, f"{scans} is the input as well: name another folder with --out"),
        ([str(tmp_path / "x"), "--out", str(tmp_path / "out")], 2, f"{tmp_path}/x: no such file or folder"),
        (
            [str(scans), "--out", str(tmp_path / "out"), "--expect", "5"],
            2,
            "--expect 5 is for numbers: add --as numbers",
        ),
        (
            [str(scans), "--out", str(tmp_path / "out"), "--engine", "ray", "--address", "here"],
            2,
            "address 'here': give HOST:PORT of the cluster's head, or 'auto'",
        ),
        (
            [str(scans), "--out", str(tmp_path / "out"), "--engine", "ray", "--address", "127.0.0.1:1"],
            1,
            "no Ray cluster at 127.0.0.1:1: connection refused; start one with `ray start --head`, or leave out "
            "--address",
        ),
    ):
        assert run(["score", *argv, *common]) == status
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("", f"lenet-zoo: {said}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("package", "options", "said"),
    [
        ("pyarrow", [], f"Parquet files need pyarrow: {to_install('score')}"),
        ("ray", ["--engine", "ray"], f"the engine ray needs Ray Data: {to_install('ray')}"),
        ("pandas", ["--engine", "ray"], f"the engine ray needs Ray Data: {to_install('ray')}"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, scans: Path, network: Path, package: str, options: list[str], said: str
) -> None:
    argv = ["score", str(scans), "--out", str(tmp_path / "out"), "--model", str(network), *options]
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"from lenet_zoo.cli._app import run; status = run({argv!r})\n"
        "print(status, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2 False\n", f"lenet-zoo: {said}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("speed", "said"), [(12_345.6, "12,346"), (42.4, "42"), (9.96, "10"), (2.34, "2.3"), (0.123, "0.12")]
)
def test_a_low_speed_is_not_none(speed: float, said: str) -> None:
    assert _rate(speed) == f"{said} rows/s"

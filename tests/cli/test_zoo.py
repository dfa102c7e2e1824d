"""`list`, `info`, `predict`, `evaluate` and the errors of the command line, as a person meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from timm.models import save_for_hf

from lenet_zoo import cards
from lenet_zoo.cli._app import run
from lenet_zoo.models.layers import layer_table
from lenet_zoo.registry import create_model, layers_of, load_network, model_card


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    """A real handwritten 0, dark on paper, 200 px wide."""
    path = tmp_path / "zero.png"
    Image.fromarray((255 - load_digits().images[0] * 15.9).astype("uint8")).resize((200, 200)).save(path)
    return path


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = run(list(argv))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def failed(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """The status and the one line that a failing command says."""
    status, out, err = call(capsys, *argv)
    assert status != 0
    assert out == ""
    assert err.startswith("lenet-zoo: ")
    assert err.count("\n") == 1, err
    return status, err


def test_list_shows_every_tag_with_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "list", "--json")
    assert status == 0
    rows = json.loads(out)
    assert [row["name"] for row in rows] == cards.names()
    for row in rows:
        assert row["bytes"] == cards.weight_path(row["name"]).stat().st_size
        modern = 61_791 if row["preparation"] == "line" else 61_706  # an eleventh output; the classic's is no parameter
        assert row["params"] == (60_000 if row["name"].startswith("lenet5_classic") else modern)


def test_list_marks_what_is_counted_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "list")
    marked = [line.split()[0] for line in out.splitlines() if "* " in line and "%" in line]
    assert marked == [name for name in cards.names() if cards.load(name).preparation.kind == "line"]
    assert out.splitlines()[-1].startswith("* of lines of five digits")


def test_info_prints_the_papers_table(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "info", "lenet5_classic", "--json")
    assert status == 0
    rows = [(r["name"], r["output"], r["parameters"], r["connections"]) for r in json.loads(out)["layers"]]
    assert rows == [
        ("C1", [6, 28, 28], 156, 122_304),
        ("S2", [6, 14, 14], 12, 5_880),
        ("C3", [16, 10, 10], 1_516, 151_600),
        ("S4", [16, 5, 5], 32, 2_000),
        ("C5", [120, 1, 1], 48_120, 48_120),
        ("F6", [84], 10_164, 10_164),
        ("output", [10], 0, 840),
    ]
    assert sum(row[2] for row in rows) == 60_000
    assert sum(row[3] for row in rows) == 340_908


def test_info_prints_the_modern_table(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "info", "lenet5_modern", "--json")
    assert status == 0
    rows = {r["name"]: (r["output"], r["parameters"]) for r in json.loads(out)["layers"]}
    assert rows == {
        "C1": ([6, 28, 28], 156),
        "S2": ([6, 14, 14], 0),
        "C3": ([16, 10, 10], 2_416),
        "S4": ([16, 5, 5], 0),
        "C5": ([120, 1, 1], 48_120),
        "F6": ([84], 10_164),
        "output": ([10], 850),
    }
    status, out, _ = call(capsys, "info", "lenet5_modern")
    assert status == 0
    assert "61,706" in out


def test_info_prints_a_recipe_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "info", "lenet5_modern.baseline_mnist")
    recipe = model_card("lenet5_modern.baseline_mnist")["recipe"]
    lines = out.splitlines()
    start = lines.index(f"recipe {recipe['name']}: {recipe['description']}")
    first = lines[start + 1].split()
    assert first == ["method", "gradient", "epochs", "20", "portion", "1", "batch_size", "1024"]
    assert max(map(len, lines[start + 1 :])) <= 100


def test_info_tells_the_whole_card(capsys: pytest.CaptureFixture[str]) -> None:
    card = model_card("lenet5_modern.fashion_mnist")
    _, out, _ = call(capsys, "info", "lenet5_modern.fashion_mnist")
    text = " ".join(out.split())
    for teacher in card["recipe"]["teacher"]:
        (split, accuracy), *_ = teacher["accuracy"].items()
        assert f"architecture teacher_large, params 1923786, sha256 {teacher['sha256']}, accuracy ({split} " in text
        assert f"({split} {accuracy})" in text
    assert "batch_norm true drop_rate 0 ema 0.9999" in text
    assert card["command"].split("=")[0] in text
    assert card["sha256"] in text


def test_predict_reads_a_picture(capsys: pytest.CaptureFixture[str], digit: Path) -> None:
    for name in ("lenet5_modern", "lenet5_classic"):
        status, out, _ = call(capsys, "predict", name, str(digit), "--json", "--top-k", "3")
        assert status == 0
        (row,) = json.loads(out)
        assert row["path"] == str(digit)
        assert row["label"] == "0"
        assert row["top"][0]["label"] == "0"
        assert len(row["top"]) == 3
        confidences = [top["confidence"] for top in row["top"]]
        assert confidences == sorted(confidences, reverse=True)
        assert row["confidence"] == confidences[0] > 0.5


def test_a_folder_is_its_pictures(capsys: pytest.CaptureFixture[str], digit: Path) -> None:
    Image.open(digit).save(digit.with_name("again.jpg"))
    (digit.parent / "notes.txt").write_text("not a picture")
    status, out, _ = call(capsys, "predict", "lenet5_modern", str(digit.parent), "--json")
    assert status == 0
    read = [(Path(row["path"]).name, row["label"]) for row in json.loads(out)]
    assert read == [("again.jpg", "0"), ("zero.png", "0")]


def test_min_confidence_rejects(capsys: pytest.CaptureFixture[str], digit: Path) -> None:
    status, out, _ = call(capsys, "predict", "lenet5_modern", str(digit), "--json", "--min-confidence", "1")
    assert status == 0
    (row,) = json.loads(out)
    assert row["label"] is None
    assert "confidence" in row["reason"]
    assert row["top"][0]["label"] == "0"


def test_an_empty_picture_is_no_digit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Image.new("L", (100, 100), 255).save(tmp_path / "paper.png")
    status, out, _ = call(capsys, "predict", "lenet5_modern", str(tmp_path / "paper.png"), "--json")
    assert status == 0
    (row,) = json.loads(out)
    assert row["label"] is None
    assert row["reason"] == "no digit: the picture is of one tone"  # without the path, which the row has


def test_a_broken_picture_among_others_is_named_and_fails_the_job(
    capsys: pytest.CaptureFixture[str], digit: Path
) -> None:
    (digit.parent / "broken.png").write_text("hello")
    status, out, _ = call(capsys, "predict", "lenet5_modern", str(digit.parent), "--json")
    assert status == 1
    broken, fine = json.loads(out)
    assert "broken.png" in broken["error"]
    assert fine["label"] == "0"
    assert broken.keys() == fine.keys()
    assert (broken["label"], broken["confidence"], broken["top"], fine["error"]) == (None, 0.0, [], None)


def test_a_wrong_argument_is_said_once_and_not_of_every_picture(
    capsys: pytest.CaptureFixture[str], digit: Path
) -> None:
    for pictures in ([str(digit)], [str(digit), str(digit)]):
        status, err = failed(capsys, "predict", "lenet5_modern", *pictures, "--top-k", "11")
        assert (status, err) == (2, "lenet-zoo: top_k=11: from 1 to the network's 10 classes\n")


@pytest.mark.parametrize(
    ("name", "content"), [("text.png", b"hello"), ("zero.png", b""), ("half.png", b"\x89PNG\r\n\x1a\n\x00\x00")]
)
def test_what_is_not_a_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    _, err = failed(capsys, "predict", "lenet5_modern", str(tmp_path / name))
    assert name in err


@pytest.mark.parametrize(
    ("status", "command"),
    [
        (2, "predict lenet5_modern {folder}/missing.png"),
        (2, "predict lenet5_modern {folder}/damaged.png"),
        (1, "predict lenet5_modern {digit} {folder}/damaged.png"),
        (2, "predict lenet5_modern {digit} {folder}/missing.png"),
        (2, "predict lenet5_moderm {digit}"),
        (2, "predict lenet5_modern {digit} --top-k 99"),
        (1, "predict {folder}/missing.onnx {digit}"),
        (1, "predict local-dir:{folder}/missing {digit}"),
        (1, "evaluate lenet5_modern --data-root {folder}"),
        (1, "finetune --data-dir {folder}/missing --out {folder}/run"),
        (1, "export lenet5_modern -o {folder}/missing/network.onnx"),
    ],
)
def test_the_exit_status_is_what_the_manual_says(
    capsys: pytest.CaptureFixture[str], digit: Path, tmp_path: Path, status: int, command: str
) -> None:
    folder = tmp_path / "of"
    folder.mkdir()
    (folder / "damaged.png").write_bytes(digit.read_bytes()[:40])
    arguments = [part.format(digit=digit, folder=folder) for part in command.split()]
    assert call(capsys, *arguments)[0] == status


@pytest.mark.parametrize("command", ["predict lenet5_modern.handwriting", "read lenet5_modern.numbers"])
def test_what_a_folder_holds_beside_its_pictures_is_said(
    capsys: pytest.CaptureFixture[str], digit: Path, tmp_path: Path, command: str
) -> None:
    folder = tmp_path / "scans"
    (folder / "older").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "0.png").write_bytes(digit.read_bytes())
    (folder / "notes.txt").write_text("none", encoding="ascii")
    status, out, err = call(capsys, *command.split(), str(folder), "--json")
    assert (status, len(json.loads(out)), err) == (0, 1, f"{folder}: 1 subfolder left out\n")
    (folder / "newer").mkdir()
    (folder / "lost.png").symlink_to(tmp_path / "nowhere.png")
    assert call(capsys, *command.split(), str(folder))[2] == f"{folder}: 2 subfolders and 1 link to nothing left out\n"
    assert call(capsys, *command.split(), str(digit))[2] == ""


def test_a_folder_without_pictures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, err = failed(capsys, "predict", "lenet5_modern", str(tmp_path))
    assert str(tmp_path) in err


def test_a_missing_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, err = failed(capsys, "predict", "lenet5_modern", str(tmp_path / "nowhere.png"))
    assert "nowhere.png" in err


def test_an_unknown_network_gets_a_suggestion(capsys: pytest.CaptureFixture[str], digit: Path) -> None:
    for argv in (["info", "lenet5_modem"], ["predict", "lenet5_modem", str(digit)]):
        status, err = failed(capsys, *argv)
        assert status == 2
        assert "'lenet5_modem'" in err
        assert "Did you mean 'lenet5_modern'?" in err


def test_an_unknown_tag_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    status, err = failed(capsys, "info", "lenet5_modern.mnits")
    assert status == 2
    assert "Did you mean 'lenet5_modern.mnist'?" in err


def test_a_data_root_without_the_files_says_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, err = failed(capsys, "evaluate", "lenet5_modern", "--data-root", str(tmp_path))
    assert status == 1
    assert str(tmp_path) in err
    assert "--download" in err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_data_set_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    status, err = failed(capsys, "evaluate", "lenet5_modern", "--dataset", "mnits")
    assert status == 2
    assert "Did you mean 'mnist'?" in err


def test_evaluate_on_digits_counts(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "evaluate", "lenet5_modern", "--dataset", "digits", "--json")
    assert status == 0
    result = json.loads(out)
    assert result["total"] == 1_797
    assert result["correct"] == sum(result["confusion"][i][i] for i in range(10)) > 0.9 * 1_797
    assert np.sum(result["confusion"], axis=1).tolist() == np.bincount(load_digits().target).tolist()


def test_evaluate_says_that_predict_looks_more_often(capsys: pytest.CaptureFixture[str]) -> None:
    once = "; at one look a picture, where predict takes 5"
    assert once in call(capsys, "evaluate", "lenet5_modern.handwriting", "--dataset", "digits")[1]
    assert "look" not in call(capsys, "evaluate", "lenet5_modern", "--dataset", "digits")[1]


@pytest.mark.parametrize("name", [name for name in cards.names() if cards.load(name).preparation.kind != "line"])
def test_evaluate_says_what_the_card_says(
    capsys: pytest.CaptureFixture[str], name: str, request: pytest.FixtureRequest
) -> None:
    card = cards.load(name).as_dict()
    # Whoever has one data set and not the other has the tests of that one.
    fixtures = {"mnist": "mnist_root", "fashion_mnist": "fashion_root"}
    root = request.getfixturevalue(fixtures.get(card["dataset"], "scripts_root"))
    argv = ["evaluate", name, "--dataset", card["dataset"], "--data-root", str(root), "--json"]
    status, out, _ = call(capsys, *argv)
    assert status == 0
    result = json.loads(out)
    test = card["metrics"]["test"]
    assert (result["correct"], result["total"]) == (test["correct"], test["total"])


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("lenet5_modern", "mnist"),
        ("lenet5_modern.handwriting", "mnist"),
        ("lenet5_modern.baseline_mnist", "mnist"),
        ("lenet5_classic.fashion_mnist", "fashion_mnist"),
        ("lenet5_modern.telugu", "telugu"),
    ],
)
def test_evaluate_takes_the_test_set_of_the_card(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, dataset: str
) -> None:
    said = []
    for argv in (["evaluate", name], ["evaluate", name, "--dataset", dataset]):
        said.append(failed(capsys, *argv, "--data-root", str(tmp_path)))
    assert said[0] == said[1]


def test_evaluate_warns_of_other_classes(capsys: pytest.CaptureFixture[str]) -> None:
    warning = "warning: digits has other classes than lenet5_modern.telugu: an answer counts as right by its place "
    _, _, err = call(capsys, "evaluate", "lenet5_modern.telugu", "--dataset", "digits")
    assert err == warning + "among them\n"
    assert call(capsys, "evaluate", "lenet5_modern", "--dataset", "digits")[2] == ""


def test_a_folder_of_ones_own_is_a_network_too(capsys: pytest.CaptureFixture[str], digit: Path, tmp_path: Path) -> None:
    folder = tmp_path / "network"
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    model = create_model("lenet5_modern", pretrained=True)
    save_for_hf(model, folder, model_config={"label_names": names}, safe_serialization=True)
    status, out, _ = call(capsys, "predict", f"local-dir:{folder}", str(digit), "--json")
    assert (status, json.loads(out)[0]["label"]) == (0, "zero")
    results = []
    for name in (f"local-dir:{folder}", "lenet5_modern"):
        status, out, _ = call(capsys, "evaluate", name, "--dataset", "digits", "--json")
        assert status == 0
        results.append(json.loads(out)["confusion"])
    assert results[0] == results[1]
    status, out, _ = call(capsys, "info", f"local-dir:{folder}", "--json")
    assert (status, json.loads(out)["card"]["labels"]) == (0, names)
    assert call(capsys, "info", f"local-dir:{folder}")[0] == 0
    # An empty sheet is no character, and as good a picture as any other.
    paper = tmp_path / "paper.png"
    Image.new("L", (100, 100), 255).save(paper)
    _, out, _ = call(capsys, "predict", f"local-dir:{folder}", str(paper), "--json")
    assert json.loads(out)[0]["label"] is None
    (folder / "card.json").write_text('{"preparation": "picture"}')
    _, out, _ = call(capsys, "predict", f"local-dir:{folder}", str(paper), "--json")
    assert json.loads(out)[0]["label"] in names


def test_a_folder_without_a_network_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], digit: Path, tmp_path: Path
) -> None:
    for argv in (["predict", f"local-dir:{tmp_path}", str(digit)], ["evaluate", f"local-dir:{tmp_path}"]):
        status, err = failed(capsys, *argv)
        assert status == 1
        assert "Config file not found" in err
        assert "give a folder that `lenet-zoo train` or `finetune` wrote" in err


@pytest.mark.parametrize(("command", "tag"), [("predict", "handwriting"), ("read", "numbers")])
def test_a_picture_without_a_network_is_told_which_to_name(
    capsys: pytest.CaptureFixture[str], digit: Path, command: str, tag: str
) -> None:
    status, err = failed(capsys, command, str(digit))
    line = f"lenet-zoo {command} lenet5_modern.{tag} {digit}"
    assert (status, err) == (2, f"lenet-zoo: {digit} is a picture: name the network before it, as in `{line}`\n")


@pytest.mark.parametrize("others", [[], ["8.png"]])
def test_so_is_a_picture_that_is_not_there(capsys: pytest.CaptureFixture[str], others: list[str]) -> None:
    status, err = failed(capsys, "predict", "nothing.JPG", *others)
    line = " ".join(["lenet-zoo predict lenet5_modern.handwriting nothing.JPG", *others])
    assert (status, err) == (2, f"lenet-zoo: nothing.JPG is a picture: name the network before it, as in `{line}`\n")


@pytest.mark.parametrize("command", ["predict", "read"])
def test_a_network_that_is_named_after_its_picture_is_put_before_it(
    capsys: pytest.CaptureFixture[str], digit: Path, command: str
) -> None:
    status, err = failed(capsys, command, str(digit), "lenet5_modern.mnist", "--json")
    line = f"lenet-zoo {command} lenet5_modern.mnist {digit} --json"
    assert (status, err) == (2, f"lenet-zoo: {digit} is a picture: name the network before it, as in `{line}`\n")


@pytest.mark.parametrize(("suffix", "target"), [(".tflite", "litert"), (".c", "c"), (".pte", "executorch")])
def test_a_file_for_a_device_needs_its_target(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str, target: str
) -> None:
    status, err = failed(capsys, "export", "lenet5_modern", "-o", str(tmp_path / f"x{suffix}"))
    assert status == 2
    assert f"x{suffix} would be an ONNX file: say --target {target}, or name it x.onnx" in err
    assert list(tmp_path.iterdir()) == []


def test_c_is_not_written_into_a_file_of_another_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, err = failed(capsys, "export", "lenet5_modern", "--target", "c", "-o", str(tmp_path / "x.onnx"))
    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert "x.onnx would be C: say --target onnx, or name it x.c" in err


def test_a_file_is_not_written_to_stdout(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, err = failed(capsys, "export", "lenet5_modern", "-o", "-")
    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert err.endswith("not written to stdout: name it, as in `-o digits.onnx`\n")


@pytest.mark.parametrize(("target", "own"), [("onnx", "photo.onnx"), ("c", "photo.c")])
def test_an_export_does_not_overwrite_a_file_of_another_kind(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, target: str, own: str
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"a photo")
    status, err = failed(capsys, "export", "lenet5_modern", "--target", target, "-o", str(photo))
    assert (status, photo.read_bytes()) == (2, b"a photo")
    assert err.endswith(f": name it {own}\n")


def test_nan_is_no_confidence(capsys: pytest.CaptureFixture[str], digit: Path) -> None:
    assert run(["predict", "lenet5_modern", str(digit), "--min-confidence", "nan"]) == 2
    assert "a number from 0 to 1" in capsys.readouterr().err


def test_wrong_arguments_exit_with_2(capsys: pytest.CaptureFixture[str], digit: Path) -> None:
    for argv in (["predict"], ["nonsense"], ["predict", "lenet5_modern", str(digit), "--top-k", "0"]):
        assert run(argv) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_debug_shows_the_traceback() -> None:
    argv = [sys.executable, "-m", "lenet_zoo", "info", "lenet5_modem"]
    plain, debug = (subprocess.run([*argv, *more], capture_output=True, text=True) for more in ([], ["--debug"]))
    assert plain.returncode == 2
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr


def test_what_needs_no_torch_does_not_load_it(digit: Path, tmp_path: Path) -> None:
    env = dict(os.environ, XDG_CACHE_HOME=str(tmp_path / "cache"))
    predict = ["predict", "lenet5_modern", str(digit), "--json"]
    first = subprocess.run([sys.executable, "-m", "lenet_zoo", *predict], capture_output=True, text=True, env=env)
    for argv in (["--help"], ["list", "--json"], ["info", "lenet5_modern.mnist"], predict):
        code = (
            "import sys; from lenet_zoo.cli._app import run;"
            f"assert run({argv!r}) == 0; assert not {{'torch', 'timm', 'onnx'}} & sys.modules.keys()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
    assert done.stdout == first.stdout
    assert json.loads(done.stdout)[0]["label"] == "0"


@pytest.mark.parametrize("name", cards.names())
def test_the_table_of_layers_in_the_package_is_the_networks(name: str) -> None:
    rows = [asdict(layer) for layer in layer_table(load_network(name))]
    assert json.loads(json.dumps(layers_of(name))) == json.loads(json.dumps(rows))


def test_a_table_is_drawn_with_what_its_stream_can_show() -> None:
    def shown(encoding: str) -> str:
        env = {**os.environ, "PYTHONIOENCODING": encoding}
        return subprocess.run(
            [sys.executable, "-m", "lenet_zoo", "list"], capture_output=True, env=env, check=True
        ).stdout.decode(encoding)

    assert "\u2500" in shown("utf-8")
    for encoding in ("ascii", "latin-1"):
        assert "---" in shown(encoding)
        assert "\\u" not in shown(encoding)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_error(closed: str) -> None:
    done = subprocess.run(
        f"{sys.executable} -m lenet_zoo list --json {closed}", shell=True, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m lenet_zoo list --json | head -c 1", shell=True, capture_output=True, text=True
    )
    assert done.stdout == "["
    assert "Traceback" not in done.stderr

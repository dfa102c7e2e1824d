"""`plot`, as a person meets it: pictures in files, numbers as JSON, and one line for what cannot be drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from timm.models import save_for_hf

from lenet_zoo import figures
from lenet_zoo.classify.torch import normalized
from lenet_zoo.cli._app import print_json, run
from lenet_zoo.cli._plotting import line_of, plain
from lenet_zoo.cli.zoo import _classifier
from lenet_zoo.datasets.loading import DATASETS, Dataset, load_dataset
from lenet_zoo.errors import to_install
from lenet_zoo.models.layers import layer_table
from lenet_zoo.models.lenet5_classic import connection_table, rbf_codes
from lenet_zoo.paper1998.losses import PenaltyLoss
from lenet_zoo.paper1998.sdlm import curvature
from lenet_zoo.pictures.character import digit_from_image
from lenet_zoo.registry import create_model, model_card


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", train=False)


@pytest.fixture(autouse=True)
def _digits_are_read_once(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    # Reading all 1,797 takes seconds.
    monkeypatch.setattr("lenet_zoo.datasets.loading._digits", lambda: digits)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., str]:
    """A network of one's own in a folder, with a card; returns its name, 'local-dir:FOLDER'."""

    def made(classes: int, in_chans: int = 1, **card: object) -> str:
        path = tmp_path / "own"
        model = create_model("lenet5_modern", num_classes=classes, in_chans=in_chans)
        save_for_hf(model, str(path), safe_serialization=True)
        (path / "card.json").write_text(json.dumps(card))
        return f"local-dir:{path}"

    return made


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = run(["plot", *argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def numbers(capsys: pytest.CaptureFixture[str], *argv: str) -> object:
    status, out, err = call(capsys, *argv, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_every_picture_of_a_network_is_drawn(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    for what, *arguments in (
        ("architecture", "lenet5_classic"),
        ("filters", "lenet5_classic.mnist"),
        ("maps", "lenet5_classic", "digits:0"),
        ("f6", "lenet5_classic.lecun1998_mnist", "digits:0", "digits:1"),
        ("confusion", "lenet5_modern", "--dataset", "digits"),
        ("mistakes", "lenet5_modern", "--dataset", "digits", "--count", "10"),
    ):
        for theme in ("light", "dark"):
            file = f"{what}-{theme}.png"
            status, out, err = call(capsys, what, *arguments, "-o", file, "--theme", theme)
            assert (status, out) == (0, ""), err
            assert err == f"{file}: {(here / file).stat().st_size / 1000:.0f} kB\n"
            with Image.open(file) as image:
                corner = "#{:02x}{:02x}{:02x}".format(*image.convert("RGB").getpixel((0, 0)))
            assert corner == figures.THEMES[theme].paper


def test_architecture_prints_the_layer_table(capsys: pytest.CaptureFixture[str]) -> None:
    layers = numbers(capsys, "architecture", "lenet5_classic")
    assert [layer["name"] for layer in layers] == ["C1", "S2", "C3", "S4", "C5", "F6", "output"]
    assert sum(layer["parameters"] for layer in layers) == 60_000


def test_filters_print_null_where_nothing_is_connected(capsys: pytest.CaptureFixture[str]) -> None:
    c3 = numbers(capsys, "filters", "lenet5_classic")["C3"]
    assert [[i for i in range(6) if kernels[i][0][0] is not None] for kernels in c3] == connection_table()


def test_a_picture_file_and_the_same_test_picture_give_the_same_maps(
    capsys: pytest.CaptureFixture[str], here: Path, digits: Dataset
) -> None:
    pixels = digits.images[4].numpy()  # in MNIST's form, so that reading the file changes nothing
    Image.fromarray(pixels).save("four.png")
    of_file = numbers(capsys, "maps", "lenet5_modern", "four.png")
    assert of_file["input"] == pixels.tolist()
    assert of_file == numbers(capsys, "maps", "lenet5_modern", "digits:4")
    assert np.array(of_file["S4"]).shape == (16, 5, 5)
    assert of_file["labels"][int(np.argmax(of_file["output"]))] == "4"


@pytest.mark.parametrize("network", ["lenet5_modern", "lenet5_classic"])
@pytest.mark.parametrize("trained_on", ["mnist", "fashion_mnist"])
def test_a_picture_file_is_read_as_predict_reads_it(
    capsys: pytest.CaptureFixture[str], here: Path, network: str, trained_on: str
) -> None:
    seven = np.zeros((60, 90), np.uint8)  # at a place, and of a size, that MNIST would not have
    seven[8:14, 10:40] = seven[8:44, 34:40] = 250
    Image.fromarray(seven).save("seven.png")
    name = f"{network}.{trained_on}"
    wanted = _classifier(name).prepare("seven.png")
    assert numbers(capsys, "maps", name, "seven.png")["input"] == wanted.tolist()
    assert (wanted.tolist() == digit_from_image("seven.png").tolist()) == (trained_on == "mnist")
    if network == "lenet5_classic":
        (row,) = numbers(capsys, "f6", name, "seven.png")
        states = figures.layer_states(create_model(name, pretrained=True), wanted)
        assert row["F6"] == pytest.approx(states["F6"].tolist(), abs=1e-5)


def test_a_colour_network_is_drawn_from_the_picture_that_predict_reads(
    capsys: pytest.CaptureFixture[str], here: Path, folder: Callable[..., str]
) -> None:
    name = folder(3, in_chans=3, labels=["ant", "bee", "cat"], preparation="picture")
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    photo[..., 0] //= 4  # so that no two channels are alike
    Image.fromarray(photo).save("photo.png")
    wanted = _classifier(name).prepare("photo.png")
    assert wanted.shape == (3, 28, 28)
    found = numbers(capsys, "maps", name, "photo.png")
    assert found["input"] == wanted.tolist()
    assert found["labels"] == ["ant", "bee", "cat"]
    assert found["output"] == pytest.approx(_classifier(name).predict_logits(wanted[None])[0].tolist(), abs=1e-5)
    assert call(capsys, "maps", name, "photo.png", "-o", "maps.png")[0] == 0


def test_the_architecture_of_a_network_in_a_folder(
    capsys: pytest.CaptureFixture[str], here: Path, folder: Callable[..., str]
) -> None:
    name = folder(3, in_chans=3, preparation="picture")
    layers = layer_table(create_model("lenet5_modern", num_classes=3, in_chans=3))
    assert numbers(capsys, "architecture", name) == [asdict(layer) | {"output": [*layer.output]} for layer in layers]
    assert call(capsys, "architecture", name, "-o", "drawn.svg")[0] == 0
    wanted = figures.save(figures.architecture(layers, "lenet5_modern", 28, channels=3), "wanted.svg")
    assert Path("drawn.svg").read_bytes() == wanted.read_bytes()


def test_the_mistakes_of_a_network_in_a_folder(
    capsys: pytest.CaptureFixture[str], folder: Callable[..., str], digits: Dataset
) -> None:
    name = folder(10, dataset="digits")
    logits = _classifier(name).predict_logits(digits.images.numpy())
    found = numbers(capsys, "mistakes", name)
    assert found["pictures"] == 1797
    assert len(found["mistakes"]) == int((logits.argmax(1) != digits.labels.numpy()).sum()) > 0


def test_what_a_folder_lacks_is_said(capsys: pytest.CaptureFixture[str], folder: Callable[..., str]) -> None:
    name = folder(10, dataset="letters", metrics={"test": 0.5})
    known = ", ".join(DATASETS)
    for what, said in (
        ("mistakes", f"the card of {name} names no data set that can be loaded: name one with --dataset ({known})"),
        ("confusion", f"the card of {name} has no confusion matrix: name a data set to run it on with --dataset"),
    ):
        status, out, err = call(capsys, what, name, "--json")
        assert (status, out) == (2, "")
        assert err == f"lenet-zoo: {said}\n"


def test_a_file_comes_before_a_test_picture_of_the_same_name(
    capsys: pytest.CaptureFixture[str], here: Path, digits: Dataset
) -> None:
    pixels = digits.images[4].numpy()
    Image.fromarray(pixels).save(here / "digits:5", format="PNG")
    assert numbers(capsys, "maps", "lenet5_modern", "digits:5")["input"] == pixels.tolist()


def test_f6_prints_the_squared_distance_to_each_bitmap(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = numbers(capsys, "f6", "lenet5_classic", "digits:3")
    distances = ((np.array(row["F6"]) - np.array(rbf_codes(10))) ** 2).sum(1)
    assert list(row["y"]) == list("0123456789")
    assert list(row["y"].values()) == pytest.approx(distances, rel=1e-4)


def test_f6_says_when_it_resembles_no_bitmap(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    _, _, err = call(capsys, "f6", "lenet5_classic", "digits:0", "-o", "f6.svg")
    hint, wrote = err.splitlines()
    assert "F6 resembles no bitmap: the nearest is at y = 2" in hint
    assert "lenet5_classic.lecun1998_mnist" in hint
    assert wrote.startswith("f6.svg: ")


def test_a_slide_names_the_network_as_the_page_does(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    for kind in ("titled", "slide"):
        monkeypatch.setattr(figures, kind, lambda figure, title, *_, kind=kind: titles.append((kind, title)) or figure)
    for slide in ([], ["--slide"]):
        assert call(capsys, "maps", "lenet5_classic", "digits:0", "-o", "a.png", *slide)[0] == 0
        assert call(capsys, "confusion", "lenet5_modern", "-o", "a.png", *slide)[0] == 0
    maps, confusion = "lenet5_classic.mnist reads digits:0", "lenet5_modern.mnist on mnist"
    assert titles == [("titled", maps), ("titled", confusion), ("slide", maps), ("slide", confusion)]


def test_curvature_is_what_sdlm_would_divide_by(capsys: pytest.CaptureFixture[str], digits: Dataset) -> None:
    found = numbers(capsys, "curvature", "lenet5_classic.lecun1998_mnist")
    model = create_model("lenet5_classic.lecun1998_mnist", pretrained=True)
    assert list(found) == [name for name, _ in model.named_parameters()]
    h = curvature(model, normalized(model, digits.images[:500]), digits.labels[:500], PenaltyLoss())
    assert found["F6.bias"] == pytest.approx(h[model.F6.bias].tolist())


def test_curvature_on_other_classes_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, said = call(capsys, "curvature", "lenet5_classic.fashion_mnist", "--json")
    assert (status, said.count("\n")) == (0, 1)
    assert said.startswith("warning: digits has other classes than lenet5_classic.fashion_mnist")


def test_a_log_is_named_without_its_suffix(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    Path("of-1998.jsonl").write_text('{"epoch": 1, "accuracy": 0.9}\n')
    assert list(numbers(capsys, "curves", "of-1998.jsonl")) == ["of-1998"]


def test_confusion_is_the_cards_unless_a_data_set_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    found = numbers(capsys, "confusion", "lenet5_modern.mnist")
    assert found["confusion"] == model_card("lenet5_modern.mnist")["metrics"]["test"]["confusion"]
    assert np.sum(numbers(capsys, "confusion", "lenet5_modern.mnist", "--dataset", "digits")["confusion"]) == 1797


def test_mistakes_on_mnist_are_the_cards_and_marked_where_the_paper_erred(
    capsys: pytest.CaptureFixture[str], mnist_test: Dataset
) -> None:
    found = numbers(capsys, "mistakes", "lenet5_modern")
    test = model_card("lenet5_modern.mnist")["metrics"]["test"]
    assert len(found["mistakes"]) == test["total"] - test["correct"]
    losses = [mistake["loss"] for mistake in found["mistakes"]]
    assert losses == sorted(losses, reverse=True)
    paper = figures.paper_fig8()
    for mistake in found["mistakes"]:
        assert mistake["label"] == mnist_test.labels[mistake["index"]] != mistake["answer"]
        assert mistake["fig8"] == (mistake["index"] in paper)


def test_curves_of_several_runs(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    for folder in ("a/seed-0", "b/seed-0"):
        (here / folder).mkdir(parents=True)
        (here / folder / "log.jsonl").write_text('{"epoch": 1, "accuracy": 0.9}\n')
    found = numbers(capsys, "curves", "a/seed-0", "b/seed-0/log.jsonl", "--paper")
    assert list(found) == ["seed-0", "b/seed-0/log.jsonl", "fig5"]
    assert found["fig5"][0] == [1, 2.65, 4.89]
    assert call(capsys, "curves", "a/seed-0", "-o", "curves.pdf")[0] == 0
    assert Path("curves.pdf").read_bytes().startswith(b"%PDF")


def test_curves_of_the_runs_in_a_folder(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    for folder in ("a/seed-0", "a/seed-1", "b/validation"):
        (here / folder).mkdir(parents=True)
        (here / folder / "log.jsonl").write_text('{"epoch": 1, "accuracy": 0.9}\n')
    assert list(numbers(capsys, "curves", "a", "b")) == ["seed-0", "seed-1", "validation"]


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        ("filtrs lenet5_modern -o a.svg", 2, "no picture called 'filtrs'. Did you mean 'filters'? There are arch"),
        ("filters lenet5_modem -o a.svg", 2, "no network called 'lenet5_modem'. Did you mean 'lenet5_modern'?"),
        ("filters lenet5_modern", 2, "name a file with -o FILE (.svg, .pdf or .png), or ask for --json"),
        ("filters lenet5_modern -o a.jpg", 2, "a.jpg: a figure is written as .svg, .pdf, .png, and this name has"),
        ("filters lenet5_modern -o no/a.svg", 2, "no/a.svg: there is no folder no"),
        ("filters lenet5_modern -o taken.svg", 2, "taken.svg: it is a folder"),
        ("filters lenet5_modern -o a.svg --theme drak", 2, "no theme called 'drak'. Did you mean 'dark'?"),
        ("maps lenet5_modern digits:1797 -o a.svg", 2, "digits:1797: digits has 1,797 test pictures, from 0 to 1796"),
        ("maps lenet5_modern digitz:0 -o a.svg", 2, "no data set called 'digitz'. Did you mean 'digits'?"),
        ("maps lenet5_modern digits:one -o a.svg", 2, "digits:one: places are whole numbers, such as digits:7,2"),
        ("maps lenet5_modern.numbers digits:0 -o a.svg", 2, "reads lines: take `lenet-zoo plot line`"),
        ("f6 lenet5_modern.numbers digits:0 -o a.svg", 2, "reads lines: take `lenet-zoo plot line`"),
        ("mistakes lenet5_modern.numbers -o a.svg", 2, "reads lines: take `lenet-zoo plot line`"),
        ("confusion lenet5_modern.numbers -o a.svg", 2, "reads lines: take `lenet-zoo plot line`"),
        ("maps lenet5_modern digits -o a.svg", 2, "digits has many pictures: name a test picture by its place"),
        ("maps lenet5_modern missing.png -o a.svg", 2, "missing.png: no such file"),
        ("maps lenet5_modern paper.png -o a.svg", 2, "paper.png: "),
        ("maps lenet5_modern text.png -o a.svg", 2, "text.png is not a picture"),
        ("f6 lenet5_modern digits:0 -o a.svg", 2, "F6 is compared with bitmaps in lenet5_classic alone"),
        ("curvature lenet5_modern -o a.svg", 2, "the loss of 1998 needs the bitmaps of lenet5_classic"),
        ("confusion lenet5_modern --dataset mnits -o a.svg", 2, "no data set called 'mnits'. Did you mean 'mnist'?"),
        ("mistakes lenet5_modern --data-root . -o a.svg", 1, "no MNIST in ."),
        ("curves nothing -o a.svg", 1, "there is no training log nothing"),
        ("curves text.png -o a.svg", 1, "text.png, line 1: not a record of an epoch"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], here: Path, argv: str, status: int, said: str
) -> None:
    Image.new("L", (100, 100), 255).save("paper.png")
    Path("text.png").write_text("hello\n")
    Path("taken.svg").mkdir()
    before = sorted(here.rglob("*"))
    found, out, err = call(capsys, *argv.split())
    assert (found, out) == (status, "")
    assert err.startswith("lenet-zoo: ")
    assert err.count("\n") == 1
    assert said in err
    assert sorted(here.rglob("*")) == before


def test_a_blank_picture_is_no_digit(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    Image.new("L", (100, 100), 255).save("paper.png")
    assert "no digit" in call(capsys, "maps", "lenet5_modern", "paper.png", "-o", "a.svg")[2]


def test_what_cannot_be_written_is_refused_before_the_network_is_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lenet_zoo.registry.create_model", lambda *_, **__: pytest.fail("the network was loaded"))
    assert "'.jpg'" in call(capsys, "filters", "lenet5_modern", "-o", "a.jpg")[2]


def test_without_matplotlib_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from lenet_zoo.cli import main; main(['plot', 'filters', 'lenet5_modern', '-o', 'a.svg'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"lenet-zoo: pictures are drawn by matplotlib: {to_install('plots')}\n"


def test_a_line_is_drawn_and_printed_as_the_reader_reads_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["plot", "line", "digits:1,0,7", "-o", "line.png", "--json", "--theme", "dark"]
    assert run(argv) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["text"] == "107"
    assert np.array(document["pixels"]).shape[0] == 28
    probabilities = np.array(document["probabilities"])
    assert probabilities.shape[1] == len(document["labels"]) == 11
    assert probabilities.sum(1) == pytest.approx(1)
    with Image.open("line.png") as drawn:
        assert drawn.width > 400
    assert run(["plot", "line", "digits:1,9999", "--json"]) == 2
    assert "digits:1,9999: digits has 1,797 test pictures" in capsys.readouterr().err
    assert run(["plot", "line", "digits:1", "--model", "lenet5_modern", "--json"]) == 2
    assert "reads single characters, not numbers" in capsys.readouterr().err


def test_numbers_that_json_has_not_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain(np.array([[1.5, np.nan], [np.inf, -np.inf]])) == [[1.5, None], [None, None]]
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"loss": np.inf})
    assert capsys.readouterr().out == ""


def test_a_row_of_many_digits_is_no_file_name() -> None:
    row = line_of("digits:" + ",".join(["0"] * 200), None, False)
    assert isinstance(row, Image.Image)
    assert row.height == 44

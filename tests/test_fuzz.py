"""What we read from files is data: whatever a file holds, it is used, or refused with one clear line.

CI tries some dozens of mutations of each kind of file, always the same ones. `LENET_ZOO_FUZZ=5000 pytest
tests/test_fuzz.py` tries that many of each, others every time.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo._files import parse_json
from lenet_zoo.cards import Card
from lenet_zoo.classify import read_metadata
from lenet_zoo.cli._app import run
from lenet_zoo.errors import LenetZooError, printable
from lenet_zoo.scoring import score
from lenet_zoo.training import recipe as recipes
from lenet_zoo.training.recipe import load_recipe

_ASKED = os.environ.get("LENET_ZOO_FUZZ")
fuzzed = settings(
    max_examples=int(_ASKED or 25),
    derandomize=not _ASKED,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # shrinking takes minutes
)

Document = dict[str, Any]

TEXTS = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(
    ["", "\x1b[2J", "a\nb", "\x00", "\udcff", "$x^{2$", "[red]m[/red]", "../x", "1", "true", "x" * 5000, "‮abc"]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 1, 10, 2**31, 2**63, 10**400, 1e19, -0.0])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every (object or list, key or index) within a document."""
    for key, value in list(document.items() if isinstance(document, dict) else enumerate(document)):
        yield document, key
        if isinstance(value, dict | list):
            yield from _places(value)


@st.composite
def documents(draw: st.DrawFn, original: Document) -> bytes:
    """JSON of a document of which one to three values were changed, removed, renamed or put in place of another."""
    document = json.loads(json.dumps(original))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        inside, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["change", "change", "remove", "rename", "copy", "deepen"]))
        if how == "change":
            inside[key] = draw(VALUES)
        elif how == "remove":
            del inside[key]
        elif how == "rename" and isinstance(inside, dict):
            inside[draw(TEXTS)] = inside.pop(key)
        elif how == "copy":
            other, place = draw(st.sampled_from(places))
            with contextlib.suppress(KeyError, IndexError):
                inside[key] = json.loads(json.dumps(other[place]))
        else:
            for _ in range(draw(st.sampled_from([1, 2, 50]))):
                inside[key] = [inside[key]]
    return json.dumps(document).encode()


@st.composite
def contents(draw: st.DrawFn, original: bytes) -> bytes:
    """A file of which one to four places were altered."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["flip", "flip", "insert", "remove", "cut", "repeat"]))
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=6) | st.sampled_from([b"[" * 3000, b'{"a":' * 3000, b"\xff", b"\n"]))
        elif how == "remove":
            del data[at : at + draw(st.integers(1, 40))]
        elif how == "cut":
            del data[at:]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 200))]
    return bytes(data)


def files(original: bytes) -> st.SearchStrategy[bytes]:
    """JSON files, altered as documents and as bytes."""
    return documents(json.loads(original)) | contents(original)


def or_one_line(call: Callable[[], Any]) -> Any:
    """What the call gives; None after an error of ours, which must be one line that a terminal can take."""
    try:
        return call()
    except LenetZooError as error:
        text = str(error)
        assert text.strip(), repr(text)
        assert "\n" not in text, repr(text)
        return None


def command(*argv: str) -> str:
    """What a command prints; it ends with 0, or with one line."""
    out, said = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        status = run([*argv])
    for stream in (out, said):
        stream.flush()
    printed, lines = (stream.buffer.getvalue().decode() for stream in (out, said))  # type: ignore[attr-defined]
    assert status in (0, 1, 2)
    assert status == 0 or (lines.count("\n") == 1 and lines.startswith("lenet-zoo: ")), repr(lines)
    assert not any(printable(letter) != letter for letter in (printed + lines).replace("\n", "")), repr(printed + lines)
    return printed


# ------------------------------------------------------------------------------------------------------------- recipes

SHIPPED = {path.stem: path.read_bytes() for path in sorted(recipes._FOLDER.glob("*.toml"))}
TOML_VALUES = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["true", "''", '"x"', "[]", "[1]", "{a = 1}", "1979-05-27", "12:00:00", "inf", "nan", "1e19", "-1"]
    ),
    st.sampled_from(["[" * 2000 + "]" * 2000, "{a=" * 2000 + "1" + "}" * 2000, "1" * 5000, "0x" + "f" * 300]),
)


@st.composite
def altered_recipes(draw: st.DrawFn) -> bytes:
    """A shipped recipe of which a line was changed, or some bytes."""
    text = draw(st.sampled_from([*SHIPPED.values()]))
    if draw(st.booleans()):
        return draw(contents(text))
    lines = text.decode().splitlines()
    at = draw(st.integers(0, len(lines) - 1))
    name = draw(st.sampled_from([*recipes.Recipe.documented(), *recipes.Recipe1998.documented(), "mnist", "a.b"]))
    table = draw(st.sampled_from(["", "", "[lenet5_modern]", "[mnist]", "[lenet5_modern.mnist]", "[[mnist]]", "[x]"]))
    lines[at : at + draw(st.integers(0, 1))] = [table, f"{name} = {draw(TOML_VALUES)}"]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@fuzzed
@given(altered_recipes(), st.sampled_from(["lenet5_modern", "lenet5_classic", "teacher"]))
def test_recipes(tmp_path_factory: pytest.TempPathFactory, content: bytes, architecture: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    recipe = or_one_line(lambda: load_recipe(str(path), architecture=architecture, dataset="mnist"))
    if recipe is not None:
        json.dumps(recipe.as_dict(), allow_nan=False)


@fuzzed
@given(st.sampled_from([*recipes.Recipe.documented(), *recipes.Recipe1998.documented()]), VALUES)
def test_changes_of_a_recipe(name: str, value: Any) -> None:
    for typed in (value, str(value)):
        or_one_line(lambda typed=typed: load_recipe("baseline", changes={name: typed}))


# --------------------------------------------------------------------------------------------------------------- cards

CARD = cards.card_path("lenet5_modern.mnist").read_bytes()


@fuzzed
@given(files(CARD))
def test_cards(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed-card.json"
    path.write_bytes(content)
    card = or_one_line(lambda: Card.read(path))
    if card is not None:
        assert Card.parse(parse_json(card.text()), "the card") == card


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network in a folder, as fine-tuning leaves it."""
    import timm

    home = tmp_path_factory.mktemp("network")
    network = lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True)
    timm.models.save_for_hf(network, home, model_config={"label_names": [*"0123456789"]}, safe_serialization=True)
    Card.parse({**json.loads(CARD), "sha256": cards.sha256_of(home / "model.safetensors")}, "it").write(
        home / "card.json"
    )
    return home


def _altered(home: Path, data: st.DataObject, *names: str) -> None:
    """Alter one of the files of a folder, and put the others as they were."""
    for name in names:
        kept = home / f"{name}.kept"
        if not kept.exists():
            kept.write_bytes((home / name).read_bytes())
        (home / name).write_bytes(kept.read_bytes())
    name = data.draw(st.sampled_from(names))
    content = (home / name).read_bytes()
    (home / name).write_bytes(data.draw(files(content) if name.endswith("json") else contents(content)))


@fuzzed
@given(st.data())
def test_folders(folder: Path, data: st.DataObject) -> None:
    _altered(folder, data, "config.json", "card.json", "model.safetensors")
    name = f"local-dir:{folder}"
    model = or_one_line(lambda: lenet_zoo.create_model(name, pretrained=True))
    if model is not None:
        json.dumps(model.card.as_dict(), allow_nan=False)
    for arguments in (["info", name], ["info", name, "--json"]):
        command(*arguments)
    command("plot", "confusion", name, "-o", str(folder / "confusion.svg"))


# --------------------------------------------------------------------------------------------------------- ONNX files


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    path = lenet_zoo.export_onnx(model, tmp_path_factory.mktemp("exported") / "digits.onnx", input="pixels")
    return Path(path)


@fuzzed
@given(st.data())
def test_onnx_files(tmp_path_factory: pytest.TempPathFactory, exported: Path, data: st.DataObject) -> None:
    model = onnx.load_from_string(exported.read_bytes())
    path = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    if data.draw(st.booleans()):
        entry = data.draw(st.sampled_from(list(model.metadata_props)))
        if entry.value[:1] in ("[", "{") and data.draw(st.booleans()):
            original = json.loads(entry.value)
            whole = original if isinstance(original, dict) else {"list": original}
            altered = json.loads(data.draw(documents(whole)))
            entry.value = json.dumps(altered if isinstance(original, dict) else altered.get("list"))
        else:
            entry.value = data.draw(TEXTS | VALUES.map(json.dumps)).encode("utf-8", "replace").decode()
        path.write_bytes(model.SerializeToString())
    else:
        path.write_bytes(data.draw(contents(exported.read_bytes())))
    or_one_line(lambda: read_metadata(path))
    classifier = or_one_line(lambda: lenet_zoo.OnnxClassifier(path, threads=1))
    if classifier is not None:
        pixels = np.zeros((2, classifier.channels, *classifier.size), np.uint8)
        or_one_line(lambda: classifier.predict_array(pixels))
    for arguments in (["info", str(path)], ["info", str(path), "--json"]):
        command(*arguments)


# ---------------------------------------------------------------------------------------------------- jobs and figures


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, exported: Path) -> Path:
    """A finished job on one picture, beside its input and its network."""
    home = tmp_path_factory.mktemp("job")
    (home / "in").mkdir()
    Image.fromarray(np.pad(np.full((18, 4), 255, np.uint8), ((5, 5), (12, 12)))).save(home / "in" / "1.png")
    shutil.copyfile(exported, home / "digits.onnx")
    score(home / "in", home / "out", model=str(home / "digits.onnx"), workers=1)
    return home


@fuzzed
@given(st.data())
def test_jobs(job: Path, data: st.DataObject) -> None:
    shutil.rmtree(job / "now", ignore_errors=True)
    shutil.copytree(job / "out", job / "now")
    name = data.draw(st.sampled_from(["manifest.json", "job/job.json", "parts/part-00000.parquet"]))
    content = (job / "now" / name).read_bytes()
    (job / "now" / name).write_bytes(data.draw(files(content) if name.endswith("json") else contents(content)))
    if name.startswith("parts"):
        (job / "now" / "manifest.json").unlink()
    found = or_one_line(lambda: score(job / "in", job / "now", model=str(job / "digits.onnx"), workers=1))
    if found is not None:
        assert (found["rows"], found["labelled"], found["run"]["rows"]) == (1, 1, 0)


@fuzzed
@given(st.data())
def test_logs_and_benchmarks(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    home = tmp_path_factory.getbasetemp()
    record = {"epoch": 1, "accuracy": 0.9, "validation_accuracy": 0.91, "loss": 0.1}
    lines = data.draw(st.lists(documents(record) | contents(json.dumps(record).encode()), min_size=1, max_size=3))
    (home / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    command("plot", "curves", str(home / "log.jsonl"), "-o", str(home / "curves.svg"))
    row = {"name": "ours", "threads": 1, "batch": 1, "pictures_per_second": 1e4}
    bench = {"model": "lenet5_modern", "rounds": 3, "machine": {"processor": "x"}, "rows": [row]}
    (home / "bench.json").write_bytes(data.draw(files(json.dumps(bench).encode())))
    command("plot", "bench", str(home / "bench.json"), "-o", str(home / "bench.svg"))

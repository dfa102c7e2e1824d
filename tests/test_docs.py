"""The docs tell the truth: their Python runs, their commands exist, their errors are said, their figures are drawn."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer
from PIL import Image
from sklearn.datasets import load_digits

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.cli import _app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))


def load_pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_pages", DOCS / "_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = load_pages()


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language, without those that a comment above marks as not run."""
    found = re.findall(rf"^(<!-- not run: [^\n]*-->\n)?```{language}\n(.*?)^```$", text, re.M | re.S)
    return [block for not_run, block in found if not not_run]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages' examples name: a photo of a digit, a blank sheet, notes, an empty folder."""
    ink = Image.fromarray((255 - load_digits().images[0] * 15.9).astype("uint8")).resize((160, 160))
    for name in ("photo-of-a-digit.png", "photo.jpg", "scan.png"):
        ink.save(tmp_path / name)
    Image.new("L", (100, 100), 255).save(tmp_path / "blank.png")
    (tmp_path / "notes.onnx").write_text("remember the milk")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(text_of(page), "python")])
def test_the_python_of_a_page_runs_from_top_to_bottom(page: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {}
    if page == "networks.md":  # speaks of a file that the reader has
        old = {
            "C1": "conv_layer1.0",
            "C3": "conv_layer2.0",
            "C5": "C5_layer.0",
            "F6": "fc_layer1.0",
            "output": "fc_layer2",
        }
        state = lenet_zoo.create_model("lenet5_modern").state_dict()
        state = {f"{old[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in state.items()}
        torch.save(state, here / "their_weights.pt")
    if page == "deploy.md":  # speaks of a file that its first command wrote, of pictures, and of a command line
        model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
        lenet_zoo.export_onnx(model, here / "digits.onnx", input="pixels", probabilities=True)
        monkeypatch.setattr("sys.argv", ["read_digit.py", "digits.onnx", "scan.png"])
    for block in blocks(text_of(page), "python"):
        exec(compile(block, page, "exec"), namespace)


# -------------------------------------------------------------------------------------------------------- commands


def command_lines(text: str) -> Iterator[list[str]]:
    """Every `lenet-zoo …` of a shell block, split into words, without comments, redirections and what follows."""
    text = text.replace("\\\n", " ")
    for line in re.findall(r"(?:^|[|&;$] *)(lenet-zoo .*)$", text, re.M):
        words = shlex.split(re.split(r"\s#|\s>|&&|\|", line)[0], comments=True)
        yield words[1:]


def parse(words: list[str]) -> None:
    """Parse a command line as the program would, without running it."""
    for module in _app._COMMANDS:
        importlib.import_module(f"lenet_zoo.cli.{module}")
    command: Any = typer.main.get_command(_app.app)
    context = None
    while hasattr(command, "commands"):
        assert words, f"{command.name}: a command is missing"
        assert words[0] in command.commands, f"{command.name} has no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    context = command.context_class(command, info_name=command.name)
    command.parse_args(context, words)


SHELL = [
    (page, words)
    for page, text in [
        *((page, text_of(page)) for page in PAGES),
        ("README.md", (ROOT / "README.md").read_text("utf-8")),
    ]
    for language in ("bash", "console")
    for block in blocks(text, language)
    for words in command_lines(block)
]


@pytest.mark.parametrize(("page", "words"), SHELL, ids=[f"{page}: {' '.join(words)}" for page, words in SHELL])
def test_every_command_of_the_docs_is_one(page: str, words: list[str]) -> None:
    parse(words)


def test_parsing_finds_wrong_commands() -> None:
    for words in ("predikt a b", "plot filters", "evaluate lenet5_modern --datset mnist", "train lenet5_modern"):
        with pytest.raises(Exception, match=r"no command|[Mm]issing|[Nn]o such option"):
            parse(words.split())


def test_extras_that_the_docs_install_exist() -> None:
    known = re.findall(r"^([a-z]+) = \[$", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    for page in PAGES:
        for extras in re.findall(r"""(?:lenet-zoo|\.)\[([a-z,]+)\]""", text_of(page)):
            assert {*extras.split(",")} <= {*known}, page


def examples(text: str) -> list[tuple[str, str]]:
    """(command, what it says) of the console blocks that show what a command says; … stands for anything."""
    found = []
    for block in blocks(text, "console"):
        for command, said in re.findall(r"^\$ (lenet-zoo [^\n]*)\n((?:(?!\$ )[^\n]+\n)+)", block, re.M):
            found.append((command, said))
    return found


ERRORS = examples(text_of("errors.md"))


@pytest.mark.parametrize(("command", "said"), ERRORS, ids=[command for command, _ in ERRORS])
def test_an_error_is_said_as_the_page_prints_it(
    command: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.rglob("*"))
    assert _app.run(shlex.split(command)[1:]) != 0
    captured = capsys.readouterr()
    pattern = ".*".join(map(re.escape, said.split("…")))
    assert re.fullmatch(pattern, captured.err), captured.err
    assert captured.out == ""
    assert sorted(here.rglob("*")) == before


def test_the_error_page_has_every_class() -> None:
    from lenet_zoo import errors

    text = text_of("errors.md")
    for name in errors.__all__:
        if isinstance(getattr(errors, name), type) and name != "LenetZooError":
            assert f"## `{name}`" in text


# --------------------------------------------------------------------------------------------------------- figures


def script() -> list[tuple[str, list[str]]]:
    """(file stem, arguments of `plot`) of every figure that the script draws."""
    lines = re.findall(r"^draw (\S+) (.*)$", (DOCS.parent / "tools" / "make_figures.sh").read_text("utf-8"), re.M)
    return [(stem, shlex.split(rest)) for stem, rest in lines]


def test_every_figure_of_the_docs_is_drawn_by_the_script_in_both_themes() -> None:
    used = {stem for page in PAGES for stem in re.findall(r"\(images/([\w-]+)-light\.svg\)", text_of(page))}
    drawn = {stem for stem, _ in script()}
    assert used == drawn
    for stem in drawn:
        for theme in ("light", "dark"):
            assert (DOCS / "images" / f"{stem}-{theme}.svg").is_file()


def test_every_figure_stands_below_the_command_that_draws_it() -> None:
    text = text_of("figures.md")
    for stem, arguments in script():
        parse(["plot", *arguments, "-o", "x.svg"])
        command = (
            rf"lenet-zoo plot {re.escape(shlex.join(arguments))} -o \S+\n(?:(?!```).*\n)*```\n(?:(?!\n!\[)[\s\S])*?"
        )
        assert re.search(command + rf"\n!\[[^\]]+\]\(images/{stem}-light", text), stem


def test_every_figure_says_in_words_what_it_shows() -> None:
    for page in PAGES:
        for described in re.findall(r"!\[([^\]]*)\]\(", text_of(page)):
            assert len(described.split()) >= 4, page


# --------------------------------------------------------------------------------------------------- made from code


def test_nothing_is_left_to_fill_in() -> None:
    known = pages.substitutions()
    for page in PAGES:
        text = pages.expand(text_of(page))
        assert not [part for part in re.findall(r"^<!-- ([a-z ]+) -->$", text, re.M) if not part.startswith("not run")]
        for name in re.findall(r"\{\{ *([\w.]+) *\}\}", text):
            if name == "demo":  # conf.py's: whether the page in the browser has been built
                continue
            value: Any = known
            for key in name.split("."):
                value = value[key]
            assert value


def test_no_accuracy_is_typed() -> None:
    for page in PAGES:
        assert not re.findall(r"\b9\d\.\d+ ?%", text_of(page)), page


def test_the_cards_are_on_the_page() -> None:
    text = pages.expand(text_of("cards.md"))
    for name in cards.names():
        card = cards.load(name).as_dict()
        assert f"## `{name}`" in text
        assert card["sha256"] in text
        assert f"{card['metrics']['test']['correct']:,}/{card['metrics']['test']['total']:,}" in text
        assert f"`{name}`" in (pages.lines() if card["preparation"] == "line" else pages.results())


def test_every_command_and_field_is_documented() -> None:
    text = pages.commands()
    for command in ("list", "info", "predict", "evaluate", "train", "export", "plot maps", "bench inference"):
        assert f"`lenet-zoo {command}`" in text
    fields = pages.recipe_fields()
    assert "| `label_smoothing` |" in fields
    assert "| `literal_init` | false |" in fields


def test_everything_on_the_python_page_exists() -> None:
    found = re.findall(r"^\.\. auto\w+:: (\S+)\n(?:   :members: (.+)\n)?", text_of("api.md"), re.M)
    assert len(found) > 30
    for name, members in found:
        thing = pkgutil.resolve_name(name)
        for member in members.split(", ") if members else []:
            assert getattr(thing, member).__doc__, f"{name}: {member}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([\w./-]+\.md)(?:#[\w-]+)?\)", text_of(page)):
            assert (DOCS / target).is_file(), f"{page}: {target}"

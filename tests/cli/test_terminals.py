"""The command line elsewhere: in pipes, narrow terminals, encodings other than UTF-8, and the shells of Windows."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from lenet_zoo import cards
from lenet_zoo.cli import _app
from lenet_zoo.cli._app import run

PICTURES = Path(__file__).parents[1] / "fixtures" / "pictures"


def lenet_zoo(*argv: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "lenet_zoo", *argv], capture_output=True, env={**os.environ, **env})


def test_a_table_in_a_pipe_is_whole() -> None:
    for width in ("40", "80"):
        lines = lenet_zoo("list", COLUMNS=width).stdout.decode().splitlines()
        for name in cards.names():
            card = cards.load(name)
            assert any({name, str(card.dataset), f"{card.params:,}"} <= set(line.split()) for line in lines)


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize(
    "argv", [["list"], ["info", "lenet5_classic"], ["evaluate", "lenet5_modern"], ["recipes"], ["recipes", "best"]]
)
def test_a_table_in_a_terminal_fits_and_loses_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: list[str], width: int
) -> None:
    for module in _app._COMMANDS:  # none is to take this console and keep it beyond the test
        importlib.import_module(f"lenet_zoo.cli.{module}")
    monkeypatch.setattr(_app, "console", _app.Terminal(force_terminal=True, color_system=None, width=width))
    argv = [*argv, "--dataset", "digits"] if argv[0] == "evaluate" else argv
    assert run(argv) == 0
    out = capsys.readouterr().out
    table = [line for line in out.splitlines() if not line.startswith("lenet5_modern on digits")]
    assert max(map(len, table)) <= width
    assert "…" not in out
    if argv[0] == "list":
        assert all(f"{cards.load(name).params:,}" in out for name in cards.names())


def test_what_is_longer_than_a_terminal_is_folded_and_in_a_pipe_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = "/home/somebody/" + "x" * 90
    for terminal in (True, False):
        monkeypatch.setattr(_app, "console", _app.Terminal(force_terminal=terminal, color_system=None, width=60))
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_row("folder", folder)
        _app.print_table(table)
        out = capsys.readouterr().out
        assert "".join(out.replace("folder", "").split()) == folder
        assert (folder in out) == (not terminal)


def test_what_an_encoding_lacks_is_escaped(tmp_path: Path) -> None:
    picture = tmp_path / "写\N{SLIGHTLY SMILING FACE}.png"
    picture.write_bytes((PICTURES / "pen_fat.png").read_bytes())
    for encoding in ("cp1252", "ascii"):
        plain, document = (
            lenet_zoo("predict", "lenet5_modern", str(picture), *more, PYTHONIOENCODING=encoding)
            for more in ([], ["--json"])
        )
        assert (plain.returncode, plain.stderr) == (0, b"")
        assert b"\\u5199\\U0001f642.png: " in plain.stdout
        assert json.loads(document.stdout.decode("ascii"))[0]["path"] == str(picture)
    assert lenet_zoo("recipes", "best", PYTHONIOENCODING="cp1252").returncode == 0


@pytest.mark.parametrize("script", cards.SCRIPTS)
def test_a_scripts_own_digits_are_printed_in_any_encoding(script: str) -> None:
    argv = ("predict", f"lenet5_modern.{script}", str(PICTURES / "pen_fat.png"))
    found = {code: lenet_zoo(*argv, PYTHONIOENCODING=code) for code in ("utf-8", "cp1252", "ascii")}
    assert {(one.returncode, one.stderr) for one in found.values()} == {(0, b"")}
    label = found["utf-8"].stdout.decode("utf-8").split(": ")[1].split()[0]
    assert label in cards.SCRIPTS[script]
    for code in ("cp1252", "ascii"):
        assert label.encode("ascii", "backslashreplace") in found[code].stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not text")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(name)).write_bytes((PICTURES / "pen_fat.png").read_bytes())
    plain, document = (
        lenet_zoo("predict", "lenet5_modern", str(tmp_path), *more, PYTHONIOENCODING="utf-8:strict")
        for more in ([], ["--json"])
    )
    assert (plain.returncode, plain.stderr) == (0, b"")
    assert b"caf\\xe9.png: " in plain.stdout
    assert os.fsencode(json.loads(document.stdout)[0]["path"]) == name


def test_patterns_are_expanded_where_the_shell_does_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_app, "_WINDOWS", True)
    monkeypatch.chdir(PICTURES)
    assert run(["predict", "lenet5_modern", "pen_*.png", "--json"]) == 0
    assert [row["path"] for row in json.loads(capsys.readouterr().out)] == sorted(map(str, Path().glob("pen_*.png")))
    assert run(["predict", "lenet5_modern", "nothing_*.png"]) == 2
    assert capsys.readouterr().err == "lenet-zoo: nothing_*.png: no such file or folder\n"

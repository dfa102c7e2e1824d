"""The README's figures are the cards', and its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

from lenet_zoo import cards

README = Path(__file__).parents[1] / "README.md"


def results_table() -> str:
    lines = [
        "| name | trained on | parameters | accuracy as shipped | mean ± sd | seeds |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for name in cards.names():
        card = cards.load(name).as_dict()
        if card["preparation"] == "line":  # reads lines: docs/numbers.md has its figures
            continue
        test, seeds = card["metrics"]["test"], card["seeds"]
        spread = f"{100 * seeds['mean']:.2f} ± {100 * seeds['sd']:.2f} %" if seeds["n"] > 1 else "–"
        lines.append(
            f"| `{name}` | {card['dataset']} | {card['params']:,} | {100 * test['correct'] / test['total']:.2f} % "
            f"| {spread} | {seeds['n']} |"
        )
    return "\n".join(lines)


def test_the_results_are_the_cards() -> None:
    shown = re.search(r"<!-- results:[^\n]*-->\n\n?(.*?)\n*<!-- /results -->", README.read_text(encoding="utf-8"), re.S)
    assert shown is not None
    assert shown[1].strip() == results_table(), f"paste this into the README:\n{results_table()}"


def test_the_five_lines_run(tmp_path: Path, monkeypatch) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert code is not None
    digit = load_digits().images[0]
    Image.fromarray((255 - digit * 15.9).astype("uint8")).resize((160, 160)).save(tmp_path / "photo-of-a-digit.png")
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    exec(code[1], namespace)
    assert namespace["classifier"].predict(["photo-of-a-digit.png"])[0].label == "0"

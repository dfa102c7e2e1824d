"""The parts of the pages that are made from the package: cards, recipes, errors, the command line, figures.

A page marks the place of such a part with an HTML comment, `<!-- cards -->`; `conf.py` puts the part there when the
page is read. So no number and no option is written twice.
"""

from __future__ import annotations

import importlib
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet_zoo import cards, errors

DOCS = Path(__file__).parent


def percent(figures: dict[str, Any]) -> str:
    return f"{100 * figures['correct'] / figures['total']:.2f} %"


def kilobytes(count: int, digits: int = 0) -> str:
    return f"{count / 1000:.{digits}f} kB"


def substitutions() -> dict[str, Any]:
    """What `{{ … }}` in a page stands for: for each tag a mapping, under its name with `_` for `.`."""
    version = json.loads((DOCS.parent / "lenet_zoo" / "cli" / "schema.json").read_bytes())["version"]
    found: dict[str, Any] = {"schema_version": str(version), "tags": ", ".join(f"`{name}`" for name in cards.names())}
    for name in cards.names():
        card = cards.load(name).as_dict()
        test = card["metrics"]["test"]
        found[name.replace(".", "_")] = {
            "accuracy": percent(test),
            "error": f"{100 * (1 - test['correct'] / test['total']):.2f} %",
            "correct": f"{test['correct']:,}",
            "mistakes": f"{test['total'] - test['correct']:,}",
            "total": f"{test['total']:,}",
            "params": f"{card['params']:,}",
            "kilobytes": kilobytes(cards.weight_path(name).stat().st_size),
            "epochs": str(card["recipe"].get("epochs", card["recipe"].get("passes", ""))),
        }
    return found


# ------------------------------------------------------------------------------------------------------------ parts


def results() -> str:
    """One line a tag."""
    lines = ["| name | data set | test accuracy | mean ± sd | seeds |", "|---|---|--:|--:|--:|"]
    for name in cards.names():
        card = cards.load(name).as_dict()
        if card["preparation"] == "line":  # its test is another: see `lines`
            continue
        lines.append(
            f"| [`{name}`](cards.md#{_anchor(name)}) | {card['dataset']} "
            f"| {percent(card['metrics']['test'])} | {_spread(card)} | {card['seeds']['n']} |"
        )
    numbers = " and ".join(f"`{name}`" for name in cards.names() if name.endswith(".numbers"))
    lines += ["", f"{numbers} read lines of digits: see [how well](numbers.md#how-well-it-reads)."]
    return "\n".join(lines)


def lines() -> str:
    """What networks that read numbers make of lines of 5 test digits, from their cards."""
    styles = {"test": "apart", "test_touching": "a third touching", "test_written": "as trained on"}
    rows = ["| name | lines | whole lines right | character errors | at least 0.95 sure | of these wrong |"]
    rows.append("|---|---|--:|--:|--:|--:|")
    for name in cards.names():
        card = cards.load(name).as_dict()
        for split, text in styles.items() if card["preparation"] == "line" else ():
            one = card["metrics"][split]
            rows.append(
                f"| {_code(name)} | {text} | {percent(one)} | {100 * one['edits'] / one['characters']:.2f} % "
                f"| {one['sure']:,} | {one['sure_wrong']:,} |"
            )
    return "\n".join(rows)


def _anchor(name: str) -> str:
    return name.replace(".", "-")


def _spread(card: dict[str, Any]) -> str:
    seeds = card["seeds"]
    if seeds["n"] < 2:
        return ""
    return f"{100 * seeds['mean']:.2f} ± {100 * seeds['sd']:.2f} %"


def _from_scratch(found: dict[str, Any]) -> str:
    spread = f" ± {100 * found['sd']:.2f}" if "sd" in found else ""
    return f"{found['n']}: {100 * found['mean']:.2f}{spread} % (test), by `{found['command']}`"


def card_sections() -> str:
    """Every card, one section each."""
    return "\n\n".join(_card(name, cards.load(name).as_dict()) for name in cards.names())


def _card(name: str, card: dict[str, Any]) -> str:
    rows = {
        "network": f"`{card['architecture']}`, {card['params']:,} parameters",
        "classes": ", ".join(card["labels"]),
        "data set": card["dataset"],
    }
    for split, figures in card["metrics"].items():
        if "correct" in figures:
            rows[f"{split} accuracy"] = f"{figures['correct']:,}/{figures['total']:,}, {percent(figures)}"
            rows[f"{split} loss"] = f"{figures['loss']:.4f}"
    if _spread(card):
        rows["mean ± sd"] = f"{_spread(card)} of {card['seeds']['n']} seeds ({card['seeds']['split']})"
    if "scratch" in card:
        rows["from random weights"] = _from_scratch(card["scratch"])
    if "command" in card:
        rows["made by"] = f"`{card['command']}`"
    rows["time taken"] = f"{card['seconds']:,} s"
    rows["made with"] = ", ".join(f"{package} {version}" for package, version in card["created_with"].items())
    rows["licence"] = card["licence"]
    rows["SHA-256"] = f"`{card['sha256']}`"
    lines = [f"({_anchor(name)})=", f"## `{name}`", "", "| | |", "|---|---|"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in rows.items()]
    per_class = card["metrics"]["test"].get("per_class")
    if per_class:
        lines += ["", "Correct answers per class of the test set:", ""]
        columns = min(5, len(per_class))
        shown = [f"**{_cell(label)}** {one['correct']}/{one['total']}" for label, one in per_class.items()]
        shown += [""] * (-len(shown) % columns)
        lines += ["| " * columns + "|", "|---" * columns + "|"]
        lines += ["| " + " | ".join(shown[i : i + columns]) + " |" for i in range(0, len(shown), columns)]
    recipe = {key: value for key, value in card["recipe"].items() if value not in ("", None) and key != "description"}
    lines += ["", f"Recipe `{card['recipe']['name']}`: {card['recipe'].get('description', '')}.", ""]
    lines += ["| " + " | ".join(("field", "value") * 3) + " |", "|---|--:|---|--:|---|--:|"]
    pairs = [f"{key} | {_cell(_short(value))}" for key, value in recipe.items() if key != "name"]
    pairs += [" | "] * (-len(pairs) % 3)
    lines += ["| " + " | ".join(pairs[i : i + 3]) + " |" for i in range(0, len(pairs), 3)]
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(one)[:16] if key == 'sha256' else _short(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "; ".join(_short(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|")


def recipes() -> str:
    """Every shipped recipe for either network, and every field of a recipe."""
    from lenet_zoo.training.recipe import load_recipe, recipe_names

    lines = ["| recipe | what it is |", "|---|---|"]
    for name in recipe_names():
        architecture = "lenet5_classic" if "1998" in name else "lenet5_modern"
        lines.append(f"| `{name}` | {load_recipe(name, architecture=architecture, dataset='mnist').description} |")
    return "\n".join(lines)


def recipe_fields() -> str:
    """Every field of the three kinds of recipe, with its default."""
    from dataclasses import fields

    from lenet_zoo.training.recipe import Recipe, Recipe1998, RecipeLines

    parts = []
    for kind in (Recipe, Recipe1998, RecipeLines):
        lines = [f'**`method = "{kind().method}"`**', "", "| field | default | what it means |", "|---|---|---|"]
        documented = kind.documented()
        for one in fields(kind):
            if one.name not in ("method", "description"):
                lines.append(f"| `{one.name}` | {_short(one.default) or '–'} | {_cell(documented[one.name])} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def error_classes() -> str:
    """The classes of `lenet_zoo.errors`, with the built-in exception that each is as well."""
    lines = ["| class | is also a | when |", "|---|---|---|"]
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type):
            bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
            text = " ".join((kind.__doc__ or "").split())
            lines.append(f"| `{name}` | {bases} | {_cell(text)} |")
    return "\n".join(lines)


def commands() -> str:
    """The `--help` of every command."""
    import typer

    from lenet_zoo.cli import _app

    for module in _app._COMMANDS:
        importlib.import_module(f"lenet_zoo.cli.{module}")
    root = typer.main.get_command(_app.app)
    return "\n\n".join(_help(root, "lenet-zoo", None))


def _help(command: Any, path: str, parent: Any) -> list[str]:
    context = command.context_class(
        command, info_name=path.split()[-1], parent=parent, terminal_width=88, max_content_width=88
    )
    text = command.get_help(context).rstrip()
    depth = "##" if path.count(" ") < 2 else "###"
    found = [f"{depth} `{path}`\n\n```text\n{text}\n```"]
    for name, child in getattr(command, "commands", {}).items():
        found += _help(child, f"{path} {name}", context)
    return found


def figure_commands() -> str:
    """The script that draws every figure, without its head."""
    lines = (DOCS.parent / "tools" / "make_figures.sh").read_text(encoding="utf-8").splitlines()
    return "```bash\n" + "\n".join(lines[lines.index("set -euo pipefail") + 1 :]).strip() + "\n```"


def does_it_pay() -> str:
    """Accuracy and time of fine-tuning, by pictures per class, as `examples/does_it_pay.py` wrote them."""
    found = json.loads((DOCS / "figures" / "finetune.json").read_text(encoding="utf-8"))
    parts = []
    for dataset, sizes in found["results"].items():
        methods = list(next(iter(sizes.values())))
        lines = [
            f"**{dataset}**, test accuracy in %, mean ± standard deviation over {found['run']['seeds']} seeds, and the "
            "seconds of one training",
            "",
            f"| pictures per class | {' | '.join(methods)} |",
            f"|--:|{'--:|' * len(methods)}",
        ]
        for size, cells in sizes.items():
            values = []
            for cell in cells.values():
                seconds = sum(cell["seconds"]) / len(cell["seconds"])
                values.append(f"{100 * cell['mean']:.2f} ± {100 * cell['sd']:.2f}, {seconds:.0f} s")
            lines.append(f"| {size} | {' | '.join(values)} |")
        if found["unchanged"][dataset] is not None:
            lines += [
                "",
                f"Without any training, the network as it comes reads {100 * found['unchanged'][dataset]:.2f} %.",
            ]
        parts.append("\n".join(lines))
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    parts.append(f"Start: `{found['run']['model']}`. Machine: {found['machine']}. {versions}.")
    return "\n\n".join(parts)


def _ratio(value: float) -> str:
    """Two digits, and three from 10 on."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}"


def speed() -> str:
    """How many times as long as ours the others take, as `lenet-zoo bench inference` wrote it."""
    parts = []
    for network in ("modern", "classic"):
        found = json.loads((DOCS / "data" / f"bench-{network}.json").read_text(encoding="utf-8"))
        rows = found["rows"]
        batches = sorted({row["batch"] for row in rows})
        threads = sorted({row["threads"] for row in rows})
        cells = [(count, batch) for count in threads for batch in batches]
        heads = [f"{count} thread{'s' * (count > 1)}, batch {batch:,}" for count, batch in cells]
        lines = [f"**{found['model']}**", "", f"| | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]
        for name in dict.fromkeys(row["name"] for row in rows):
            at = {(row["threads"], row["batch"]): row for row in rows if row["name"] == name}
            if name.startswith("ours, onnx"):
                texts = [f"{at[cell]['pictures_per_second'] / 1000:,.0f} k/s" if cell in at else "" for cell in cells]
            else:
                texts = [_ratio(at[cell]["ratio"]) if cell in at else "" for cell in cells]
            lines.append(f"| {name} | {' | '.join(texts)} |")
        ours = [row for row in rows if row["name"].startswith("ours, onnx") and row["batch"] == max(batches)]
        shares = ", ".join(
            f"{100 * row['share']:.0f} % on {row['threads']} thread{'s' * (row['threads'] > 1)}" for row in ours
        )
        lines += ["", f"Share of the float32 matrix product's rate at batch {max(batches):,}: {shares}."]
        parts.append("\n".join(lines))
    machine = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    parts.append(f"Medians of {found['rounds']} interleaved rounds; {machine}.")
    return "\n\n".join(parts)


def precision() -> str:
    """What int8 costs, as `tools/measure_precision.py` wrote it."""
    rows = json.loads((DOCS / "data" / "precision.json").read_text(encoding="utf-8"))
    lines = ["| | size | right on MNIST's test set | the same answer as float32 |", "|---|--:|--:|--:|"]
    for row in rows:
        same = f"{100 * row['same'] / row['total']:.2f} %" if row["precision"] == "int8" else ""
        lines.append(f"| `{row['name']}` {row['precision']} | {kilobytes(row['bytes'])} | {percent(row)} | {same} |")
    return "\n".join(lines)


def converted() -> str:
    """What files for other runtimes cost and gain, as `tools/measure_converted.py` found it."""
    lines = [
        "| | size | right on MNIST's test set | the same answer as float32 | one picture ÷ float32 ONNX |",
        "|---|--:|--:|--:|--:|",
    ]
    found = json.loads((DOCS / "data" / "converted.json").read_text(encoding="utf-8"))
    for row in found["rows"]:
        what = f"`{row['name']}` {row['target']} {row['runtime']} {row['precision']}"
        same = f"{100 * row['same'] / row['total']:.2f} %"
        lines.append(f"| {what} | {kilobytes(row['bytes'])} | {percent(row)} | {same} | {row['ratio']:.2f} |")
    machine = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    return "\n".join([*lines, "", f"Machine: {machine}; one thread."])


def devices() -> str:
    """What the C files take on each core, as `tools/measure_devices.py` found it."""
    found = json.loads((DOCS / "data" / "devices.json").read_text(encoding="utf-8"))
    lines = ["| | core | instructions a digit | flash | RAM |", "|---|---|--:|--:|--:|"]
    for network in found["networks"]:
        for precision, file in network["files"].items():
            for row in file["cores"]:
                sizes = f"{kilobytes(row['flash'], 1)} | {kilobytes(row['ram'], 1)}"
                lines.append(
                    f"| `{network['name']}` {precision} | {row['core']} | {row['instructions'] / 1e6:.2f} M | {sizes} |"
                )
    lines += ["", f"gcc {found['gcc']} with `{found['options']}`, QEMU {found['qemu']}.", ""]
    lines += [
        "| on 10,000 test digits of MNIST | right: torch | float32 file | int8 file | other answers: float32 | int8 |"
    ]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    for network in found["networks"]:
        files = [network["files"][precision] for precision in ("fp32", "int8")]
        cells = [network["correct"], *(file["correct"] for file in files), *(file["changed"] for file in files)]
        lines.append(f"| `{network['name']}` | {' | '.join(f'{cell:,}' for cell in cells)} |")
    return "\n".join(lines)


def pictures() -> str:
    """What two tags make of pictures that people outside made; none of them is in the project."""
    rows = json.loads((DOCS / "data" / "pictures.json").read_text(encoding="utf-8"))
    tags = list(dict.fromkeys(row["tag"].removeprefix("lenet5_modern.") for row in rows))
    heads = [f"`{tag}`{text}" for tag in tags for text in (", right", ", wrong and at least 0.9 sure")]
    lines = [f"| pictures | n | refused | {' | '.join(heads)} |", f"|---|--:|--:|{'--:|' * len(heads)}"]
    for kind in dict.fromkeys(row["pictures"] for row in rows):
        found = [row for row in rows if row["pictures"] == kind]
        cells = [f"{100 * row['right'] / row['total']:.2f} % | {row['sure']}" for row in found]
        # A picture is refused before a network sees it, so by every tag.
        lines.append(f"| {kind} | {found[0]['total']:,} | {found[0]['refused']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def numbers() -> str:
    """What networks that read numbers make of those that people outside wrote; none of them is in the project."""
    lines = ["| name | pictures | n | right | at least 0.95 sure | of these wrong |", "|---|---|--:|--:|--:|--:|"]
    for row in json.loads((DOCS / "data" / "numbers.json").read_text(encoding="utf-8")):
        cells = [f"{100 * row['right'] / row['total']:.2f} %", row.get("sure", "–"), row.get("sure_wrong", "–")]
        lines.append(f"| {_code(row['name'])} | {row['pictures']} | {row['total']:,} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def ablation() -> str:
    """What `examples/ablate.py` found: networks that each differ from the one above in one thing."""
    found = json.loads((DOCS / "data" / "ablation.json").read_text(encoding="utf-8"))
    lines = ["| what differs from the row above | parameters | test error | seconds |", "|---|--:|--:|--:|"]
    for row in found["rows"].values():
        mean, sd = statistics.fmean(row["errors"]), statistics.stdev(row["errors"])
        seconds = statistics.fmean(row["seconds"])
        lines.append(f"| {row['switch']} | {row['parameters']:,} | {mean:.2f} ± {sd:.2f} % | {seconds:.0f} |")
    seeds = min(len(row["errors"]) for row in found["rows"].values())
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return "\n".join([*lines, "", f"Mean ± standard deviation over {seeds} seeds; {found['machine']}, {versions}."])


def confidence() -> str:
    """What each threshold of confidence costs and catches, as `tools/measure_confidence.py` wrote it."""
    found = json.loads((DOCS / "data" / "confidence.json").read_text(encoding="utf-8"))
    kinds: dict[str, int] = found["others"]
    heads = ["right ones rejected", "wrong ones kept", *(f"{kind} let through" for kind in kinds)]
    lines = [f"| tag | `--min-confidence` | {' | '.join(heads)} |", f"|---|--:|{'--:|' * len(heads)}"]
    for tag in found["tags"]:
        for i, row in enumerate(tag["thresholds"]):
            passed = [
                f"{100 * row['let_through'][k] / n:.1f} %" if row["let_through"] else "" for k, n in kinds.items()
            ]
            cells = [
                f"{row['threshold']:g}",
                f"{100 * row['right_rejected'] / tag['right']:.2f} %",
                f"{row['wrong_kept']:,} of {tag['wrong']:,}",
                *passed,
            ]
            lines.append(f"| {'' if i else _code(tag['name'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def separation() -> str:
    """How well the confidence of each tag tells digits from other characters."""
    found = json.loads((DOCS / "data" / "confidence.json").read_text(encoding="utf-8"))
    kinds: dict[str, int] = found["others"]
    heads = " | ".join(f"{kind} that reach it | AUC" for kind in kinds)
    lines = [f"| tag | keeps 99 of 100 digits | {heads} |", f"|---|--:|{'--:|' * 2 * len(kinds)}"]
    for tag in found["tags"]:
        if tag["separation"]:
            each = [tag["separation"][kind] for kind in kinds]
            cells = [f"{each[0]['threshold']:.3f}"]
            for one, total in zip(each, kinds.values(), strict=True):
                cells += [f"{100 * one['passed'] / total:.1f} %", f"{one['auc']:.3f}"]
            lines.append(f"| {_code(tag['name'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def calibration() -> str:
    """How sure the answers to the test set are and how far from right, with and without the card's confidence."""
    found = json.loads((DOCS / "data" / "confidence.json").read_text(encoding="utf-8"))
    lines = [
        "| tag | right | mean confidence: softmax | as answered | expected calibration error: softmax | as answered |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for tag in found["tags"]:
        cells = [f"{100 * tag['right'] / (tag['right'] + tag['wrong']):.2f} %"]
        for name in ("mean_confidence", "calibration_error"):
            cells += [f"{100 * tag[name][how]:.2f} %" for how in ("plain", "fitted")]
        lines.append(f"| {_code(tag['name'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"`{text}`"


def engines() -> str:
    """Who reads our files, as `tools/engines.py` found it."""
    lines = ["| engine | version | float32 | float16 | int8 |", "|---|---|---|---|---|"]
    for engine, row in json.loads((DOCS / "data" / "engines.json").read_text(encoding="utf-8")).items():
        cells = []
        for precision in ("fp32", "fp16", "int8"):
            problems = [problem for stem, problem in row["files"].items() if stem.split("-")[2] == precision]
            read = problems.count("")
            reasons = "; ".join(sorted({problem for problem in problems if problem}))
            count = f"{read} of {len(problems)}: " if read else "–, "
            cells.append("all" if read == len(problems) else _cell(count + reasons))
        lines.append(f"| {engine} | {row['version']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scoring() -> dict[str, Any]:
    """What `tools/measure_scoring.py` wrote."""
    found: dict[str, Any] = json.loads((DOCS / "data" / "scoring.json").read_text(encoding="utf-8"))
    return found


def scoring_layouts() -> str:
    """Pictures per second and core, and bytes, by layout."""
    found = _scoring()
    lines = [
        "| layout | pictures/s per core | bytes per picture | on disk | bytes per answer |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in found["layouts"]:
        sizes = " | ".join(f"{row[name]:,.0f}" for name in ("bytes", "bytes_on_disk", "bytes_out"))
        lines.append(f"| {row['text']} | {row['per_second_and_core']:,.0f} | {sizes} |")
    machine = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    return "\n".join([*lines, "", f"Machine: {machine}."])


def scoring_stages() -> str:
    """Microseconds per picture, by layout and stage."""
    rows = _scoring()["layouts"]
    lines = [f"| layout | {' | '.join(rows[0]['microseconds'])} | network's share |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        times = " | ".join(f"{spent:,.1f}" for spent in row["microseconds"].values())
        lines.append(f"| {row['text']} | {times} | {100 * row['network_share']:.1f} % |")
    return "\n".join(lines)


def scoring_workers() -> str:
    """One worker against two."""
    lines = ["| layout | engine | one worker | two workers | two ÷ one |", "|---|---|--:|--:|--:|"]
    for row in _scoring()["workers"]:
        rates = f"{row['one']:,.0f} pictures/s | {row['two']:,.0f} pictures/s"
        lines.append(f"| {row['text']} | {row['engine']} | {rates} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def scoring_sizes() -> str:
    """From ten thousand to a million pictures."""
    lines = [
        "| layout | pictures | seconds | of which listing | pictures/s | peak memory of the job | of a worker |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in _scoring()["sizes"]:
        lines.append(
            f"| {row['text']} | {row['pictures']:,} | {row['seconds']:,.1f} | {row['listing_seconds']:,.1f} "
            f"| {row['per_second']:,.0f} | {row['peak_parent_mb']:,.0f} MB | {row['peak_worker_mb']:,.0f} MB |"
        )
    return "\n".join(lines)


def scoring_outlook() -> str:
    """What 10⁹ and 10¹² pictures take."""
    lines = [
        "| layout | 10⁹: storage | core-hours | 16 cores | 10¹²: storage | core-hours | 1,000 cores |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in _scoring()["layouts"]:
        hours = 1e9 / row["per_second_and_core"] / 3600
        size = row["bytes_on_disk"]
        lines.append(
            f"| {row['text']} | {size / 1000:,.1f} TB | {hours:,.0f} | {_duration(hours / 16)} "
            f"| {size / 1000:,.1f} PB | {1000 * hours:,.0f} | {_duration(hours)} |"
        )
    return "\n".join(lines)


def _duration(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours < 48 else f"{hours / 24:,.0f} days"


PARTS: dict[str, Callable[[], str]] = {
    "ablation": ablation,
    "calibration": calibration,
    "cards": card_sections,
    "commands": commands,
    "converted": converted,
    "confidence": confidence,
    "devices": devices,
    "does it pay": does_it_pay,
    "engines": engines,
    "errors": error_classes,
    "figure commands": figure_commands,
    "lines": lines,
    "pictures": pictures,
    "numbers": numbers,
    "precision": precision,
    "recipe fields": recipe_fields,
    "recipes": recipes,
    "results": results,
    "scoring layouts": scoring_layouts,
    "scoring outlook": scoring_outlook,
    "scoring sizes": scoring_sizes,
    "scoring stages": scoring_stages,
    "scoring workers": scoring_workers,
    "separation": separation,
    "speed": speed,
}


def expand(text: str) -> str:
    """A page with its parts put in, and with each figure in its two themes."""

    def part(found: re.Match[str]) -> str:
        made = PARTS[found[1]]() if found[1] in PARTS else found[0]
        return re.sub(r"(?<=\d) (?=±|%|kB\b|hours\b|days\b)|(?<=±) ", "\N{NO-BREAK SPACE}", made)  # cells are narrow

    text = re.sub(r"^<!-- ([a-z ]+) -->$", part, text, flags=re.M)
    return re.sub(r"^!\[([^\]]*)\]\((images/[^)]*-)light(\.\w+)\)$", _themed, text, flags=re.M)


def _themed(found: re.Match[str]) -> str:
    text, stem, suffix = found.groups()
    # A click shows the file alone, as large as the window; Sphinx puts every picture into one folder.
    name = Path(stem).name
    return "\n".join(
        f":::{{image}} {stem}{theme}{suffix}\n:alt: {text}\n:class: only-{theme}\n"
        f":target: _images/{name}{theme}{suffix}\n:::"
        for theme in ("light", "dark")
    )

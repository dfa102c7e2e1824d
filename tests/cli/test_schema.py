"""What --json prints is what `lenet-zoo schema` says, for every command that has it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from PIL import Image

import lenet_zoo
from lenet_zoo.bench import inference, lines, pictures, training
from lenet_zoo.cli import quickstart, schema
from lenet_zoo.cli._app import app, run
from lenet_zoo.evaluation import Evaluation, LineEvaluation, NumberEvaluation

DIGIT = Path(__file__).parents[1] / "fixtures" / "pictures" / "pen_fat.png"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    return Path(lenet_zoo.export_onnx(model, tmp_path_factory.mktemp("network") / "digits.onnx", input="pixels"))


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    run([*argv])
    return json.loads(capsys.readouterr().out)


def with_json(group: Any, before: str = "") -> set[str]:
    """The commands that have --json, by their names."""
    found: set[str] = set()
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= with_json(command, f"{name} ")
        elif any("--json" in parameter.opts for parameter in command.params):
            found.add("plot" if before == "plot " else before + name)
    return found


def test_every_command_with_json_has_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--json"]) == 0  # imports the commands
    capsys.readouterr()
    shared = {"card", "figures"}
    assert with_json(typer.main.get_command(app)) == set(schema.document()["$defs"]) - shared
    jsonschema.Draft202012Validator.check_schema(schema.document())
    assert schema.document()["$id"].endswith(f":{schema.document()['version']}")


@pytest.mark.parametrize(
    "line", ["list", "info lenet5_classic", "info {onnx}", "recipes", "recipes best", "predict {onnx} {folder}"]
)
def test_what_is_printed_is_what_the_schema_says(
    line: str, capsys: pytest.CaptureFixture[str], network: Path, tmp_path: Path
) -> None:
    Image.open(DIGIT).save(tmp_path / "digit.png")
    Image.new("L", (90, 90), 255).save(tmp_path / "blank.png")
    (tmp_path / "broken.png").write_text("hello")
    argv = line.format(onnx=network, folder=tmp_path).split()
    document, rule = printed(capsys, *argv, "--json"), printed(capsys, "schema", argv[0])
    jsonschema.validate(document, rule)
    # … which is no rule that everything keeps.
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate("a text", rule)


def test_fields_are_those_of_the_results() -> None:
    """Of commands that take long: by the classes that they print."""
    rules = schema.document()["$defs"]

    def names(kind: Any) -> set[str]:
        return {field.name for field in dataclasses.fields(kind)}

    for kind, rule in (
        (inference.Inference, rules["bench inference"]),
        (inference.Row, rules["bench inference"]["properties"]["rows"]["items"]),
        (pictures.Pictures, rules["bench pictures"]),
        (pictures.Row, rules["bench pictures"]["properties"]["rows"]["items"]),
        (lines.Lines, rules["bench lines"]),
        (lines.Line, rules["bench lines"]["properties"]["rows"]["items"]),
        (training.Training, rules["bench training"]),
        (training.Race, rules["bench training"]["properties"]["fast"]["items"]),
        (quickstart._Row, rules["quickstart"]["items"]),
    ):
        assert set(rule["required"]) == set(rule["properties"]) == names(kind)
    figures = set(rules["figures"]["required"]) - {"accuracy"}
    characters, numbers, pictures_of_numbers = rules["evaluate"]["anyOf"]
    assert set(characters["allOf"][1]["required"]) | figures == names(Evaluation)
    of_lines = numbers["properties"]["lines"]["additionalProperties"]
    assert set(of_lines["allOf"][1]["required"]) | figures == names(LineEvaluation)
    of_pictures = pictures_of_numbers["properties"]["numbers"]
    assert set(of_pictures["required"]) == set(of_pictures["properties"]) == names(NumberEvaluation) | {"accuracy"}


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "predct"]) == 2
    said = "lenet-zoo: no command 'predct' has --json. Did you mean 'predict'? Those that have it: "
    assert capsys.readouterr().err == f"{said}{', '.join(schema.document()['$defs'])}\n"

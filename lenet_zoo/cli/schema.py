"""`schema`: what the commands print with --json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lenet_zoo.cli._app import app, print_json
from lenet_zoo.errors import InputError, did_you_mean

__all__ = ["document", "schema"]

_FILE = Path(__file__).with_name("schema.json")


def document() -> dict[str, Any]:
    """The JSON Schema of every command's document, under `$defs` by the command's name, and its `version`.

    Keys may be added within a version; one that is renamed, removed or gets another meaning makes a new version.
    """
    found: dict[str, Any] = json.loads(_FILE.read_bytes())
    return found


@app.command(epilog="Example: lenet-zoo schema bench inference")
def schema(
    command: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND]", help="One command; default: all.")] = None,
) -> None:
    """The JSON Schema of what commands print with --json, and its version."""
    found = document()
    if command:
        name = "plot" if command[0] == "plot" else " ".join(command)
        if name not in found["$defs"]:
            known = list(found["$defs"])
            raise InputError(
                f"no command {name!r} has --json.{did_you_mean(name, known)} Those that have it: {', '.join(known)}"
            )
        found["$ref"] = f"#/$defs/{name}"
    print_json(found)

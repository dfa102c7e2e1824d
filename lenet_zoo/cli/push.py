"""`push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lenet_zoo.cli._app import Json, app, console, messages, print_json

__all__ = ["push"]


@app.command(epilog="Example: lenet-zoo push runs/letters me/letters")
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What train or finetune wrote.")],
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="OWNER/NAME, made where there is none.")],
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    json: Json = False,
) -> None:
    """Send the folder of a finished run to the Hugging Face Hub."""
    from lenet_zoo.hub import push as run

    with messages.status(f"sending {folder}"):
        url = run(folder, repository, private=private)
    if json:
        print_json({"folder": str(folder), "repository": repository, "url": url})
        return
    console.print(url, soft_wrap=True)

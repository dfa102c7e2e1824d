"""What every command shares: the application, its errors and exit statuses, and the two ways of printing."""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lenet_zoo._version import __version__
from lenet_zoo.errors import LenetZooError, exit_status

__all__ = ["DataRoot", "Download", "Json", "app", "console", "messages", "print_json"]

# Commands register themselves when their module is imported.
_COMMANDS = ("zoo", "quickstart", "train", "finetune", "export", "bench", "plot", "score")

app = typer.Typer(
    name="lenet-zoo",
    help="LeNet-5 of 1998 and its modern form: weights, training, ONNX files, answers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# Results go to stdout, everything said on the way to stderr, so that --json and pipes stay clean.
console = Console()
messages = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder with the data sets; else LENET_ZOO_DATA, else the user's cache folder."),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch what is missing from the data root.")]


def print_json(document: Any) -> None:
    """One JSON document on stdout, UTF-8, as a program reads it."""
    print(json.dumps(document, ensure_ascii=False, indent=2))


def _version(show: bool) -> None:
    if show:
        print(f"lenet-zoo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


def run(argv: list[str]) -> int:
    """Run one command line; returns the exit status."""
    # A traceback is wanted by whoever types --debug, wherever on the line it stands.
    debug = "--debug" in argv
    argv = [argument for argument in argv if argument != "--debug"]
    # torch's own second derivatives still use what torch warns about; nobody at a terminal can do anything about it.
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=FutureWarning)
    for module in _COMMANDS:
        importlib.import_module(f"lenet_zoo.cli.{module}")
    try:
        app(argv, prog_name="lenet-zoo")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    except BrokenPipeError:
        # The reader of our output went away (`lenet-zoo list | head -1`): nothing is left to say, or to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (LenetZooError, OSError, MemoryError) as error:
        if debug:
            raise
        print(f"lenet-zoo: {_one_line(error)}", file=sys.stderr)
        return exit_status(error)
    return 0


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())

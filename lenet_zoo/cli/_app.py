"""What every command shares: the application, its errors and exit statuses, and the two ways of printing."""

from __future__ import annotations

import glob
import importlib
import io
import itertools
import json
import logging
import os
import re
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from lenet_zoo._files import to_make_room
from lenet_zoo._version import __version__
from lenet_zoo.errors import InputError, LenetZooError, exit_status, printable

__all__ = [
    "DataDir",
    "DataRoot",
    "Download",
    "Json",
    "MinConfidence",
    "NamedByOption",
    "ReadsPictures",
    "Terminal",
    "Trusted",
    "answer_each",
    "app",
    "check_one_source",
    "columns",
    "console",
    "is_onnx",
    "messages",
    "percent",
    "print_json",
    "print_line",
    "print_table",
    "say",
    "sigterm_as_ctrl_c",
    "warn_of_other_classes",
]

# Commands register themselves when their module is imported.
_COMMANDS = ("zoo", "read", "quickstart", "train", "finetune", "export", "bench", "plot", "score", "push", "schema")

_WINDOWS = os.name == "nt"

# What a terminal obeys (`printable`) and JSON need not escape.
_UNESCAPED = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _Interrupted(BaseException):
    """Ctrl-C within a command: of KeyboardInterrupt itself, Typer makes the status of a failed job."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, where a command answers it as it does Ctrl-C."""


class _Commands(typer.core.TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted from error
        except typer.BadParameter as error:
            # Of some Typers the text begins so, since pydantic made it.
            error.message = error.message.removeprefix("Value error, ")
            raise


class NamedByOption(typer.core.TyperCommand):
    """A command whose network is named by --model, and that says so when it stands alone, as in other commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed = list(args)
        ctx.allow_extra_args = True  # of one too many, Typer says only that it is
        try:
            rest = super().parse_args(ctx, args)
        except typer.BadParameter:  # a missing option is one
            pairs = itertools.pairwise(["", *typed])  # what follows an option may be its value
            self._refuse_network([word for before, word in pairs if not before.startswith("-")], typed, ctx)
            raise
        if rest and not ctx.resilient_parsing:  # as shells complete
            arguments = [str(ctx.params[one.name]) for one in self.params if one.param_type_name == "argument"]
            self._refuse_network([*arguments, *rest], typed, ctx)
            ctx.fail(f"Got unexpected extra argument(s) ({' '.join(rest)})")
        return rest

    def _refuse_network(self, words: list[str], typed: list[str], ctx: Any) -> None:
        from lenet_zoo import cards

        networks = {one.partition(".")[0] for one in cards.names()}
        for word in words:
            if word.partition(".")[0] in networks or word.startswith(("local-dir:", "hf-hub:")) or is_onnx(word):
                typed.remove(word)
                line = shlex.join([*ctx.command_path.split(), "--model", word, *typed])
                raise InputError(f"{word}: name the network with --model, as in `{line}`")


class ReadsPictures(typer.core.TyperCommand):
    """A command that takes a network and pictures, and says so when the network was forgotten or named after them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except typer.BadParameter:  # a missing argument is one
            if not self._is_picture(ctx):
                raise
        else:
            if not self._is_picture(ctx):
                return rest
        from lenet_zoo import cards

        tag = next((one for one in ctx.params.get("images") or () if one in cards.names()), None)
        if tag is None:
            tag = "lenet5_modern.numbers" if self.name == "read" else "lenet5_modern.handwriting"
        else:
            typed.remove(tag)
        line = f"lenet-zoo {self.name} {tag} {shlex.join(typed)}"
        raise InputError(f"{ctx.params['name']} is a picture: name the network before it, as in `{line}`")

    def _is_picture(self, ctx: Any) -> bool:
        """Whether a picture stands where the network is to be named: any file but a network's, or a name like one."""
        name = ctx.params.get("name")
        if name is None or is_onnx(name):
            return False
        from lenet_zoo import cards
        from lenet_zoo.registry import is_weights

        if is_weights(name):
            return False
        suffix = os.path.splitext(name)[1].lower()
        if os.path.isfile(name) or not suffix or name in cards.names():
            return os.path.isfile(name)
        from lenet_zoo.pictures.reading import picture_suffixes  # it loads all that Pillow has

        return suffix in picture_suffixes()


def _terminate(*_: object) -> NoReturn:
    raise Terminated


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, where nobody else answers it: under torchrun, `training.processes.job` does."""
    answers = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if answers:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if answers:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


app = typer.Typer(
    name="lenet-zoo",
    cls=_Commands,
    help="LeNet-5 of 1998 and its modern form: weights, training, ONNX files, answers.",
    epilog="Example: lenet-zoo predict lenet5_modern.handwriting photo-of-a-digit.png",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Terminal(Console):
    """A console that prints strings as one line each, whatever names are in them: no markup, no emoji, no controls.

    What is meant to take several lines, or colours, is a `rich.text.Text`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


# Results go to stdout, everything said on the way to stderr, so that --json and pipes stay clean.
console = Terminal()
messages = Terminal(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Trusted = Annotated[
    bool, typer.Option("--trusted", help="Run an .onnx file whatever is in it, also what could take any memory.")
]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Folder with the data sets; else LENET_ZOO_DATA, else the user's cache folder."),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="FOLDER", help="Your own pictures: a folder for each label, named after it."),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch what is missing from the data root.")]


def _from_0_to_1(value: float) -> float:
    if not 0 <= value <= 1:  # nan is not, either
        raise typer.BadParameter("a number from 0 to 1")
    return value


MinConfidence = Annotated[
    float,
    typer.Option("--min-confidence", callback=_from_0_to_1, help="Reject what is less sure than this, 0 to 1."),
]

Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, metavar="N", help="Threads on the CPU; by default as many as pay, which is tried."
    ),
]


def print_json(document: Any) -> None:
    """One JSON document on stdout, as a program reads it: in UTF-8, or in ASCII where stdout has another encoding."""
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(document, ensure_ascii=not utf8, indent=2, allow_nan=False)
    print(_UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def say(text: str) -> None:
    """A line on stderr, as it is."""
    messages.print(text, soft_wrap=True)


def warn_of_other_classes(name: str, labels: Sequence[str], dataset: str, classes: Sequence[str]) -> None:
    """Say so when the classes of a data set are not those of the network `name`."""
    if tuple(classes) != tuple(labels):
        say(f"warning: {dataset} has other classes than {name}: an answer counts as right by its place among them")


def check_one_source(dataset: str | None, data_dir: Path | None) -> None:
    """Raises: InputError when both a data set and a folder are named."""
    if dataset and data_dir is not None:
        raise InputError("--dataset and --data-dir exclude each other: name one of them")


def is_onnx(name: str) -> bool:
    """Whether a network is named by a file: no tag ends in .onnx."""
    return name.endswith(".onnx")


def percent(probability: float) -> str:
    """Never rounded up to a certainty, as on the page in the browser."""
    return "> 99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"


def print_line(text: str) -> None:
    """A line on stdout, whole; in a terminal, wrapped at its width."""
    console.print(text, soft_wrap=not console.is_terminal)


def columns() -> int:
    """How wide a table may be: as the terminal, and any width in a file or a pipe, where nothing is cut off."""
    return console.width if console.is_terminal else 10_000


def print_table(table: Table) -> None:
    """A table on stdout, of at most `columns()`, where what is too long for a column goes on in the next line."""
    for column in table.columns:
        if not column.no_wrap:
            column.overflow = "fold"
    if console.is_terminal:
        console.print(table)
        return
    # In stdout's own encoding: where that is not UTF-8, the lines are drawn in ASCII.
    stream = io.TextIOWrapper(io.BytesIO(), console.encoding, errors="backslashreplace")
    Terminal(width=columns(), file=stream).print(table)
    stream.seek(0)
    # Cells are filled up with spaces to the width of the widest.
    console.file.write("".join(f"{line.rstrip()}\n" for line in stream))


def pictures_of(images: Sequence[str]) -> list[Path]:
    """All pictures that a command is asked for; of a folder it says what is not looked into."""
    from lenet_zoo.pictures.reading import looked_into

    paths: list[Path] = []
    for image in images:
        pictures, left_out = looked_into(image)
        paths += pictures
        if left_out:
            say(f"{printable(image)}: {left_out} left out")
    return paths


def answer_each(
    paths: Sequence[Path],
    ask: Callable[[Path], Any],
    nothing: Any,
    in_words: Callable[[dict[str, Any]], Sequence[str]],
    json: bool,
) -> None:
    """Print the answer to each picture. Of several, one that cannot be read is named, and the status is 1 at the end.

    Args:
        ask: a picture to its answer, a dataclass.
        nothing: the answer to a picture that cannot be read.
        in_words: an answer's fields, with the picture's `path`, as lines.
        json: print them as they are.
    """
    rows: list[dict[str, Any]] = []
    with Progress(console=messages, transient=True, disable=len(paths) < 50) as progress:
        for path in progress.track(paths, description="reading"):
            problem, found = None, nothing
            try:
                found = ask(path)
            except InputError as error:
                if len(paths) == 1:
                    raise
                problem = " ".join(str(error).split())
            row = {"path": os.fspath(path), **asdict(found), "error": problem}
            if found.reason:  # the row has the path already
                row["reason"] = found.reason.removeprefix(f"{path}: ")
            rows.append(row)
    if json:
        print_json(rows)
    else:
        for row in rows:
            for line in [f"not read: {row['error']}"] if row["error"] else in_words(row):
                console.print(line, soft_wrap=True)
    if any(row["error"] for row in rows):
        raise typer.Exit(1)


def _version(show: bool) -> None:
    if show:
        print(f"lenet-zoo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but results and errors.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show other packages' warnings, too.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


def run(argv: list[str]) -> int:
    """Run one command line; returns the exit status."""
    argv, asked = _general(argv)
    debug, messages.quiet = "--debug" in asked, not {"-q", "--quiet"}.isdisjoint(asked)
    # Nobody at a terminal can do anything about what other packages warn of; our own warnings are RuntimeWarnings.
    if {"-v", "--verbose"}.isdisjoint(asked) and not sys.warnoptions:
        for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # of a home that cannot be written
    # Of a stream that the caller closed (`>&-`) Python has None, and the next file opened would get its descriptor.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that its encoding lacks is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    if _WINDOWS:
        argv = [path for argument in argv for path in _expanded(argument)]
    try:
        for module in _COMMANDS:
            importlib.import_module(f"lenet_zoo.cli.{module}")
        app(argv, prog_name="lenet-zoo")
    except (KeyboardInterrupt, _Interrupted) as error:
        if debug:
            raise
        print("lenet-zoo: interrupted", file=sys.stderr)
        return 143 if isinstance(error.__cause__, Terminated) else 130  # as shells have it: 128 and the signal's number
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


def _general(argv: list[str]) -> tuple[list[str], set[str]]:
    """The options of every command, which may stand anywhere on the line, and the line without them."""
    end = argv.index("--") if "--" in argv else len(argv)
    general = ("--debug", "-q", "--quiet", "-v", "--verbose")
    return [one for at, one in enumerate(argv) if at >= end or one not in general], {*argv[:end]} & {*general}


def _expanded(argument: str) -> list[str]:
    """The files that a pattern such as *.png matches, which the shells of Windows leave to the program."""
    return (sorted(glob.glob(argument)) if glob.has_magic(argument) else []) or [argument]


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return printable(what + to_make_room(error))
    return " ".join(printable(str(error)).split())

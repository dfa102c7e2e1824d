"""The command line: `lenet-zoo`, or `python -m lenet_zoo`. It parses, calls and prints; the work is done elsewhere.

Each module of this package adds its commands to `app` (in `_app.py`); none imports torch before a command runs, so that
`--help` and `lenet-zoo predict FILE.onnx` start at once, and work in a deployment without torch.
"""

from __future__ import annotations

import sys

from lenet_zoo.errors import to_install

__all__ = ["main"]

# The modules that installing the package brings. Those of extras are asked for where they are used.
_DEPENDENCIES = {
    *("PIL", "filelock", "huggingface_hub", "numpy", "onnx", "onnxruntime", "rich", "safetensors", "timm", "tomli"),
    *("torch", "torchvision", "typer"),
}


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit: 0 on success, 1 for a failed job, 2 for wrong arguments, 130 after Ctrl-C.

    A command that needs a package which is not installed says so in one line, with status 2: a deployment may have
    none but those that an ONNX file needs (docs/deploy.md).
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        from lenet_zoo.cli._app import run

        status = run(argv)
    except ModuleNotFoundError as error:
        if error.name not in _DEPENDENCIES or "--debug" in argv:
            raise
        needed = f"this command needs {error.name}, which is not installed: {to_install()}"
        print(f"lenet-zoo: {needed}", file=sys.stderr)
        status = 2
    sys.exit(status)

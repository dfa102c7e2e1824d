"""The command line: `lenet-zoo`, or `python -m lenet_zoo`. It parses, calls and prints; the work is done elsewhere.

Each module of this package adds its commands to `app` (in `_app.py`); none imports torch before a command runs, so that
`--help` and `lenet-zoo predict FILE.onnx` start at once.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit: 0 on success, 1 for a failed or interrupted job, 2 for wrong arguments."""
    from lenet_zoo.cli._app import run

    sys.exit(run(sys.argv[1:] if argv is None else argv))

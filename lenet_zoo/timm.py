"""Run a script of timm's with our networks registered: `python -m lenet_zoo.timm validate.py --model lenet5_modern …`.

timm finds no plugins by itself. Its scripts (train.py, validate.py, …) are in its repository, not in its package.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

__all__: list[str] = []


def _main(argv: list[str]) -> None:
    if not argv or not Path(argv[0]).is_file():
        said = f"no script {argv[0]}" if argv else "no script was named"
        example = "python -m lenet_zoo.timm validate.py --help"
        print(f"lenet_zoo.timm: {said}: give the path of one of timm's, as in `{example}`", file=sys.stderr)
        sys.exit(2)
    import lenet_zoo  # noqa: F401  registers them

    # As `python SCRIPT` has it: the script's own folder comes first, and it sees its own arguments.
    sys.path[0] = str(Path(argv[0]).resolve().parent)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    _main(sys.argv[1:])

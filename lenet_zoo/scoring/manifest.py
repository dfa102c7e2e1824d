"""The manifest: written when every row is there, it says what the job was and lists the parts."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lenet_zoo._files import parse_json, write_atomic
from lenet_zoo._version import __version__
from lenet_zoo.cards import sha256_of
from lenet_zoo.errors import ScoringError
from lenet_zoo.scoring import folder
from lenet_zoo.scoring.answering import Answering
from lenet_zoo.scoring.parts import add_totals, checked_totals, no_totals, part_path, read_totals, schema

__all__ = ["read_manifest", "write_manifest"]


def read_manifest(out: Path, job: dict[str, Any], network: Answering) -> dict[str, Any] | None:
    """The totals of a job that is complete, after a look at its parts; None while there is no manifest.

    Raises: OSError; ScoringError for a manifest that is damaged, and when a part is missing or has another size.
    """
    path = out / "manifest.json"
    try:
        manifest = parse_json(path.read_bytes())
        if not isinstance(manifest, dict) or manifest.get("job") != job["id"]:
            raise ValueError("it is not this job's")
        totals = checked_totals(manifest.get("totals"), network.labels)
        parts = manifest.get("parts")
        if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
            raise ValueError("it does not list the parts")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ScoringError(
            f"{path} cannot be used: {error}; delete it, and start the same command again, to write it anew"
        ) from None
    for unit, part in enumerate(parts):
        file = part_path(out, unit)
        if not file.is_file() or file.stat().st_size != part.get("bytes"):
            raise ScoringError(f"{file} is missing or was altered since the job was complete: use --overwrite")
    folder.tidy(out)  # if the job was killed between its last two steps
    return totals


def write_manifest(out: Path, job: dict[str, Any], network: Answering) -> dict[str, Any]:
    """Check every part against the list of units, and write the manifest. Returns its totals.

    Raises: OSError; ScoringError for a part that is not this job's.
    """
    parts: list[dict[str, Any]] = []
    totals = no_totals(network.labels)
    for unit, _, rows in folder.units(out):
        path = part_path(out, unit)
        data = path.read_bytes()
        found = read_totals(data, job["id"], unit, rows, network.labels)
        if found is None:
            raise ScoringError(f"{path} is not what this job wrote: delete it, and start the same command again")
        totals = add_totals(totals, found)
        digest = hashlib.sha256(data).hexdigest()
        parts.append({"file": path.relative_to(out).as_posix(), "rows": rows, "bytes": len(data), "sha256": digest})
    folder.drop_unfinished(out)
    extra = {path.name for path in (out / "parts").iterdir()} - {Path(part["file"]).name for part in parts}
    if extra:
        raise ScoringError(f"{out / 'parts' / min(extra)} is not a part of this job: remove it, and start again")
    manifest = {
        "format": folder.FORMAT,
        "complete": True,
        "job": job["id"],
        "input": job["input"],
        "model": {**job["model"], "onnx_sha256": sha256_of(folder.model_path(out)), "metadata": network.metadata},
        "options": job["options"],
        "columns": {field.name: str(field.type) for field in schema()},
        "totals": totals,
        "versions": {
            "lenet_zoo": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("onnxruntime", "numpy", "pillow", "pyarrow")},
        },
        "parts": parts,
    }
    write_atomic(out / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    folder.tidy(out)
    return totals

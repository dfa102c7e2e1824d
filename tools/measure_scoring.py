"""What scoring takes: layouts of files, workers, and 10⁴ to 10⁶ pictures → docs/data/scoring.json.

    python tools/measure_scoring.py FOLDER workers sizes layouts  # MNIST from LENET_ZOO_DATA; sizes takes some minutes

`workers` and `sizes` want an otherwise idle machine; `layouts` counts processor time and comes last. FOLDER keeps the
pictures, so that another run finds them there.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import lenet_zoo
from lenet_zoo._files import write_atomic
from lenet_zoo.bench.timing import machine
from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.scoring import local
from lenet_zoo.scoring import score as run_score
from lenet_zoo.scoring import scorer as scoring_clock
from lenet_zoo.scoring.cluster import ENVIRONMENT
from lenet_zoo.scoring.scorer import STAGES, Scorer

RESULT = Path(__file__).parents[1] / "docs" / "data" / "scoring.json"
ROUNDS = 3
LAYOUTS = {
    "png": "PNG files of 28×28 px",
    "scans": "PNG files of 200×200 px, dark on light",
    "parquet-png": "Parquet, PNG of 28×28 px",
    "parquet-pixels": "Parquet, pixels",
    "idx": "IDX",
}


def make(layout: str, count: int, folder: Path, distinct: int = 60_000) -> Path:
    """`count` pictures of MNIST's training set in some layout; pictures beyond `distinct` are links to earlier ones."""
    names = {"idx": "pictures.idx3-ubyte", "parquet-png": "pictures.parquet", "parquet-pixels": "pictures.parquet"}
    path = folder / names.get(layout, "")
    if (folder / "made").exists():
        return path
    digits = load_dataset("mnist", train=True).images.numpy()
    folder.mkdir(parents=True)
    if layout in ("png", "scans"):
        for i in range(count):
            one = folder / f"{i // 1000:04d}" / f"{i:07d}.png"
            one.parent.mkdir(exist_ok=True)
            if i >= distinct:
                first = i % distinct
                os.link(folder / f"{first // 1000:04d}" / f"{first:07d}.png", one)
            elif layout == "png":
                Image.fromarray(digits[i]).save(one)
            else:
                Image.fromarray(255 - digits[i]).resize((200, 200), Image.Resampling.BICUBIC).save(one)
    elif layout == "idx":
        head = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
        path.write_bytes(head + digits[:count].tobytes())
    elif layout == "parquet-pixels":
        column = pa.FixedSizeListArray.from_arrays(pa.array(digits[:count].reshape(-1)), 784)
        pq.write_table(pa.table({"pixels": column}), path, row_group_size=4096, use_dictionary=False)
    else:
        encoded = []
        for digit in digits[: min(count, distinct)]:
            stream = io.BytesIO()
            Image.fromarray(digit).save(stream, "PNG")
            encoded.append(stream.getvalue())
        with pq.ParquetWriter(path, pa.schema([("image", pa.binary())]), use_dictionary=False) as writer:
            for start in range(0, count, 4096):
                rows = [encoded[i % distinct] for i in range(start, min(start + 4096, count))]
                writer.write_table(pa.table({"image": rows}, writer.schema))
    (folder / "made").touch()
    return path


def score(source: Path, out: Path, network: Path, *options: str) -> dict[str, Any]:
    """Run the command; its summary, with the peak of memory of its processes."""
    command = [sys.executable, "-m", "lenet_zoo", "score", str(source), "--out", str(out), "--model", str(network)]
    process = subprocess.Popen([*command, "--json", *options], stdout=subprocess.PIPE, text=True)
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for pid in [process.pid, *children(process.pid)]:
            peaks[pid] = max(peaks.get(pid, 0), peak(pid))
        time.sleep(0.1)
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.read())
    assert process.returncode == 0
    found["peak_parent_mb"] = peaks.pop(process.pid) / 1000
    found["peak_worker_mb"] = max(peaks.values(), default=0) / 1000
    return found


def at_work(out: Path) -> float:
    """Rows per second while all workers are at work: without the first parts, and the last of each worker."""
    parts = json.loads((out / "manifest.json").read_text("utf-8"))["parts"]
    written = sorted(((out / part["file"]).stat().st_mtime, part["rows"]) for part in parts)[3:-2]
    return sum(rows for _, rows in written[1:]) / (written[-1][0] - written[0][0])


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def peak(pid: int) -> int:
    """VmHWM, in kB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def layouts(data: Path, folder: Path, network: Path) -> list[dict[str, Any]]:
    """What each layout takes of one core: processor time, which is the same beside other work."""

    def here(root: str, out: str, tasks: Any, count: int, workers: int | None) -> Any:
        scorer = Scorer(root, out)
        return (scorer(*task) for task in tasks)

    local.run = here
    scoring_clock.time = SimpleNamespace(perf_counter=time.process_time)
    run_score(make("png", 1_000, data / "png-1000"), folder / "warm-up", model=str(network))
    rows = []
    for name, text in LAYOUTS.items():
        count = 500 if name == "scans" else 10_000
        source = make(name, count, data / f"{name}-{count}")
        files = list(source.rglob("*.png")) if source.is_dir() else [source]
        out = folder / name
        run = run_score(source, out, model=str(network))["run"]
        stages = {stage: 1e6 * run["stages"][stage] / count for stage in STAGES}
        whole = sum(stages.values())
        rows.append(
            {
                "layout": name,
                "text": text,
                "pictures": count,
                "bytes": sum(path.stat().st_size for path in files) / count,
                "bytes_on_disk": sum(512 * path.stat().st_blocks for path in files) / count,
                "bytes_out": sum(path.stat().st_size for path in out.glob("parts/*")) / count,
                "microseconds": stages,
                "per_second_and_core": 1e6 / whole,
                "network_share": stages["network"] / whole,
            }
        )
        print(rows[-1])
    return rows


def workers(data: Path, folder: Path, network: Path) -> list[dict[str, Any]]:
    """One worker against two, on both engines, in turns."""
    import ray

    os.environ.update(ENVIRONMENT)
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
    sources = {name: make(name, count, data / f"{name}-{count}") for name, count in (("png", 40_000), ("scans", 1_500))}
    rates: dict[tuple[str, str, int], list[float]] = {}
    for turn in range(ROUNDS):
        for name, source in sources.items():
            for engine in ("local", "ray"):
                for count in (1, 2):
                    out = folder / f"{name}-{engine}-{count}-{turn}"
                    rows = {"png": 1_250, "scans": 50}[name]
                    run_score(source, out, model=str(network), engine=engine, workers=count, part_rows=rows)
                    rates.setdefault((name, engine, count), []).append(at_work(out))
    ray.shutdown()
    rows = []
    for name in sources:
        for engine in ("local", "ray"):
            one, two = rates[name, engine, 1], rates[name, engine, 2]
            rows.append(
                {
                    "layout": name,
                    "text": LAYOUTS[name],
                    "engine": engine,
                    "one": statistics.median(one),
                    "two": statistics.median(two),
                    "ratio": statistics.median(b / a for a, b in zip(one, two, strict=True)),
                    "ratios": [b / a for a, b in zip(one, two, strict=True)],
                }
            )
            print(rows[-1])
    return rows


def sizes(data: Path, folder: Path, network: Path) -> list[dict[str, Any]]:
    """All cores, the local engine."""
    rows = []
    for layout in ("png", "parquet-png"):
        for count in (10_000, 100_000, 1_000_000):
            source = make(layout, count, data / f"{layout}-{count}")
            run = score(source, folder / f"{layout}-out-{count}", network)
            assert run["rows"] == run["labelled"] == count
            rows.append(
                {
                    "layout": layout,
                    "text": LAYOUTS[layout],
                    "pictures": count,
                    "seconds": run["run"]["seconds"],
                    "listing_seconds": run["run"]["stages"]["list"],
                    "per_second": run["run"]["rows_per_second"],
                    "peak_parent_mb": run["peak_parent_mb"],
                    "peak_worker_mb": run["peak_worker_mb"],
                }
            )
            print(rows[-1])
    return rows


if __name__ == "__main__":
    result = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    for what in sys.argv[2:]:
        measure = {"layouts": layouts, "workers": workers, "sizes": sizes}[what]
        with tempfile.TemporaryDirectory() as scratch:
            model = lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True)
            path = lenet_zoo.export_onnx(model, Path(scratch) / "digits.onnx", input="pixels")
            result[what] = measure(Path(sys.argv[1]), Path(scratch), Path(path))
        names = ("pillow", "pyarrow", "ray")
        result["machine"] = {**machine(), **{name: version(name) for name in names}}
        write_atomic(RESULT, json.dumps(result, indent=1, ensure_ascii=False) + "\n")

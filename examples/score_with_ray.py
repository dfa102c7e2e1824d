"""Label a collection on a Ray cluster, and look at what the network was least sure of.

    pip install ".[ray]"                                                               # in a clone
    python examples/score_with_ray.py scans --out answers                              # Ray on this machine
    python examples/score_with_ray.py /shared/scans --out /shared/answers --address head:6379

On a cluster, both folders are on storage that every machine sees under the same path, and lenet-zoo is installed on
each. Killed at any moment, the same command goes on where it was. `lenet-zoo score --engine ray` has the same options
and a few more.
"""

import argparse
import heapq
import sys
from pathlib import Path

import pyarrow.parquet as pq

from lenet_zoo.scoring import score

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("source", help="a folder of pictures, or Parquet or IDX files; or one such file")
parser.add_argument("--out", required=True, help="the folder for the answers")
parser.add_argument("--address", help="HOST:PORT of the cluster's head, or auto; by default Ray starts here")
parser.add_argument("--model", default="lenet5_modern.mnist", help="a network of the zoo, or an .onnx file")
parser.add_argument("--min-confidence", type=float, default=0.5, help="below it, a picture is rejected")
parser.add_argument("--workers", type=int, help="by default one per core of the cluster")
parser.add_argument("--show", type=int, default=10, help="how many of the least certain to show")


def main(argv: list[str] | None = None) -> None:
    args = parser.parse_args(argv)
    result = score(
        args.source,
        args.out,
        model=args.model,
        min_confidence=args.min_confidence,
        engine="ray",
        address=args.address,
        workers=args.workers,
        progress=lambda done, total: print(f"{done:,} of {total:,} rows", file=sys.stderr),
    )
    print(f"{result['rows']:,} rows, {result['labelled']:,} with a label: {result['labels']}")
    print(f"{result['below_min_confidence']:,} below {args.min_confidence}, {result['no_digit']:,} without a digit")
    print(f"{result['unreadable']:,} not readable")

    # The answers are plain Parquet. One part at a time, they fit in memory however many there are.
    parts = sorted((Path(args.out) / "parts").glob("*.parquet"))
    read = (row for part in parts for row in pq.read_table(part).to_pylist() if row["labels"])
    for row in heapq.nsmallest(args.show, read, key=lambda row: row["confidence"]):
        guesses = ", ".join(f"{label} {p:.0%}" for label, p in zip(row["labels"], row["confidences"], strict=True))
        print(f"{row['key']}: {guesses}")


if __name__ == "__main__":
    main()

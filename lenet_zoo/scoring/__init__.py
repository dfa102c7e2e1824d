"""Labels for collections of pictures that are larger than memory, on all cores or on a Ray cluster. Never torch.

`inputs` cuts the input into units, `scorer` turns a unit into a Parquet file, `local` and `cluster` hand units to
workers, and `job` keeps the folder in which each unit's rows end up exactly once.
"""

from lenet_zoo.scoring.job import score

__all__ = ["score"]

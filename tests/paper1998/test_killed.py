"""Training as in 1998 without a compiler, killed with -9: the same command goes on to the same bytes."""

import os

import pytest

_CHILD = """
import sys
from lenet_zoo.paper1998 import online
from lenet_zoo.training.run import train

online.BLOCK = 200
out, root = sys.argv[1:]
train("lenet5_classic", dataset="mnist", recipe="lecun1998", out=out, changes=dict(passes=3, curvature_patterns=50),
      device="cpu", data_root=root, resume=True, monitor=Tell())
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_eager_training_that_is_killed_goes_on_to_the_same_bytes(small_mnist, tmp_path, broken_compiler, run_child):
    def child(out: str, kill_at: str | None) -> None:
        said = run_child(_CHILD, tmp_path / out, small_mnist, kill_at=kill_at, CXX=broken_compiler)
        assert "training goes on through autograd" in said

    child("whole", None)
    for moment in ("step 2", "epoch 2"):
        child("killed", moment)
    child("killed", None)
    whole, killed = ((tmp_path / out / "model.safetensors").read_bytes() for out in ("whole", "killed"))
    assert killed == whole

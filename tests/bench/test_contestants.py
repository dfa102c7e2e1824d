"""Every contestant runs the network that it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lenet_zoo import create_model
from lenet_zoo.bench.contestants import OURS, contestants, export_files


@pytest.mark.parametrize("in_chans", [1, 3])
def test_contestants_answer_alike_in_grey_and_in_colour(tmp_path: Path, in_chans: int) -> None:
    model = create_model("lenet5_modern", in_chans=in_chans, pretrained=in_chans == 1)
    calls, absent = contestants(model, export_files(model, tmp_path), threads=1, batch=2, compiled=False)
    assert {"torch eager", "plain export, onnxruntime", OURS, "ours int8, onnxruntime"} <= {*calls}
    assert ("ours, OpenVINO" in calls) != ("OpenVINO" in absent)
    for call in calls.values():
        call()
    (plain,), ours = calls["plain export, onnxruntime"](), calls[OURS]()
    assert isinstance(ours, np.ndarray)
    assert ours.shape == (2, 10)
    assert torch.allclose(torch.from_numpy(plain), torch.from_numpy(ours), atol=1e-3)

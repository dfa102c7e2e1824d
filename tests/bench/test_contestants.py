"""Every contestant runs the network that it is given."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from lenet_zoo import create_model
from lenet_zoo.bench import contestants as bench
from lenet_zoo.bench.contestants import OURS, contestants, export_files
from lenet_zoo.errors import to_install


@pytest.mark.parametrize("in_chans", [1, 3])
def test_contestants_answer_alike_in_grey_and_in_colour(tmp_path: Path, in_chans: int) -> None:
    model = create_model("lenet5_modern", in_chans=in_chans, pretrained=in_chans == 1)
    calls, absent = contestants(model, export_files(model, tmp_path), threads=1, batch=2, compiled=False)
    assert {"torch eager", "plain export, onnxruntime", OURS, "ours int8, onnxruntime"} <= {*calls}
    assert ("ours, OpenVINO" in calls) != ("OpenVINO" in absent)
    assert not {name for name in calls if "LiteRT" in name or "ncnn" in name or "predict" in name}  # one at a time
    for call in calls.values():
        call()
    (plain,), ours = calls["plain export, onnxruntime"](), calls[OURS]()
    assert isinstance(ours, np.ndarray)
    assert ours.shape == (2, 10)
    assert torch.allclose(torch.from_numpy(plain), torch.from_numpy(ours), atol=1e-3)


def test_a_single_picture_is_read_by_every_engine_that_is_installed_and_as_users_do(tmp_path: Path) -> None:
    model = create_model("lenet5_classic", pretrained=True)
    calls, absent = contestants(model, export_files(model, tmp_path), threads=1, batch=1, compiled=False)
    ours = calls[OURS]()
    assert isinstance(ours, np.ndarray)
    for engine in ("OpenVINO", "OpenCV", "LiteRT", "ncnn"):
        assert (f"ours, {engine}" in calls) != (engine in absent)
        if engine in absent:
            assert "installed" in absent[engine] or "pip install" in absent[engine]
        else:
            found = calls[f"ours, {engine}"]()
            logits = np.array([*found.values()] if isinstance(found, Mapping) else found).reshape(1, 10)
            np.testing.assert_allclose(logits, ours, rtol=0, atol=1e-4 * np.abs(ours).max(), err_msg=engine)
    (session,) = calls["ours, session alone"]()
    np.testing.assert_allclose(session, ours, rtol=0, atol=1e-4)
    answers = [calls[f"ours, predict {what}"]() for what in ("an array", "a PNG file")]
    assert [[one.label for one in answer] for answer in answers] == [["5"], ["5"]]  # of the first bundled digit


def test_engines_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("openvino", "cv2", "litert_torch", "ncnn"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None)
    model = create_model("lenet5_modern", pretrained=True)
    calls, absent = contestants(model, export_files(model, tmp_path), threads=1, batch=1, compiled=False)
    assert set(absent) == {"OpenVINO", "OpenCV", "LiteRT", "ncnn"}
    assert absent["LiteRT"] == to_install("litert")
    assert OURS in calls

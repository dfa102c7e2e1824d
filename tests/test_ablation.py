"""The networks between 1998 and today differ from each other in one switch, and the two ends are the zoo's own."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import torch

import lenet_zoo


@pytest.fixture(scope="module")
def ablate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablate", Path(__file__).parents[1] / "examples" / "ablate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("row", "name"), [("adamw", "lenet5_classic"), ("modern", "lenet5_modern")])
def test_an_end_computes_what_the_zoos_network_does(ablate: ModuleType, row: str, name: str) -> None:
    (one,) = [each for each in ablate.TABLE if each.name == row]
    net, model = ablate.network(one).eval(), lenet_zoo.create_model(name)
    net.load_state_dict(model.state_dict())
    x = torch.rand(3, 1, 28, 28)
    assert torch.allclose(net(x), model(x), atol=1e-4)
    assert net.pretrained_cfg == model.pretrained_cfg


def test_every_switch_is_seen_in_the_layers(ablate: ModuleType) -> None:
    with_adamw = [row for row in ablate.TABLE if row.method == "adamw"]
    networks = {row.name: ablate.network(row) for row in with_adamw}
    assert {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()} == {
        "adamw": 60_000,
        "codes": 60_000,
        "linear": 60_850,
        "tanh": 60_850,
        "average": 60_806,
        "maximum": 60_806,
        "relu": 60_806,
        "full": 61_706,
        "modern": 61_706,
        "small": 44_426,
    }
    x = torch.rand(2, 1, 28, 28)
    assert all(net(x).shape == (2, 10) for net in networks.values())
    kinds = {name: [type(layer).__name__ for layer in net] for name, net in networks.items()}
    for above, below in pairwise(with_adamw[:-2]):
        changed = {(old, new) for old, new in zip(kinds[above.name], kinds[below.name], strict=True) if old != new}
        assert len(changed) == (0 if below.name == "codes" else 1), below.name
    assert not torch.equal(networks["adamw"].output.weight, networks["codes"].output.weight)


def test_rows_without_a_given_rate_have_one_to_take(ablate: ModuleType) -> None:
    assert all(row.loss is not None for row in ablate.TABLE if row.method != "adamw")
    first = next(row for row in ablate.TABLE if row.method == "adamw")
    assert first.rates


def test_the_table_of_the_manual_is_of_these_rows(ablate: ModuleType) -> None:
    data = Path(__file__).parents[1] / "docs" / "data" / "ablation.json"
    found = json.loads(data.read_text(encoding="utf-8"))["rows"]
    assert {name: entry["switch"] for name, entry in found.items()} == {row.name: row.switch for row in ablate.TABLE}
    for row in ablate.TABLE:
        entry = found[row.name]
        assert entry["parameters"] == sum(p.numel() for p in ablate.network(row).parameters())
        assert len(entry["errors"]) == len(entry["seconds"]) >= 5
        assert set(entry["rates"]) == {f"{rate:g}" for rate in row.rates}

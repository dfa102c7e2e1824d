"""lenet5_modern layer by layer, and its agreement with the reference implementation's weight files."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import lenet_zoo
from lenet_zoo.errors import WeightsError
from lenet_zoo.models import LeNet5Modern


class Reference(nn.Module):
    """The textbook's LeNet-5 with the key names of the reference implementation: C5 is a linear layer on 400 inputs."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv_layer1 = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.conv_layer2 = nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.C5_layer = nn.Sequential(nn.Linear(400, 120), nn.ReLU())
        self.fc_layer1 = nn.Sequential(nn.Linear(120, 84), nn.ReLU())
        self.fc_layer2 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_layer2(self.conv_layer1(x))
        return self.fc_layer2(self.fc_layer1(self.C5_layer(x.flatten(1))))


def test_parameters_per_layer() -> None:
    model = LeNet5Modern()
    counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in model.named_children()}
    assert {name: n for name, n in counts.items() if n} == {
        "C1": 156,
        "C3": 2_416,
        "C5": 48_120,
        "F6": 10_164,
        "output": 850,
    }
    assert sum(p.numel() for p in model.parameters()) == 61_706
    assert not list(model.buffers())


def test_shapes_layer_by_layer() -> None:
    model = LeNet5Modern().eval()
    features, maps = model.forward_intermediates(torch.rand(2, 1, 28, 28))
    assert [tuple(m.shape[1:]) for m in maps] == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1)]
    assert model.forward_head(features, pre_logits=True).shape == (2, 84)
    assert model.forward_head(features).shape == (2, 10)


def test_relu_and_max_pooling() -> None:
    model = LeNet5Modern().eval()
    x = torch.rand(2, 1, 28, 28)
    _, (c1, s2, c3, s4, c5) = model.forward_intermediates(x)
    assert torch.equal(c1, model.C1(x).clamp(min=0))
    assert torch.equal(s2, c1.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)))
    assert torch.equal(c3, model.C3(s2).clamp(min=0))
    assert torch.equal(s4, c3.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5)))
    assert torch.equal(c5, model.C5(s4).clamp(min=0))


def test_c5_is_a_convolution_so_that_larger_pictures_work() -> None:
    model = LeNet5Modern(global_pool="").eval()
    alone = LeNet5Modern().eval()
    alone.load_state_dict(model.state_dict())
    x = torch.rand(1, 1, 28, 60)
    logits = model(x)
    assert logits.shape == (1, 10, 1, (60 - 28) // 4 + 1)
    # Windows in the middle see ink where a picture of their own is padded with background, so compare the centre unit
    # of a picture whose ink ends 2 px before the window's edges.
    x[..., 12:18] = 0
    x[..., 42:48] = 0
    window = x[..., 16:44].clone()
    torch.testing.assert_close(model(x)[..., 0, 4], alone(window), rtol=1e-5, atol=1e-6)
    assert LeNet5Modern()(torch.rand(2, 1, 40, 33)).shape == (2, 10)


@pytest.fixture(scope="module")
def reference() -> Reference:
    torch.manual_seed(5)
    return Reference().eval()


def test_the_reference_has_the_key_names_that_people_have_on_disk(reference: Reference) -> None:
    assert {key: tuple(value.shape) for key, value in reference.state_dict().items()} == {
        "conv_layer1.0.weight": (6, 1, 5, 5),
        "conv_layer1.0.bias": (6,),
        "conv_layer2.0.weight": (16, 6, 5, 5),
        "conv_layer2.0.bias": (16,),
        "C5_layer.0.weight": (120, 400),
        "C5_layer.0.bias": (120,),
        "fc_layer1.0.weight": (84, 120),
        "fc_layer1.0.bias": (84,),
        "fc_layer2.weight": (10, 84),
        "fc_layer2.bias": (10,),
    }


@pytest.mark.parametrize("through", ["checkpoint_path", "overlay"])
@pytest.mark.parametrize("form", ["pt", "safetensors", "wrapped.pt"])
def test_reference_weights_give_identical_logits(reference: Reference, tmp_path: Path, form: str, through: str) -> None:
    path = tmp_path / f"reference.{form}"
    state = reference.state_dict()
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 20} if form == "wrapped.pt" else state, path)
    if through == "checkpoint_path":
        model = lenet_zoo.create_model("lenet5_modern", checkpoint_path=path)
    else:
        model = timm.create_model("lenet5_modern", pretrained=True, pretrained_cfg_overlay=dict(file=str(path))).eval()
    x = torch.rand(64, 1, 28, 28)
    # C5 as a convolution may add its 400 products in another order than a linear layer.
    torch.testing.assert_close(model(x), reference(x), rtol=0, atol=1e-6)
    assert torch.equal(model(x).argmax(1), reference(x).argmax(1))
    assert torch.equal(model.C5.weight.flatten(1), reference.C5_layer[0].weight)


def test_reference_weights_are_identical_to_the_bit_layer_by_layer(reference: Reference) -> None:
    overlay = dict(state_dict=reference.state_dict())
    model = timm.create_model("lenet5_modern", pretrained=True, pretrained_cfg_overlay=overlay).eval()
    x = torch.rand(64, 1, 28, 28)
    _, maps = model.forward_intermediates(x)
    assert torch.equal(maps[3], reference.conv_layer2(reference.conv_layer1(x)))
    c5 = reference.C5_layer(maps[3].flatten(1))
    assert torch.equal(model.forward_head(c5[:, :, None, None]), reference.fc_layer2(reference.fc_layer1(c5)))


def test_reference_weights_of_another_number_of_classes(tmp_path: Path) -> None:
    torch.manual_seed(6)
    reference = Reference(num_classes=26).eval()
    torch.save(reference.state_dict(), tmp_path / "letters.pt")
    x = torch.rand(4, 1, 28, 28)
    model = lenet_zoo.create_model("lenet5_modern", checkpoint_path=tmp_path / "letters.pt", num_classes=26)
    torch.testing.assert_close(model(x), reference(x), rtol=0, atol=1e-6)
    with pytest.raises(WeightsError) as error:
        lenet_zoo.create_model("lenet5_modern", checkpoint_path=tmp_path / "letters.pt")
    assert str(error.value) == (
        f"the weights in {tmp_path / 'letters.pt'} do not fit lenet5_modern as it was asked for: output.weight is "
        "26×84 and must be 10×84; output.bias is 26 and must be 10"
    )


def test_checkpoint_features(reference: Reference, tmp_path: Path) -> None:
    torch.save(reference.state_dict(), tmp_path / "reference.pt")
    x = torch.rand(4, 1, 28, 28)
    headless = lenet_zoo.create_model("lenet5_modern", checkpoint_path=tmp_path / "reference.pt", num_classes=0)
    c5 = reference.C5_layer(reference.conv_layer2(reference.conv_layer1(x)).flatten(1))
    torch.testing.assert_close(headless(x), reference.fc_layer1(c5), rtol=0, atol=1e-6)
    backbone = lenet_zoo.create_model(
        "lenet5_modern", checkpoint_path=tmp_path / "reference.pt", features_only=True, out_indices=(4,)
    )
    torch.testing.assert_close(backbone(x)[0].flatten(1), c5, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_classes", [10, 5])
def test_a_checkpoint_without_a_layer_is_refused_whole(reference: Reference, num_classes: int) -> None:
    """timm loads leniently when the class count differs, and would leave F6 random without a word."""
    state = OrderedDict((k, v) for k, v in reference.state_dict().items() if not k.startswith("fc_layer1"))
    with pytest.raises(WeightsError) as error:
        timm.create_model(
            "lenet5_modern", pretrained=True, pretrained_cfg_overlay=dict(state_dict=state), num_classes=num_classes
        )
    assert str(error.value) == "the weights are not lenet5_modern's: they lack F6.bias and 1 more"
    state = {**reference.state_dict(), "fc_layer3.weight": torch.zeros(1)}
    with pytest.raises(WeightsError) as error:
        timm.create_model(
            "lenet5_modern", pretrained=True, pretrained_cfg_overlay=dict(state_dict=state), num_classes=num_classes
        )
    assert str(error.value) == "the weights are not lenet5_modern's: they have an unknown fc_layer3.weight"


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("owned", "w")  # type: ignore[return-value]


# What is said of each must not depend on how torch's unpickler happens to stumble over its first bytes.
STRAY = {"text": b"no weights\n", "greeting": b"hello world", "table": b"a,b\n1,2\n", "latin": b"\xff\xfea\x00"}


@pytest.mark.parametrize("content", [*STRAY, "empty", "zeros", "truncated", "pickle", "tensor", "folder", "missing"])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_that_is_no_weight_file_is_one_clear_line(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"weights.{suffix}"
    if content in STRAY:
        path.write_bytes(STRAY[content])
    elif content in ("empty", "zeros"):
        path.write_bytes(bytes(0 if content == "empty" else 4096))
    elif content == "truncated":
        save_file(reference.state_dict(), path) if suffix == "safetensors" else torch.save(reference.state_dict(), path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif content == "pickle":
        torch.save({"C1.weight": Payload()}, path)
    elif content == "tensor":
        torch.save(torch.zeros(3), path)
    elif content == "folder":
        path.mkdir()
    with pytest.raises(WeightsError) as error:
        lenet_zoo.create_model("lenet5_modern", checkpoint_path=path)
    if content == "folder":
        expected = f"{path} is a folder: say local-dir:{path} in the network's place, or name a file in it"
    elif content == "missing":
        expected = f"the weight file {path} is missing"
    elif (content, suffix) == ("pickle", "pt"):
        expected = f"{path} holds a pickled {open.__module__}.open, which could run any code and is not read: "
        expected += "save the weights alone, torch.save(model.state_dict(), 'weights.pt')"
    else:
        expected = f"{path} cannot be read as weights: give a .safetensors file or a state dict saved by torch"
    assert str(error.value) == expected
    assert not (tmp_path / "owned").exists()

"""`model.plain()` in other projects' tools: `pip install torchao coremltools opacus hls4ml pnnx` (or one of them), then
`pytest tests/ecosystem`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import lenet_zoo
from lenet_zoo.export.calibration import bundled

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of the tools
    pytest.mark.parametrize("name", ["lenet5_modern", "lenet5_classic"]),
]


def tool(module: str) -> Any:
    return pytest.importorskip(module, reason=f"{module} is not installed: run pip install {module}")


def digits(name: str) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The plain layers, 200 digits, and the network's answers to them."""
    model: Any = lenet_zoo.create_model(name, pretrained=True)
    mean, std = (model.pretrained_cfg[key][0] for key in ("mean", "std"))
    x = (torch.from_numpy(bundled()[:, None].copy()) / 255 - mean) / std
    return model.plain(), x, model.eval()(x).argmax(1)


def test_torchao_quantizes_the_linear_layers(name: str) -> None:
    quantization = tool("torchao").quantization
    plain, x, wanted = digits(name)
    quantization.quantize_(plain, quantization.Int8DynamicActivationInt8WeightConfig())
    assert type(plain.F6.weight) is not torch.nn.Parameter
    assert (plain(x).argmax(1) == wanted).float().mean() >= 0.98


def test_core_ml_tools_convert_to_an_ml_program(name: str) -> None:
    # Core ML runs on macOS alone; what stands here is that nothing is left out.
    coreml = tool("coremltools")
    plain, x, _ = digits(name)
    inputs = [coreml.TensorType(name="input", shape=x[:1].shape)]
    program = coreml.convert(torch.jit.trace(plain, x[:1]), inputs=inputs, convert_to="mlprogram")
    kinds = [operation.op_type for operation in program._mil_program.functions["main"].operations]
    assert kinds.count("conv") == {"lenet5_modern": 3, "lenet5_classic": 5}[name]
    assert kinds.count("linear") == 2


def test_opacus_trains_with_privacy(name: str) -> None:
    opacus = tool("opacus")
    plain, x, labels = digits(name)
    plain.requires_grad_(True).train()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=50)
    optimizer = torch.optim.SGD(plain.parameters(), 0.01)
    engine = opacus.PrivacyEngine()
    private, optimizer, data = engine.make_private(
        module=plain, optimizer=optimizer, data_loader=data, noise_multiplier=1.0, max_grad_norm=1.0
    )
    before = plain.C1.weight.detach().clone()
    for batch, wanted in data:
        optimizer.zero_grad()
        cross_entropy(private(batch), wanted).backward()
        optimizer.step()
    assert not torch.equal(plain.C1.weight, before)
    assert 0 < engine.get_epsilon(1e-5) < 10


def test_hls4ml_converts_the_modern_network(name: str, tmp_path: Path) -> None:
    hls = tool("hls4ml")
    plain, _, _ = digits(name)
    if name == "lenet5_classic":
        pytest.skip("hls4ml pads with zeros only, and this network with its background of -0.1")
    del plain.pool  # over one position; hls4ml knows no AdaptiveAvgPool2d
    config = hls.utils.config_from_pytorch_model(plain, input_shape=(1, 28, 28), default_precision="fixed<24,12>")
    model = hls.converters.convert_from_pytorch_model(
        plain, hls_config=config, output_dir=str(tmp_path), backend="Vitis", io_type="io_stream"
    )
    kinds = [type(layer).__name__ for layer in model.get_layers()]
    assert kinds.count("VitisConv2D") == 3
    assert kinds.count("VitisDense") == 2


def test_pnnx_takes_traced_layers(name: str, tmp_path: Path) -> None:
    pnnx = tool("pnnx")
    plain, x, _ = digits(name)
    again = pnnx.export(plain, str(tmp_path / "plain.pt"), (x[:1],), fp16=False)
    torch.testing.assert_close(again(x[:1]), plain(x[:1]), rtol=0, atol=1e-3)
    assert (tmp_path / "plain.ncnn.param").exists()

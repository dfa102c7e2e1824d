"""create_model, list_models and model_card; torch.hub; and weights by URL."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

import lenet_zoo
from lenet_zoo import cards, registry
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError, UnknownModelError, WeightsError

ROOT = Path(__file__).parents[1]
ARCHITECTURES = ["lenet5_classic", "lenet5_modern"]
TAGS = {
    "lenet5_classic.fashion_mnist",
    "lenet5_classic.handwriting",
    "lenet5_classic.mnist",
    "lenet5_modern.bangla",
    "lenet5_modern.baseline_mnist",
    "lenet5_modern.devanagari",
    "lenet5_modern.fashion_mnist",
    "lenet5_modern.handwriting",
    "lenet5_modern.mnist",
    "lenet5_modern.telugu",
}


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


# ------------------------------------------------------------------------------------------------------------- names


def test_list_models() -> None:
    assert lenet_zoo.list_models() == ARCHITECTURES
    assert lenet_zoo.list_models("*modern") == ["lenet5_modern"]
    assert lenet_zoo.list_models("resnet*") == []
    tags = lenet_zoo.list_models(pretrained=True)
    assert tags == sorted(tags)
    assert set(tags) >= TAGS
    assert {"lenet5_modern.baseline_mnist", "lenet5_modern.mnist"} <= set(lenet_zoo.list_models("*modern*", True))
    assert all(tag.startswith("lenet5_classic.") for tag in lenet_zoo.list_models("lenet5_classic*", True))


def test_every_tag_has_its_file_and_its_card_and_no_other() -> None:
    assert lenet_zoo.list_models(pretrained=True) == cards.names()
    for name in cards.names():
        assert cards.weight_path(name).is_file()
        assert Path(timm.get_pretrained_cfg(name).file) == cards.weight_path(name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_alone_stands_for_its_default_tag(architecture: str) -> None:
    assert registry.resolve(architecture) == f"{architecture}.mnist"
    assert registry.resolve(f"{architecture}.mnist") == f"{architecture}.mnist"
    default = lenet_zoo.create_model(architecture, pretrained=True)
    assert same(default, lenet_zoo.create_model(f"{architecture}.mnist", pretrained=True))
    assert lenet_zoo.model_card(architecture) == lenet_zoo.model_card(f"{architecture}.mnist")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("lenet5_moderne", "no network called 'lenet5_moderne'. Did you mean 'lenet5_modern'? The zoo has "),
        ("lenet5_clasic", "no network called 'lenet5_clasic'. Did you mean 'lenet5_classic'? The zoo has "),
        ("lenet5_modern.mnst", "no network called 'lenet5_modern.mnst'. Did you mean 'lenet5_modern.mnist'? "),
        ("lenet5_modern.baseline", "'lenet5_modern.baseline'. Did you mean 'lenet5_modern.baseline_mnist'? "),
        ("lenet5_classic.", "no network called 'lenet5_classic.'. Did you mean 'lenet5_classic.mnist'? "),
        ("resnet50", "no network called 'resnet50'. The zoo has lenet5_classic."),
        ("", "no network called ''. The zoo has lenet5_classic."),
        ("timm/lenet5_modern", "no network called 'timm/lenet5_modern'. Did you mean 'lenet5_modern'? "),
    ],
)
@pytest.mark.parametrize("call", [lenet_zoo.create_model, lenet_zoo.model_card, lenet_zoo.create_transform])
def test_an_unknown_name_gets_a_suggestion(call: Any, name: str, says: str) -> None:
    with pytest.raises(UnknownModelError) as error:
        call(name)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, LookupError)


def test_a_picture_in_the_networks_place_is_told_where_it_belongs(tmp_path: Path) -> None:
    picture = tmp_path / "two.png"
    picture.touch()
    with pytest.raises(UnknownModelError) as error:
        lenet_zoo.read(picture, name=str(picture))
    says = "which is a file: the name of a network comes before what it reads, and of files only .onnx ones can be"
    assert str(error.value) == f"no network called {str(picture)!r}, {says} named there"


def test_a_folder_that_holds_a_network_is_named_as_one_is(tmp_path: Path) -> None:
    timm.models.save_for_hf(lenet_zoo.create_model("lenet5_modern"), tmp_path, safe_serialization=True)
    with pytest.raises(UnknownModelError, match=f"say local-dir:{tmp_path}$"):
        lenet_zoo.create_model(str(tmp_path))


def test_a_name_is_a_text() -> None:
    with pytest.raises(InputError, match="takes the name of a network, such as 'lenet5_modern', and not None"):
        lenet_zoo.create_model(None)


def test_an_unknown_keyword_gets_a_suggestion() -> None:
    with pytest.raises(TypeError, match=r"^create_model\(\) .* 'num_clases'\. Did you mean 'num_classes'\?$"):
        lenet_zoo.create_model("lenet5_modern", num_clases=3)


def test_timm_names_an_unknown_tag_of_ours_itself() -> None:
    with pytest.raises(RuntimeError, match="Invalid pretrained tag"):
        timm.create_model("lenet5_modern.nonsense", pretrained=True)


# ------------------------------------------------------------------------------------------------------ create_model


@pytest.mark.parametrize("name", sorted(TAGS))
def test_create_model_is_timms(name: str) -> None:
    ours = lenet_zoo.create_model(name, pretrained=True)
    assert not ours.training
    assert same(ours, timm.create_model(name, pretrained=True))
    assert ours.pretrained_cfg["tag"] == name.split(".")[1]


def test_keywords_reach_the_network() -> None:
    model = lenet_zoo.create_model("lenet5_modern", num_classes=3, in_chans=2, drop_rate=0.1, dtype=torch.float64)
    assert (model.num_classes, model.in_chans, model.drop_rate) == (3, 2, 0.1)
    assert model.C1.weight.dtype == torch.float64
    maps = lenet_zoo.create_model("lenet5_classic", features_only=True, out_indices=(0, 2))(torch.rand(1, 1, 28, 28))
    assert [m.shape[1] for m in maps] == [6, 16]
    with pytest.raises(TypeError, match="unexpected keyword argument 'width'"):
        lenet_zoo.create_model("lenet5_modern", width=2)
    # With weights too it is the keyword that is wrong, and not the file.
    for given in (dict(pretrained=True), dict(checkpoint_path=cards.weight_path("lenet5_modern.mnist"))):
        with pytest.raises(TypeError, match="unexpected keyword argument 'width'"):
            lenet_zoo.create_model("lenet5_modern", width=2, **given)
    with pytest.raises(InputError, match=r"^num_classes=-1: give the number of classes"):
        lenet_zoo.create_model("lenet5_modern", num_classes=-1)


# ---------------------------------------------------------------------------------------------------- real data


@pytest.mark.parametrize(
    ("name", "at_least"),
    [("lenet5_modern.mnist", 9_900), ("lenet5_classic.mnist", 9_900), ("lenet5_modern.baseline_mnist", 9_825)],
)
def test_shipped_weights_read_the_test_digits_as_their_card_says(mnist_test: Dataset, name: str, at_least: int) -> None:
    from lenet_zoo.classify.torch import logits_of
    from lenet_zoo.evaluation import evaluate

    found = evaluate(logits_of(lenet_zoo.create_model(name, pretrained=True)), mnist_test)
    assert found.correct >= at_least
    said = lenet_zoo.model_card(name)["metrics"]["test"]
    assert said["total"] == found.total == 10_000
    # a picture on the border between two classes may fall on the other side on another processor
    assert abs(said["correct"] - found.correct) <= 1
    assert said["loss"] == pytest.approx(found.loss, rel=1e-3)


@pytest.mark.parametrize("name", ["lenet5_classic.mnist", "lenet5_modern.mnist"])
def test_a_picture_alone_and_among_a_thousand(mnist_test: Dataset, name: str) -> None:
    """Within 1e-5 in every logit, though those of the 1998 network are sums of 84 squares, about −100."""
    model = lenet_zoo.create_model(name, pretrained=True)
    mean, std = model.pretrained_cfg["mean"][0], model.pretrained_cfg["std"][0]
    x = (mnist_test.images[:1_000, None] / 255 - mean) / std
    with torch.inference_mode():
        together = model(x)
        assert torch.equal(model(x), together)
        alone = torch.cat([model(one) for one in x.split(1)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)


# -------------------------------------------------------------------------------------------------------- elsewhere


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torch_hub(architecture: str) -> None:
    load = partial(torch.hub.load, str(ROOT), architecture, source="local")
    assert same(load(pretrained=True), lenet_zoo.create_model(architecture, pretrained=True))
    assert load(num_classes=5).num_classes == 5
    with pytest.raises(UnknownModelError, match="Did you mean"):
        load(pretrained=True, tag="mnst")


def test_torch_hub_tag() -> None:
    baseline = torch.hub.load(str(ROOT), "lenet5_modern", source="local", pretrained=True, tag="baseline_mnist")
    assert same(baseline, lenet_zoo.create_model("lenet5_modern.baseline_mnist", pretrained=True))


def test_save_for_hf_then_local_dir_keeps_the_pretrained_network(tmp_path: Path) -> None:
    model = lenet_zoo.create_model("lenet5_classic.mnist", pretrained=True)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    again = lenet_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert same(model, again)
    assert again.pretrained_cfg["mean"] == pytest.approx([0.1 / 1.275])
    (tmp_path / "model.safetensors").write_bytes(cards.weight_path("lenet5_modern.mnist").read_bytes())
    with pytest.raises(WeightsError, match=r"^the weights in \S+ are not lenet5_classic's"):
        lenet_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("model.safetensors", b"hello", "header"),
        ("model.safetensors", b"", "header"),
        ("model.safetensors", None, "No suitable checkpoints found in"),
        ("config.json", b"hello", "Expecting value"),
        ("config.json", b"{}", "architecture"),
        ("config.json", b"[]", "cannot be loaded"),
        ("config.json", b'{"architecture": "lenet6", "pretrained_cfg": {}}', "Unknown model (lenet6)"),
        ("config.json", b'{"architecture": "lenet5_modern", "global_pool": "avg"}', "argument 'global_pool'"),
        ("config.json", None, "Config file not found"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(tmp_path: Path, file: str, content: bytes | None, says: str) -> None:
    timm.models.save_for_hf(lenet_zoo.create_model("lenet5_modern"), tmp_path, safe_serialization=True)
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_bytes(content)
    with pytest.raises(WeightsError) as error:
        lenet_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert str(error.value).startswith(f"local-dir:{tmp_path} cannot be loaded: ")
    assert str(error.value).endswith(
        "; give a folder that `lenet-zoo train` or `finetune` wrote, or timm.models.save_for_hf"
    )
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there_and_a_keyword_that_no_network_takes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"^no folder .*nowhere: give one that `lenet-zoo train` or `finetune`"):
        lenet_zoo.create_model(f"local-dir:{tmp_path / 'nowhere'}")
    timm.models.save_for_hf(lenet_zoo.create_model("lenet5_modern"), tmp_path, safe_serialization=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'width'"):
        lenet_zoo.create_model(f"local-dir:{tmp_path}", width=2)
    with pytest.raises(InputError, match=r"^num_classes=-1"):
        lenet_zoo.create_model(f"local-dir:{tmp_path}", num_classes=-1)


def test_a_folder_has_a_transform_and_a_card(tmp_path: Path) -> None:
    model = lenet_zoo.create_model("lenet5_classic", num_classes=3, in_chans=3)
    timm.models.save_for_hf(model, tmp_path, model_config={"label_names": list("xyz")}, safe_serialization=True)
    name = f"local-dir:{tmp_path}"
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8))
    assert torch.equal(lenet_zoo.create_transform(name)(picture), lenet_zoo.create_transform(model)(picture))
    params = sum(p.numel() for p in model.parameters())
    convention = dict(shape=[3, 28, 28], mean=[0.1 / 1.275] * 3, std=[1 / 1.275] * 3)
    known = dict(architecture="lenet5_classic", params=params, labels=["x", "y", "z"], input=convention)
    found = dict(known, preparation="character")
    assert lenet_zoo.model_card(name) == found
    (tmp_path / "card.json").write_text('{"preparation": "picture"}')
    assert lenet_zoo.model_card(name) == dict(found, preparation="picture")
    (tmp_path / "card.json").write_text("hello")
    with pytest.raises(WeightsError, match=r"card\.json cannot be read as JSON$"):
        lenet_zoo.model_card(name)
    for call in (lenet_zoo.create_transform, lenet_zoo.model_card):
        with pytest.raises(WeightsError, match=r"^no folder nowhere: give one that"):
            call("local-dir:nowhere")


def test_weights_by_url_are_timms_own_matter(served: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = served
    source = lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True)
    torch.save(source.state_dict(), folder / "weights.pth")
    overlay = dict(url=f"{address}/weights.pth", file="")
    cache = tmp_path / "cache"
    model = timm.create_model("lenet5_modern", pretrained=True, pretrained_cfg_overlay=overlay, cache_dir=cache)
    assert same(model, source)
    assert [p.name for p in cache.iterdir()] == ["weights.pth"]


def test_weights_of_ones_own_need_an_architecture() -> None:
    with pytest.raises(InputError, match=r"^local-dir:folder brings its own weights: for those in mine\.pt give the"):
        lenet_zoo.create_model("local-dir:folder", checkpoint_path="mine.pt")


@pytest.mark.filterwarnings("ignore:drop_rate")
@pytest.mark.parametrize("rate", [-0.1, 1, 2.0])
def test_a_rate_of_dropout_is_a_part(rate: float) -> None:
    with pytest.raises(InputError, match=r"^drop_rate=.*: from 0 to below 1$"):
        lenet_zoo.create_model("lenet5_modern", drop_rate=rate)


def test_a_folder_with_a_network_is_told_from_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run", "config.json").write_text("{}")
    with pytest.raises(UnknownModelError, match=r"the folder of that name holds one: say local-dir:run$"):
        lenet_zoo.create_model("run")


@pytest.mark.parametrize("tag", ["lenet5_modern.fashion_mnist", "lenet5_modern.handwriting", "lenet5_classic.numbers"])
def test_save_for_hf_keeps_what_is_known_of_a_tags_weights(tmp_path: Path, tag: str) -> None:
    model = lenet_zoo.create_model(tag, pretrained=True)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    assert lenet_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True).card == model.card
    own = [f"class {i}" for i in range(model.num_classes)]
    timm.models.save_for_hf(model, tmp_path, model_config={"label_names": own}, safe_serialization=True)
    named = lenet_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True).card
    assert (list(named.labels), named.preparation) == (own, model.card.preparation)


def test_drop_rate_warns_of_a_folders_network_as_well(tmp_path: Path) -> None:
    timm.models.save_for_hf(lenet_zoo.create_model("lenet5_modern"), tmp_path, safe_serialization=True)
    with pytest.warns(UserWarning, match=r"drop_rate=0\.3 has an effect in training mode alone"):
        lenet_zoo.create_model(f"local-dir:{tmp_path}", drop_rate=0.3)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("digits.onnx", "was exported; this needs the network itself: name one of lenet5_classic.fashion_mnist"),
        ("model.safetensors", "is a file of weights: say local-dir:FOLDER for one that training or fine-tuning wrote"),
    ],
)
def test_a_file_in_the_networks_place_is_called_what_it_is(tmp_path: Path, file: str, says: str) -> None:
    path = tmp_path / file
    path.touch()
    with pytest.raises(UnknownModelError) as error:
        lenet_zoo.create_model(str(path))
    assert str(error.value).startswith(f"{path} {says}")

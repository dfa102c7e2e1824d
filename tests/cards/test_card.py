"""Cards: one object, one parser, and a network claims only what is true of the weights that it has."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo._files import parse_json
from lenet_zoo.cards import Card, InputConvention
from lenet_zoo.classify import read_metadata
from lenet_zoo.errors import InputError, WeightsError
from lenet_zoo.pictures.preparation import Preparation
from lenet_zoo.registry import load_network

# --------------------------------------------------------------------------------------------------------- the parser


@pytest.mark.parametrize("name", cards.names())
def test_a_shipped_card_survives_reading_and_writing(name: str, tmp_path: Path) -> None:
    card = cards.load(name)
    card.write(tmp_path / "card.json")
    assert Card.read(tmp_path / "card.json") == card
    document = json.loads(cards.card_path(name).read_text(encoding="utf-8"))
    assert {key: card.as_dict()[key] for key in document} == document


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "is not a JSON object"),
        ({"architecture": 5}, "its 'architecture' is 5, and must be a text"),
        ({"labels": "0123"}, "its 'labels' is '0123', and must be a list of texts"),
        ({"labels": [1, 2]}, "its labels are not all text"),
        ({"labels": ["a", "a"]}, "the labels repeat one"),
        ({"params": True}, "its 'params' is True, and must be a whole number"),
        ({"params": 1.5}, "its 'params' is 1.5, and must be a whole number"),
        ({"preparation": "photo"}, "prepare='photo': one of 'character' and 'picture'"),
        ({"preparation": {"kind": "picture"}}, "its 'preparation' is {'kind': 'picture'}, and must be a text"),
        ({"metrics": [1]}, "its 'metrics' is [1], and must be an object"),
        ({"metrics": {"test": "good"}}, "its figures of 'test' are 'good', and must be an object"),
        ({"metrics": {"test": {"correct": "all"}}}, "its correct of 'test' is 'all', and must be a number"),
        ({"metrics": {"test": {"correct": 5}}}, "of 'test' it has 5 correct of None: of 1 or more, or neither"),
        ({"metrics": {"test": {"correct": 0, "total": 0}}}, "of 'test' it has 0 correct of 0"),
        ({"metrics": {"test": {"correct": 3, "total": 2}}}, "of 'test' it has 3 correct of 2"),
        ({"metrics": {"test": {"loss": float("nan")}}}, "its loss of 'test' is nan, and must be a number"),
        ({"metrics": {"test": {"confusion": [[1, 0], [0]]}}}, "its confusion of 'test' is [[1, 0], [0]], and must be"),
        ({"metrics": {"test": {"confusion": [["1"]]}}}, "its confusion of 'test' is [['1']], and must be"),
        ({"looks": 3}, "its looks are 3, and must be 1 or 5"),
        ({"input": {}}, "its input holds None, and must hold 3 numbers there"),
        ({"input": {"shape": [1, 28]}}, "its input holds [1, 28], and must hold 3 numbers there"),
        ({"input": {"shape": [1, 0, 28], "mean": [0], "std": [1]}}, "is no shape, mean and std"),
        ({"input": {"shape": [1, 0.5, 28], "mean": [0], "std": [1]}}, "is no shape, mean and std"),
        ({"input": {"shape": [1, 28, 28], "mean": [0], "std": [0]}}, "is no shape, mean and std"),
        ({"sha256": ["a"]}, "its 'sha256' is ['a'], and must be a text"),
    ],
)
def test_a_field_of_the_wrong_type_is_one_clear_line(document: object, says: str) -> None:
    with pytest.raises(WeightsError) as error:
        Card.parse(document, "the card x.json")
    assert str(error.value).startswith("the card x.json is ")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 100_000),
        *(b'{"a":' * 40 + b"1" + b"}" * 40, b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'{"a": -Infinity}'),
        *(b"[" * 40 + b"]" * 40, b'{"a": [[1e999]]}', b'{"a": -' + b"9" * 400 + b"}"),
    ],
)
def test_what_is_no_json_is_refused_whoever_wrote_it(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_json(content)
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"card\.json cannot be read as JSON$"):
        Card.read(tmp_path / "card.json")


def test_fields_of_a_later_version_are_kept() -> None:
    card = Card.parse({"architecture": "lenet5_modern", "colour": "blue"}, "the card")
    assert card.as_dict()["colour"] == "blue"


def test_a_network_with_a_card_is_copied_and_pickled() -> None:
    model = lenet_zoo.create_model("lenet5_modern.fashion_mnist", pretrained=True)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.card == model.card
        assert twin.card.tag == "fashion_mnist"


# ---------------------------------------------------------------------------------------- what a network says of itself


def test_a_shipped_network_has_its_tags_card_through_timm_as_well() -> None:
    for create in (lenet_zoo.create_model, timm.create_model):
        model: Any = create("lenet5_classic.fashion_mnist", pretrained=True)
        assert (model.card.tag, model.card.labels, model.card.preparation) == (
            "fashion_mnist",
            cards.FASHION,
            Preparation("picture"),
        )
        assert model.card.sha256 == cards.load("lenet5_classic.fashion_mnist").sha256


def test_changed_weights_keep_labels_and_preparation_and_claim_nothing() -> None:
    model: Any = lenet_zoo.create_model("lenet5_modern.fashion_mnist", pretrained=True)
    with torch.no_grad():
        model.C1.bias[0] += 1
    card = model.card
    assert (card.labels, card.preparation.kind) == (cards.FASHION, "picture")
    assert (card.tag, card.metrics, card.dataset, card.sha256, card.licence, card.provenance) == (
        *(None, {}, None, None, None, {}),
    )


def test_shipped_weights_are_known_however_they_came_in() -> None:
    model: Any = lenet_zoo.create_model("lenet5_modern")
    assert model.card.tag is None
    model.load_state_dict(safetensors.torch.load_file(cards.weight_path("lenet5_modern.fashion_mnist")))
    assert (model.card.tag, model.card.preparation.kind) == ("fashion_mnist", "picture")


def test_a_colour_network_made_of_grey_weights_reads_pictures_in_colour() -> None:
    card = lenet_zoo.create_model("lenet5_modern.fashion_mnist", pretrained=True, in_chans=3).card
    assert (card.tag, card.labels, card.preparation) == (None, cards.FASHION, Preparation("picture", 3))


def test_a_new_output_layer_has_classes_without_names() -> None:
    model: Any = lenet_zoo.create_model("lenet5_modern.fashion_mnist", pretrained=True)
    model.reset_classifier(10)
    assert model.card.labels == tuple("0123456789")
    assert model.card.preparation.kind == "picture"
    assert lenet_zoo.create_model("lenet5_modern.fashion_mnist", pretrained=True, num_classes=3).card.labels == tuple(
        "012"
    )


def test_foreign_weights_have_no_tag_and_no_names(tmp_path: Path) -> None:
    """A file of five classes is not ten digits, and a file of ten is not Fashion-MNIST's ten."""
    for name, classes in (("lenet5_modern", 5), ("lenet5_modern.fashion_mnist", 10)):
        path = tmp_path / f"{classes}.safetensors"
        safetensors.torch.save_file(lenet_zoo.create_model("lenet5_modern", num_classes=classes).state_dict(), path)
        model: Any = lenet_zoo.create_model(name, checkpoint_path=path, num_classes=classes)
        assert (model.card.tag, model.card.labels) == (None, tuple(map(str, range(classes))))
        assert (model.pretrained_cfg["tag"], model.pretrained_cfg["num_classes"]) == (None, classes)
        assert model.pretrained_cfg["label_names"] == list(map(str, range(classes)))


def test_a_card_beside_a_weight_file_is_the_networks(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(lenet_zoo.create_model("lenet5_classic", num_classes=2).state_dict(), path)
    card = Card(labels=("x", "y"), preparation=Preparation("picture"), dataset="mine", sha256=cards.sha256_of(path))
    card.write(tmp_path / "card.json")
    model: Any = lenet_zoo.create_model("lenet5_classic", checkpoint_path=path, num_classes=2)
    assert (model.card.labels, model.card.preparation.kind, model.card.dataset) == (("x", "y"), "picture", "mine")
    assert load_network("lenet5_classic", path).card == model.card
    Card(labels=("x", "y"), sha256="0" * 64).write(tmp_path / "card.json")
    with pytest.raises(
        WeightsError, match=r"card\.json belongs to other weights than .*: keep a weight file's own card"
    ):
        lenet_zoo.create_model("lenet5_classic", checkpoint_path=path, num_classes=2)


def test_a_card_without_names_keeps_what_else_it_says(tmp_path: Path) -> None:
    name = saved(tmp_path, ["a", "b"], dataset="mine")
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(card | dict(labels=[])))
    model: Any = lenet_zoo.create_model(name, pretrained=True)
    assert (model.card.labels, model.card.dataset) == (("a", "b"), "mine")
    path = tmp_path / "model.safetensors"
    model = lenet_zoo.create_model("lenet5_modern", checkpoint_path=path, num_classes=2)
    assert (model.card.labels, model.card.dataset) == (("0", "1"), "mine")


@pytest.mark.parametrize(
    "other", [dict(mean=(0.5,)), dict(std=(0.5,)), dict(channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)]
)
def test_a_card_that_contradicts_the_config_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    assert lenet_zoo.create_model(saved(tmp_path / "right", ["a", "b"], input=InputConvention()), pretrained=True)
    name = saved(tmp_path / "wrong", ["a", "b"], input=InputConvention(**other))
    with pytest.raises(WeightsError) as error:
        lenet_zoo.create_model(name, pretrained=True)
    said, taken = InputConvention(**other).as_dict(), InputConvention().as_dict()
    assert str(error.value) == (
        f"the card of the weights in {tmp_path / 'wrong'} has the input {said}, and their config {taken}: mend one of "
        "them"
    )


@pytest.fixture
def alone_in_a_group() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", ["lenet5_modern", "lenet5_classic"])
def test_a_network_that_is_spread_over_ranks_is_known(alone_in_a_group: None, name: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model: Any = lenet_zoo.create_model(name, pretrained=True)
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    assert model.card.tag == "mnist"
    model.reset_classifier(5)
    assert model.card.labels == tuple("01234")


def saved(folder: Path, labels: list[str], **card: Any) -> str:
    model = lenet_zoo.create_model("lenet5_modern", num_classes=len(labels), in_chans=card.pop("in_chans", 1))
    timm.models.save_for_hf(model, folder, model_config={"label_names": labels}, safe_serialization=True)
    if card:
        Card(labels=tuple(labels), sha256=cards.sha256_of(folder / "model.safetensors"), **card).write(
            folder / "card.json"
        )
    return f"local-dir:{folder}"


def test_an_export_of_a_folder_keeps_labels_and_preparation(tmp_path: Path) -> None:
    name = saved(tmp_path / "run", ["oak", "elm"], preparation=Preparation("picture"), dataset="leaves", in_chans=3)
    for create in (lenet_zoo.create_model, timm.create_model):
        path = lenet_zoo.export_onnx(create(name, pretrained=True), tmp_path / "m.onnx", input="pixels")
        found = read_metadata(path)
        assert (found["labels"], found["preparation"], found["dataset"]) == (["oak", "elm"], "picture", "leaves")
    # … and reads a picture without a character, which digit_from_image refuses.
    assert lenet_zoo.OnnxClassifier(path).predict(Image.new("RGB", (50, 40), "green"))[0].label in ("oak", "elm")


def test_a_folder_whose_weights_are_not_its_cards_is_refused(tmp_path: Path) -> None:
    name = saved(tmp_path, ["a", "b"], dataset="mine")
    weights = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-10] ^= 1
    weights.write_bytes(content)
    for call in (lenet_zoo.model_card, lambda name: lenet_zoo.create_model(name, pretrained=True)):
        with pytest.raises(
            WeightsError,
            match=r"^the card .* belongs to other weights than .*: keep a weight file's own card beside it, or none$",
        ):
            call(name)


def test_a_folders_names_of_the_wrong_type_are_one_clear_line(tmp_path: Path) -> None:
    name = saved(tmp_path, ["a", "b"])
    config = json.loads((tmp_path / "config.json").read_text())
    config["label_names"] = 5
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"config\.json is damaged: its 'labels' is 5, and must be a list of texts$"):
        lenet_zoo.create_model(name, pretrained=True)


def test_a_users_card_is_checked_before_the_export(tmp_path: Path) -> None:
    model = lenet_zoo.create_model("lenet5_modern")
    for card, says in ((dict(labels=[1] * 10), "its labels are not all text"), (dict(metrics=3), "its 'metrics' is 3")):
        with pytest.raises(InputError, match=says):
            lenet_zoo.export_onnx(model, tmp_path / "m.onnx", card=card)
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------------------------- preparation


def test_what_is_transparent_in_a_picture_becomes_the_networks_background(fashion_test: Any) -> None:
    """Clothes cut out of their paper keep their label: they lay on white before, for a network that wants black."""
    classifier_of = Preparation("picture")
    pixels = fashion_test.images[:200].numpy()
    for picture in pixels[:20]:
        cut_out = np.dstack([picture] * 3 + [np.where(picture > 0, 255, 0).astype(np.uint8)])
        assert np.array_equal(classifier_of.pixels(Image.fromarray(cut_out, "RGBA")), picture)


def test_a_number_beyond_a_floats_range_is_refused(tmp_path: Path) -> None:
    for text in ('{"confidence": {"temperature": 1%s}}', '{"input": {"shape": [1, 28, 1%s], "mean": [0], "std": [1]}}'):
        (tmp_path / "card.json").write_text(text % (400 * "0"))
        with pytest.raises(WeightsError, match=r"card\.json cannot be read as JSON$"):
            Card.read(tmp_path / "card.json")

"""What timm, transformers and the Hugging Face Hub want beside weights: a config and a model card; and the way there.

The folders that training and fine-tuning write hold both. timm and transformers load such a folder, `push` sends it.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_zoo._files import parse_json
from lenet_zoo._version import __version__
from lenet_zoo.cards import Card
from lenet_zoo.errors import HubError, InputError, to_install

if TYPE_CHECKING:
    from torch import nn

__all__ = ["IMAGE_PROCESSOR", "hub_files", "push"]

IMAGE_PROCESSOR = "LeNetImageProcessor"  # the class in `_transformers` that transformers finds by this name

# Data sets as the hub calls them.
_DATASETS = {"mnist": "ylecun/mnist", "fashion_mnist": "zalando-datasets/fashion_mnist"}
_NEEDED = ("config.json", "card.json", "model.safetensors")
_SENT = (*_NEEDED, "README.md", "model.onnx", "log.jsonl", "curves.png", "confusion.png", "mistakes.png")
_REPOSITORY = "OWNER/NAME"  # stands in a folder's model card until it is known

_TEXT = """
# {title}

A LeNet-5 that reads {labels}, on 28×28 pixels. `card.json` has its recipe, figures and versions.
{figures}
```python
import timm

import lenet_zoo  # registers the network; to have it, {install}

model = timm.create_model("hf-hub:{repository}", pretrained=True).eval()
transform = lenet_zoo.create_transform(model)  # bright ink on dark; lenet_zoo.digit_from_image makes it of a photo
```
"""


def hub_files(network: nn.Module, card: Card) -> dict[str, str]:
    """What goes beside the weights of a network of the zoo: the texts of `config.json` and of `README.md`."""
    return {"config.json": _config(network, card), "README.md": _readme(card)}


def _config(network: nn.Module, card: Card) -> str:
    from timm.models._hub import save_config_for_hf

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        save_config_for_hf(network, str(path), model_config={"label_names": list(card.labels)})
        config: dict[str, Any] = parse_json(path.read_bytes())
    # transformers passes these arguments and the number of classes, so it may not be among them. Nor may `characters`:
    # with another number of classes they do not fit, and the codes themselves are in the weight file.
    arguments = config.get("model_args", {})
    config["model_args"] = {k: v for k, v in arguments.items() if k not in ("num_classes", "characters")}
    config["image_processor_type"] = IMAGE_PROCESSOR
    return json.dumps(config, indent=2) + "\n"


def _readme(card: Card) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    title = f"{card.architecture}, {card.tag}" if card.tag else card.architecture
    dataset = card.dataset or "unknown"
    measured = {
        split: figures
        for split, figures in card.metrics.items()
        if isinstance(figures, dict) and {"accuracy", "correct", "total"} <= figures.keys()
    }
    data = ModelCardData(
        library_name="timm",
        pipeline_tag="image-classification",
        tags=["image-classification", "timm", "transformers", "lenet-5"],
        license=card.licence.lower() if card.licence else None,
        datasets=[_DATASETS[dataset]] if dataset in _DATASETS else None,
        metrics=["accuracy"],
        model_name=title,
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type=_DATASETS.get(dataset, dataset),
                dataset_name=dataset,
                dataset_split=split,
                metric_type="accuracy",
                metric_value=figures["accuracy"],
            )
            for split, figures in measured.items()
        ]
        or None,
    )
    rows = [
        f"| {split} | {figures['correct']:,} | {figures['total']:,} | {100 * figures['accuracy']:.2f} % |"
        for split, figures in measured.items()
    ]
    figures = "\n".join(["", "| pictures | read correctly | of | accuracy |", "|---|--:|--:|--:|", *rows, ""])
    text = _TEXT.format(
        title=title,
        labels=", ".join(card.labels),
        figures=figures if rows else "",
        repository=_REPOSITORY,
        install=to_install(),
    )
    return f"---\n{data.to_yaml()}\n---\n{text}"


def push(folder: str | os.PathLike[str], repository: str, *, private: bool = False) -> str:
    """Send the folder of a finished run to the Hugging Face Hub, in one commit.

    Files of the same names there are replaced. The account is that of `hf auth login`, or of the token in HF_TOKEN.

    Args:
        folder: what `lenet-zoo train` or `lenet-zoo finetune` wrote, with its `card.json`.
        repository: 'OWNER/NAME'; it is made where there is none.
        private: make it a private one; an existing repository stays as it is.

    Returns: the address of the repository.

    Raises:
        InputError: a folder without a finished network, or an impossible name.
        WeightsError: the card is damaged, or belongs to other weights.
        HubError: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError

    home = Path(folder)
    for name in _NEEDED:
        if not (home / name).is_file():
            raise InputError(
                f"{home} has no {name}: give a folder that `lenet-zoo train` or `lenet-zoo finetune` wrote"
            )
    Card.read(home / "card.json").check_weights(home / "model.safetensors", home / "card.json")
    sent: dict[str, bytes] = {name: (home / name).read_bytes() for name in _SENT if (home / name).is_file()}
    api = HfApi(library_name="lenet_zoo", library_version=__version__)
    try:
        url = api.create_repo(repository, private=private, exist_ok=True)
        if "README.md" in sent:  # with the owner, who need not be typed
            sent["README.md"] = sent["README.md"].replace(_REPOSITORY.encode(), url.repo_id.encode())
        operations = [CommitOperationAdd(name, content) for name, content in sent.items()]
        api.create_commit(url.repo_id, operations, commit_message=f"Upload {home.resolve().name}")
    except HFValidationError as error:
        raise InputError(f"{repository!r} is no name of a repository, give OWNER/NAME: {_one_line(error)}") from error
    except Exception as error:  # those of the client beneath, requests or httpx by its version, have no common base
        answer = getattr(error, "response", None)
        advice = "; log in with `hf auth login`, or set HF_TOKEN" if getattr(answer, "status_code", 0) == 401 else ""
        if answer is None:  # "Name or service not known" tells nobody which
            advice = f"; is {api.endpoint} to be reached from here? HF_ENDPOINT names another hub"
        raise HubError(f"{repository} was not written: {_one_line(error)}{advice}") from error
    return str(url)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

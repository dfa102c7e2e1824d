"""From the zoo's weights to your classes, with an ONNX file at the end.

    python examples/finetune.py --out runs/digits                              # scikit-learn's digits, no download
    python examples/finetune.py --out runs/letters --data-dir letters          # your pictures, a folder per class
    python examples/finetune.py --out runs/kana --dataset kmnist --download --model lenet5_classic

In a clone, `pip install ".[examples]"` brings what it needs. `lenet-zoo finetune` has the same options and a few more.
"""

import argparse

import timm

import lenet_zoo

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", required=True, help="the folder to make")
parser.add_argument("--dataset", default="digits", help="digits, fashion_mnist, kmnist, emnist-letters, …")
parser.add_argument("--data-dir", help="your pictures: a folder per class")
parser.add_argument("--data-root", help="where torchvision's data sets are")
parser.add_argument("--download", action="store_true", help="fetch a data set that is missing")
parser.add_argument("--model", default="lenet5_modern", help="any model or tag of the zoo, or local-dir:FOLDER")
parser.add_argument("--in-chans", type=int, default=1, help="3 for pictures in colour")
parser.add_argument("--as", dest="prepare", choices=["character", "picture"], help="how your pictures are prepared")
parser.add_argument("--freeze", default="", metavar="c1,c3", help="layers that are not trained")
parser.add_argument("--layer-decay", type=float, help="learning rate × this for each layer below the output")
parser.add_argument("--few-shot", type=int, metavar="K", help="train on K pictures of each class")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--amp", action="store_true", help="mixed precision")
parser.add_argument("--strict", action="store_true", help="stop at a picture that cannot be used")
parser.add_argument("--resume", action="store_true", help="go on with what the folder holds")


def main(argv: list[str] | None = None) -> None:
    done = lenet_zoo.finetune(**vars(parser.parse_args(argv)))

    test = done.card["metrics"]["test"]
    print(f"{test['correct']} of {test['total']} test pictures right ({100 * test['accuracy']:.2f} %)")

    # The folder is a model for timm …
    network = timm.create_model(f"local-dir:{done.folder}", pretrained=True)
    print(f"timm: {sum(p.numel() for p in network.parameters()):,} parameters, {network.num_classes} classes")

    # … and its ONNX file runs without torch, on onnxruntime and numpy alone: classifier.predict("picture.png").
    classifier = lenet_zoo.OnnxClassifier(done.folder / "model.onnx")
    print(f"ONNX: {classifier.path}, {classifier.metadata['bytes']:,} bytes, labels {', '.join(classifier.labels)}")


if __name__ == "__main__":
    main()

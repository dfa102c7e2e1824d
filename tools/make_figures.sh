#!/usr/bin/env bash
# Draws every figure of the README and of the docs, each for a light and for a dark page, by the commands that the text
# names. Needs MNIST: LENET_ZOO_DATA, or the user's cache after one `lenet-zoo evaluate lenet5_modern --download`.
set -euo pipefail

cd "$(dirname "$0")/../docs/images"
draw() {
    for theme in light dark; do
        lenet-zoo plot "${@:2}" --theme "$theme" -o "$1-$theme.svg"
    done
}

draw architecture-classic architecture lenet5_classic
draw architecture-modern architecture lenet5_modern
draw filters-classic filters lenet5_classic
draw filters-modern filters lenet5_modern
draw maps-classic maps lenet5_classic.lecun1998_mnist mnist:1
draw maps-modern maps lenet5_modern mnist:1
draw f6 f6 lenet5_classic.lecun1998_mnist mnist:1 mnist:61 mnist:7
draw line line mnist:7,2,1,17,4,18,11,19
draw confusion confusion lenet5_modern
draw mistakes mistakes lenet5_modern
draw mistakes-1998 mistakes lenet5_classic.lecun1998_mnist
draw curves curves ../data/lecun1998.jsonl --paper
draw curvature curvature lenet5_classic.lecun1998_mnist --dataset mnist
draw ablation ablation ../data/ablation.json
draw bench bench ../data/bench-modern.json

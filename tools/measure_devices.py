"""The C files of both networks: what they take on each core, and what they answer → docs/data/devices.json.

python tools/measure_devices.py    # MNIST from LENET_ZOO_DATA, and the tools of examples/microcontroller/Makefile

Instructions are QEMU's count, the mean over 20 digits. Flash is code and tables as `size` counts them, RAM is static
memory. The answers to the 10,000 test digits are those of the file as this machine's `cc` compiles it: in int8 the same
bits as on every core.
"""

import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import lenet_zoo
from lenet_zoo._files import write_atomic
from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.registry import resolve

ROOT = Path(__file__).parents[1]
CORES = {"m0": "Cortex-M0", "m3": "Cortex-M3", "m4": "Cortex-M4F", "m33": "Cortex-M33", "riscv": "RISC-V (RV32IMAC)"}

data = load_dataset("mnist", train=False)
pixels, labels = np.ascontiguousarray(data.images.numpy()), data.labels.numpy()


def make(folder: Path, *words: str) -> str:
    command = ["make", "-s", *words, f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def on_cores(folder: Path, precision: str) -> list[dict[str, object]]:
    rows = []
    # float32 is meant for cores with a floating point unit.
    for core in CORES if precision == "int8" else ("m4",):
        options = ["DIGIT=digit.c", f"CORE={core}"]
        (count,) = (
            int(line.split()[1]) for line in make(folder, "run", *options).splitlines() if "instructions" in line
        )
        code, constants, memory = map(int, make(folder, "size", *options).splitlines()[-1].split()[:3])
        rows.append(dict(core=CORES[core], instructions=count, flash=code + constants, ram=memory))
    return rows


def answers(folder: Path) -> np.ndarray:
    """The classes that the file gives, compiled for this machine."""
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", "digit.so", "digit.c", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    read = ctypes.CDLL(str(folder / "digit.so")).lenet_read
    read.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    return np.array([read(picture.ctypes.data, None) for picture in pixels])


networks = []
for name in lenet_zoo.list_models():
    model = lenet_zoo.create_model(name, pretrained=True).eval()
    mean, std = (model.pretrained_cfg[key][0] for key in ("mean", "std"))
    with torch.inference_mode():
        own = model((data.images[:, None] / 255 - mean) / std).argmax(1).numpy()
    row = dict(name=resolve(name), total=len(labels), correct=int((own == labels).sum()), files={})
    for precision in ("fp32", "int8"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "program"
            shutil.copytree(ROOT / "examples" / "microcontroller", folder)
            lenet_zoo.export(model, folder / "digit.c", target="c", precision=precision)
            found = answers(folder)
            right, changed = int((found == labels).sum()), int((found != own).sum())
            row["files"][precision] = dict(correct=right, changed=changed, cores=on_cores(folder, precision))
        print(row["name"], precision, row["files"][precision])
    networks.append(row)
compiler = subprocess.run(["arm-none-eabi-gcc", "-dumpversion"], capture_output=True, text=True, check=True).stdout
machine = subprocess.run(["qemu-system-arm", "--version"], capture_output=True, text=True, check=True).stdout
found = dict(networks=networks, gcc=compiler.strip(), qemu=machine.split()[3], options="-O2")
write_atomic(ROOT / "docs" / "data" / "devices.json", json.dumps(found, indent=1) + "\n")

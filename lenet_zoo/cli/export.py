"""`export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lenet_zoo.cli._app import Json, app, console, messages, print_json
from lenet_zoo.errors import InputError

__all__ = ["export"]

# Suffixes that say what a file is for → its --target.
_TARGETS = {".onnx": "onnx", ".c": "c", ".h": "c", ".tflite": "litert", ".pte": "executorch"}


@app.command(epilog="Example: lenet-zoo export lenet5_modern -o digits.onnx --input pixels")
def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="lenet5_modern, lenet5_classic.mnist, …")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write.")],
    target: Annotated[
        Literal["onnx", "c", "litert", "executorch"],
        typer.Option(
            "--target",
            help="An ONNX file; one C99 file for microcontrollers, which reads uint8 pixels; or a file for LiteRT or "
            "ExecuTorch, which run on phones.",
        ),
    ] = "onnx",
    input: Annotated[
        Literal["normalized", "pixels", "pixels_float"],
        typer.Option(
            "--input", help="float32 as the model takes it; uint8 pixels, 0 … 255; or such pixels in float32."
        ),
    ] = "normalized",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option("--precision", help="fp16 (ONNX alone): half of the size; int8: some 30 % of it."),
    ] = "fp32",
    opset: Annotated[
        int | None,
        typer.Option("--opset", help="The version of ONNX's operators, 13 … 21; by default 17, and 19 for int8."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="N",
            help="A fixed number of pictures at once, in place of any (LiteRT, ExecuTorch: of one).",
        ),
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add the output `probabilities`.")] = False,
    intermediates: Annotated[
        bool, typer.Option("--intermediates", help="Add the layers' maps as outputs C1 … F6; implies --no-fast.")
    ] = False,
    fast: Annotated[bool, typer.Option("--fast/--no-fast", help="Rewrite the graph for speed, or layer by layer.")] = (
        True
    ),
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Weights of your own, .safetensors or a state dict; a card beside them (FILE.json) is carried along.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", help="For int8: a .npy file of uint8 pictures, or a folder of pictures."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a network as one file for ONNX or a device, compared with the network before it is put in place."""
    from lenet_zoo.export import export as run
    from lenet_zoo.registry import load_network

    if output == Path("-"):
        raise InputError("-: a file is put in place whole, and not written to stdout: name it, as in `-o digits.onnx`")
    wanted = _TARGETS.get(output.suffix.lower()) if output.suffix else target
    if wanted != target:
        own = next(suffix for suffix, of in _TARGETS.items() if of == target)
        kind = {"onnx": "an ONNX file", "c": "C"}.get(target, f"a file for --target {target}")
        other = f"say --target {wanted}, or " if wanted else ""
        raise InputError(f"{output} would be {kind}: {other}name it {output.stem}{own}")
    with messages.status(f"exporting {name}"):
        done = run(
            load_network(name, weights),
            output,
            target=target,
            input=input,
            precision=precision,
            opset=opset,
            batch=batch,
            probabilities=probabilities,
            intermediates=intermediates,
            fast=fast,
            calibration=calibration,
        )
    parity = done.parity
    if json:
        print_json(
            {
                "path": str(done.path),
                "bytes": done.size,
                "largest_difference": parity.largest_difference,
                "largest_logit": parity.largest_logit,
                "pictures": parity.pictures,
                "agreement": parity.agreement,
            }
        )
        return
    console.print(f"{done.path}: {done.size:,} bytes", soft_wrap=True)
    console.print(
        f"against {name} on {parity.pictures} pictures: logits differ by at most {parity.largest_difference:.2g} (the "
        f"largest is {parity.largest_logit:.3g}), {100 * parity.agreement:.1f} % of labels agree",
        soft_wrap=True,
    )

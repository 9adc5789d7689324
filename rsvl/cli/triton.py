"""`rsvl triton`: a bundle as a model repository of NVIDIA's Triton Inference Server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsvl.cli import options
from rsvl.cli.console import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from rsvl.runtime.manifest import ModelSpec, TensorSpec
    from rsvl.runtime.triton.repository import Repository


def triton(
    bundle: options.Bundle,
    repository: Annotated[Path, typer.Argument(metavar="REPO", help="Folder to write: a model repository.")],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Name of the ensemble. Default: the model's in the bundle."),
    ] = None,
    max_batch_size: Annotated[
        int, typer.Option("--max-batch-size", metavar="N", min=1, help="Samples that Triton may run together.")
    ] = 8,
    gpu: Annotated[bool, typer.Option("--gpu", help="Run on each GPU that Triton sees. Default: on the CPU.")] = False,
    instances: Annotated[
        int, typer.Option("--instances", metavar="N", min=1, help="Copies of each graph, per GPU or on the CPU.")
    ] = 1,
    json: options.Json = False,
) -> None:
    """Write a model repository for NVIDIA's Triton Inference Server.

    One model per graph, warmed up with the golden test's inputs, and an ensemble that joins
    them. Clients send pixels and tokens as docs/triton.md says.
    """
    from rsvl.runtime.bundle import Bundle
    from rsvl.runtime.triton.configs import Instances
    from rsvl.runtime.triton.repository import write_repository

    opened = Bundle(bundle)
    model = opened.manifest.model
    written = write_repository(opened, repository, name, max_batch_size, Instances(instances, gpu))
    tensors = {"input": model.raw_inputs, "output": model.final_outputs}
    described = {k: [_tensor(t, model, written) for t in found.values()] for k, found in tensors.items()}
    if json:
        print_json(
            {
                "repository": str(written.path),
                "ensemble": written.ensemble,
                "models": written.models,
                "max_batch_size": written.max_batch_size,
                "warmed_up": written.warmed_up,
                "inputs": described["input"],
                "outputs": described["output"],
            }
        )
        return
    print_line(f"{written.path}: ensemble {written.ensemble} of {', '.join(written.models.values())}")
    rows = [
        [kind, t["name"], f"[{', '.join(map(str, t['shape']))}]", t["dtype"], t["values"]]
        for kind in tensors
        for t in described[kind]
    ]
    print_table(["", "tensor", "shape", "dtype", "values"], rows)
    if not written.max_batch_size:
        print_note("Triton does not batch this model: its tensors have not one common dynamic first dimension")
    if not written.warmed_up:
        print_note("the bundle has no golden test, so that no graph is warmed up")
    print_line(f"run: tritonserver --model-repository={written.path.absolute()}")


def _tensor(tensor: TensorSpec, model: ModelSpec, written: Repository) -> dict[str, Any]:
    """What a client sends or gets, for people and JSON."""
    from rsvl.runtime.triton.configs import dims

    batched = written.max_batch_size > 0
    shape = [*(["batch"] if batched else []), *dims(tensor, batched)]
    return {"name": tensor.name, "shape": shape, "dtype": tensor.dtype, "values": _values(tensor.name, model)}


def _values(name: str, model: ModelSpec) -> str:
    from rsvl.runtime.manifest import VQA

    for image in model.images:
        if image.name == name:
            return f"(x / 255 - mean) / std; mean {_list(image.mean)}, std {_list(image.std)}"
    if model.text is not None and name == "tokens":
        return f"ids of {model.text.tokenizer}, padded with {model.text.pad}"
    if model.text is not None and name == "marks":
        return f"{', '.join(model.text.marks)}: 1 for marked tokens, 0 for others, -1 where none are marked"
    if model.task == VQA and name == "sensors":
        return "optical, sar: 1 where that image is there, 0 where it is missing"
    return ""


def _list(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)

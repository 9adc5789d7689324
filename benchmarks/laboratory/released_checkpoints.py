"""Released checkpoints against their authors' code.

python -m rsvl.benchmarks.laboratory.released_checkpoints ORACLES --precision fp32

For each model of LAVT's family, and for CRIS, an oracle ``NAME.npz`` holds what the authors' code answered to made
weights (`oracle_recipe`). Here these weights are written to a file as the authors' training writes it; `rsvl.load`
reads that file as it would read a downloaded one; PyTorch, and the exported bundle in ONNX Runtime, must give the same
logits.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from rsvl.benchmarks.laboratory import oracle_recipe
from rsvl.checkpoints import load
from rsvl.cli.console import print_json, print_table, progress

MODELS = ("lavt", "lgce", "rmsin", "fianet", "cadformer", "cris", "cris-r101")
MAX_DIFFERENCE, MIN_IOU = 0.002, 0.999
_FILES = {"cris": "cris-r50"}  # an oracle named otherwise than its preset
_STEP, _CRIS_STEP = 8, 2  # oracles hold every 8th pixel of the image, or every second of CRIS's logits
_CRIS_SIDE = 416


def main(
    oracles: Annotated[Path, typer.Argument(metavar="ORACLES", help="The folder with NAME.npz.")],
    only: Annotated[list[str] | None, typer.Option("--only", metavar="MODEL", help="Repeatable.")] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", metavar="PRECISION", help="Also export: fp32, fp16.")
    ] = None,
    apart: Annotated[bool, typer.Option("--apart", help="BERT apart, as LAVT's first files have it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Compare released checkpoints with their authors' code."""
    rows = []
    with progress("comparing") as report:
        for index, name in enumerate(only or MODELS):
            report(index, len(only or MODELS), name)
            rows.append(compare(name, np.load(oracles / f"{_FILES.get(name, name)}.npz"), precision or [], apart))
    if json:
        print_json({"checkpoints": rows})
    else:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        print_table(columns, [[str(row.get(column, "")) for column in columns] for row in rows])
    raise typer.Exit(0 if all(row["equal"] for row in rows) else 1)


def compare(name: str, oracle: Any, precisions: list[str], apart: bool = False) -> dict[str, Any]:
    """One model's answers beside the oracle's: the largest difference of logits and the masks' IoU.

    Args:
        name: the model.
        oracle: its oracle file.
        precisions: in which to export it, too.
        apart: whether BERT lies apart in the checkpoint.
    """
    file = "state_dict" if _is_cris(oracle) else "bert_model apart" if apart else "model"
    found: dict[str, Any] = {"model": name, "file": file}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model_best_{name}.pth"
        write_released(oracle, path, apart)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = load(name, path)
        found["left out"] = "; ".join(str(each.message).partition("entries left out, ")[2] for each in said)
        inputs = inputs_of(oracle)
        with torch.no_grad():
            features = [model.encode_image(inputs["image"]), model.encode_text(*list(inputs.values())[1:])]
            found |= _agreement("pytorch", oracle, model.head(*features[0], *features[1])[0].numpy())
        for precision in precisions:
            from rsvl.export import export
            from rsvl.runtime import load as open_bundle

            bundle = Path(folder) / f"{name}-{precision}"
            export(model, bundle, precision)
            answer = open_bundle(bundle, "cpu").run(**{key: value.numpy() for key, value in inputs.items()})
            found |= _agreement(precision, oracle, answer["mask_logits"])
    found["equal"] = all(
        found[f"{kind} difference"] <= MAX_DIFFERENCE and found[f"{kind} IoU"] >= MIN_IOU
        for kind in ("pytorch", *(kind for kind in precisions if kind == "fp32"))
    )
    return found


def inputs_of(oracle: Any) -> dict[str, Tensor]:
    """The raw inputs that an oracle was asked with, in the order of the model's declaration."""
    image = torch.from_numpy(oracle_recipe.image(int(oracle["input_seed"])))
    if _is_cris(oracle):
        image = image[:, :, :_CRIS_SIDE, :_CRIS_SIDE]
    inputs = {"image": image, "tokens": torch.from_numpy(oracle["tokens"])}
    if "object_mask" in oracle:
        inputs["marks"] = torch.from_numpy(np.stack([oracle["object_mask"], oracle["place_mask"]], 1)).long()
    return inputs


def write_released(oracle: Any, path: Path, apart: bool) -> None:
    """A checkpoint as the authors' training writes it, with an optimizer's two moments of every weight."""
    model = {name: torch.from_numpy(np.asarray(value)) for name, value in oracle_recipe.weights(oracle)}
    moments = {i: {"exp_avg": value, "exp_avg_sq": value} for i, value in enumerate(model.values())}
    optimizer = {"state": moments, "param_groups": [{"lr": 5e-5, "params": list(moments)}]}
    if _is_cris(oracle):
        torch.save(_cris_file(model, optimizer), path)
        return
    file: dict[str, Any] = {
        "model": model,
        "optimizer": optimizer,
        "epoch": 39,
        "args": argparse.Namespace(model="lavt_one", window12=True, img_size=480),
        "lr_scheduler": {"last_epoch": 39},
    }
    if apart:
        bert = "text_encoder."
        file["bert_model"] = {key.removeprefix(bert): value for key, value in model.items() if key.startswith(bert)}
        file["model"] = {key: value for key, value in model.items() if not key.startswith(bert)}
    torch.save(file, path)


def _is_cris(oracle: Any) -> bool:
    return "mask_bias" in oracle


def _cris_file(model: dict[str, Tensor], optimizer: dict[str, Any]) -> dict[str, Any]:
    return {
        "epoch": 50,
        "cur_iou": 0.69,
        "best_iou": 0.7,
        "prec": {"Pr@50": 0.8},
        "state_dict": {f"module.{name}": value for name, value in model.items()},
        "optimizer": optimizer,
        "scheduler": {"milestones": Counter({35: 1}), "gamma": 0.1, "last_epoch": 50},
    }


def _agreement(kind: str, oracle: Any, logits: np.ndarray) -> dict[str, float]:
    theirs, step = oracle["logits"], _CRIS_STEP
    if not _is_cris(oracle):
        theirs, step = theirs[:, 1:] - theirs[:, :1], _STEP
    ours = logits[:, :, ::step, ::step].astype(np.float32)
    both, either = ((theirs > 0) & (ours > 0)).sum(), ((theirs > 0) | (ours > 0)).sum()
    return {
        f"{kind} difference": float(f"{np.abs(theirs - ours).max():.3g}"),
        f"{kind} IoU": float(f"{both / either:.5f}"),
    }


if __name__ == "__main__":
    typer.run(main)

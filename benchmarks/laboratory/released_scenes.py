"""Released scene classifiers against their authors' code.

python -m rsvl.benchmarks.laboratory.released_scenes ORACLES --precision fp32

For each model an oracle, ``NAME.npz``, holds what the authors' code answered to made weights (`scene_recipe`). Here
these weights are written to a file as the authors' training writes it; `rsvl.load` reads that file as it would read a
downloaded one; PyTorch, and the exported bundle in ONNX Runtime, must give the same logits. The
shuffles of RSMamba and AFM-Net, which their authors draw anew at every call, are the oracle's.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from rsvl.benchmarks.laboratory import scene_recipe
from rsvl.benchmarks.markdown import markdown_table
from rsvl.checkpoints import load

#: Each model, and what its authors' training writes beside the weights.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "lwganet-l0": ("model", {"optimizer": {}, "epoch": 299}),
    "lwganet-l2": ("model", {"optimizer": {}, "epoch": 296}),
    "rsmamba-b": ("state_dict", {"meta": {"epoch": 500}, "message_hub": {}, "optimizer": {}, "param_schedulers": []}),
    "afm-net": ("state_dict", {"epoch": 500, "optimizer": {}, "scheduler": {}, "best_val_f1_score": 0.9}),
}
MAX_DIFFERENCE = 1e-4
_HEADER = ["model", "entries", "left out", "computed by", "largest logit", "largest difference", "in a batch of two"]


def main(
    oracles: Annotated[Path, typer.Argument(metavar="ORACLES", help="The folder with NAME.npz.")],
    only: Annotated[list[str] | None, typer.Option("--only", metavar="MODEL", help="Repeatable.")] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", metavar="PRECISION", help="Also export: fp32, fp16.")
    ] = None,
) -> None:
    """Print the largest differences as a Markdown table; exit code 1 where one in float32 exceeds 1e-4."""
    rows = []
    for name in only or MODELS:
        rows += compare(name, np.load(oracles / f"{name}.npz"), precision or [])
    print(markdown_table(_HEADER, [[str(cell) for cell in row.values()] for row in rows], words=4))
    exact = [row for row in rows if row["computed by"] != "fp16"]
    raise typer.Exit(0 if all(float(row["difference"]) <= MAX_DIFFERENCE for row in exact) else 1)


def compare(name: str, oracle: Any, precisions: list[str]) -> list[dict[str, Any]]:
    """One model's logits beside the oracle's, a row for PyTorch and for each precision.

    Args:
        name: a key of `MODELS`.
        oracle: its oracle file.
        precisions: in which to export it, too.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "released.pth"
        wrapper, beside = MODELS[name]
        state = {key: torch.from_numpy(value.copy()) for key, value in scene_recipe.weights(oracle, _needed(oracle))}
        torch.save({wrapper: state, **beside}, path)
        entries = len(state)
        del state
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = load(name, path)
        path.unlink()
        if "shuffled" in oracle:
            encoder = model.image_encoder if hasattr(model, "image_encoder") else model.mamba
            encoder.set_orders(torch.from_numpy(scene_recipe.shuffles(oracle)))
        left = "; ".join(str(each.message).partition("entries left out, ")[2] for each in said)
        about = {"model": name, "entries": entries, "left out": left or "none"}
        seed = int(oracle["input_seed"])
        images = np.concatenate([scene_recipe.image(seed), scene_recipe.image(seed + 1)])
        with torch.no_grad():
            answers = {"PyTorch": model(torch.from_numpy(images)).numpy()}
        for precision in precisions:
            from rsvl.export import export
            from rsvl.runtime import load as open_bundle

            bundle = Path(folder) / precision
            export(model, bundle, precision)
            answers[precision] = open_bundle(bundle, "cpu").run(image=images)["logits"]
    return [{**about, "computed by": by, **_agreement(oracle, logits)} for by, logits in answers.items()]


def _needed(oracle: Mapping[str, Any]) -> Any:
    """Of AFM-Net's experts only those that the oracle's images use; the others stay zero."""
    if "experts" not in oracle:
        return lambda name: True
    used = {int(expert) for key in ("experts", "experts_second") for expert in oracle[key].ravel()}

    def needed(name: str) -> bool:
        expert = re.search(r"\.experts\.(\d+)\.", name)
        return expert is None or int(expert[1]) in used

    return needed


def _agreement(oracle: Mapping[str, Any], logits: np.ndarray) -> dict[str, str]:
    first, second = (oracle[key].reshape(-1) for key in ("logits", "logits_second"))
    return {
        "largest": f"{np.abs(first).max():.2f}",
        "difference": f"{np.abs(logits[0] - first).max():.1e}",
        "second": f"{np.abs(logits[1] - second).max():.1e}",
    }


if __name__ == "__main__":
    typer.run(main)

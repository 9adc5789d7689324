"""A small OptiSAR-Net++ of the released kind, and its weights in the layout that its authors publish."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from rsvl.models.optisar.network import Scale
from rsvl.models.optisar.released import OptiSARNetPlusPlus, Preset

SMALL = Preset(96, Scale(0.5, 0.25, 256, nested=False, experts=4, rank=3, embed_dim=24), 9, (32, 1, 2), 1024, 12)

_PREFIXES = {
    "trunk.layers.": "model.",
    "neck.merge.": "model.13.",
    **{f"neck.fuse{8 << i}.": f"model.{16 + 3 * i}." for i in range(3)},
    **{f"neck.down{16 << i}.": f"model.{17 + 3 * i}." for i in range(2)},
    **{
        f"heads.{i}.{ours}.": f"model.23.{theirs}.{i}."
        for i in range(3)
        for ours, theirs in (("box", "cv2"), ("embed", "cv3"), ("contrast", "cv4"), ("grid", "cv_region"))
    },
    "adapter.": "model.23.reprta.m.",
}


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module in evaluation mode with random numbers in every place, running statistics too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise * 0.3 + value * 0.5)
    return module.eval()


def random_weights(seed: int = 3, rank: int = 3) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random weights of `SMALL` with experts of a rank, in our names: the network's, and the text tower's own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = OptiSARNetPlusPlus("test", replace(SMALL, scale=replace(SMALL.scale, rank=rank)))
    state, tower = randomised(network, seed).state_dict(), "text_encoder."
    return (
        {key: value for key, value in state.items() if not key.startswith(tower)},
        {key.removeprefix(tower): value for key, value in state.items() if key.startswith(tower)},
    )


def in_published_names(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights by the names that the authors' checkpoint gives them."""
    theirs = {}
    for key, value in ours.items():
        prefix = next(prefix for prefix in _PREFIXES if key.startswith(prefix))
        name = _PREFIXES[prefix] + key.removeprefix(prefix)
        theirs[name.replace("_up", "_A").replace("_down", "_B") if ".lora" in name else name] = value
    return theirs


def write_published(folder: Path, seed: int = 3) -> tuple[Path, Path]:
    """Writes `best.pt` as within a training, weights of `seed` beside a moving average of the next, and `text.pt`."""
    (weights, tower), (average, _) = random_weights(seed), random_weights(seed + 1)
    checkpoint, text = folder / "best.pt", folder / "text.pt"
    torch.save({"epoch": 7, "model": in_published_names(weights), "ema": in_published_names(average)}, checkpoint)
    torch.save(tower, text)
    return checkpoint, text

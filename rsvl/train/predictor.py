"""A PyTorch referring segmenter as something that answers sentences about an image (`rsvl.evaluate.Predict`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from rsvl.evaluate import Predict
from rsvl.runtime.image import preprocess
from rsvl.runtime.text import Tokenizer


def torch_predictor(model: Any) -> Predict:
    """Wraps a referring segmenter for `rsvl.evaluate.evaluate`; puts it into evaluation mode.

    The image is encoded once for all its sentences. Logits are resized to the image bilinearly and a pixel belongs to
    the mask where its probability is above the model's `spec.threshold`, as in the runtime.

    Args:
        model: a module with `spec`, `tokenizer_json()` and ``model(images [B, 3, S, S], tokens [N, T], image_index
            [N])`` giving mask logits [N, 1, h, w]; it runs on the device that holds its parameters.
    """
    model.eval()
    spec = model.spec
    device = next(model.parameters()).device
    tokenize = Tokenizer.from_file(model.tokenizer_json(), spec.words)

    @torch.inference_mode()
    def predict(image: np.ndarray, sentences: Sequence[str]) -> Sequence[np.ndarray]:
        pixels = torch.from_numpy(preprocess(image, spec.image))[None].to(device)
        tokens = torch.from_numpy(tokenize(sentences)).to(device)
        image_index = torch.zeros(len(sentences), dtype=torch.long, device=device)
        logits = model(pixels, tokens, image_index).float()
        # One sentence at a time: the full-size logits of many sentences on a large image would not fit in memory.
        return [_resized(each, image.shape[:2]).sigmoid().gt(spec.threshold).cpu().numpy() for each in logits]

    return predict


def _resized(logits: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """From [1, h, w] to [H, W]."""
    return functional.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0, 0]

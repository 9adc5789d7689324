"""A PyTorch model as a predictor for the evaluation."""

from pathlib import Path

import numpy as np
import tokenizers
import torch
from PIL import Image
from torch import Tensor, nn

from rsvl.data import ImageRecord
from rsvl.runtime.manifest import ImageSpec, ModelSpec, TextSpec
from rsvl.tasks.segmentation.training import torch_predictor

WORDS = {"[UNK]": 0, "red": 1, "green": 2, "blue": 3}


class _ColourModel(nn.Module):
    """Segments the colour that the sentence names: logits are that channel, zero at its mean."""

    def __init__(self, size: int, threshold: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))
        self.encoded = 0
        image = ImageSpec(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        text = TextSpec(tokens=2, pad=0)
        self.spec = ModelSpec("colour", "referring-segmentation", "", (image,), text, (), threshold)

    def tokenizer_json(self) -> str:
        return tokenizers.Tokenizer(tokenizers.models.WordLevel(WORDS, "[UNK]")).to_str()

    def forward(self, images: Tensor, tokens: Tensor, image_index: Tensor) -> Tensor:
        assert not self.training
        self.encoded += len(images)
        rows = torch.arange(len(tokens))
        return (self.gain * images)[image_index][rows, tokens[:, 0] - 1][:, None]


def _pixels(height: int, width: int) -> np.ndarray:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, :, 0] = 255
    pixels[:, : width // 2, 2] = 255
    return pixels


def _record(pixels: np.ndarray, folder: Path) -> ImageRecord:
    Image.fromarray(pixels).save(folder / "image.png")
    return ImageRecord(folder / "image.png", pixels.shape[1], pixels.shape[0], ())


def test_each_sentence_gets_its_mask_at_the_images_size(tmp_path: Path) -> None:
    model = _ColourModel(64, threshold=0.5)
    pixels = _pixels(128, 96)
    masks = torch_predictor(model)(_record(pixels, tmp_path), ["red", "blue", "green"])
    assert [(mask.shape, mask.dtype) for mask in masks] == [((128, 96), bool)] * 3
    for mask, channel in zip(masks, (0, 2, 1), strict=True):
        assert (mask == (pixels[:, :, channel] > 127)).mean() > 0.98
    assert model.encoded == 1


def test_threshold_is_the_specs_probability(tmp_path: Path) -> None:
    """A ramp of probabilities is cut where it passes the threshold."""
    ramp = np.linspace(0, 255, 256).round().astype(np.uint8)
    pixels = np.repeat(np.repeat(ramp[None], 256, axis=0)[..., None], 3, axis=2)
    record = _record(pixels, tmp_path)
    for threshold in (0.2, 0.5, 0.8):
        mask = torch_predictor(_ColourModel(256, threshold))(record, ["red"])[0]
        probability = 1 / (1 + np.exp(-8.0 * (ramp / 255 - 0.5) / 0.5))
        np.testing.assert_array_equal(mask[0], probability > threshold)

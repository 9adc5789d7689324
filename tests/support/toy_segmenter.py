"""A toy referring segmenter in three graphs, small enough to export in a second or two, and its samples."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.bases.segmentation import ReferringSegmenter, segmentation_graphs
from rsvl.modules.layers.rotated_conv import RotatedConv2d
from rsvl.modules.tokenizers.words import train_tokenizer
from rsvl.runtime.manifest import ImageSpec, ModelSpec, TensorSpec, TextSpec

SIZE, TOKENS, VOCABULARY, WIDTH, LAYERS = 64, 12, 300, 16, 4
TOKENIZER = train_tokenizer(
    ["the white ship by the long pier", "a red car on the road", "one storage tank"], VOCABULARY
)


class ToySegmenter(ReferringSegmenter):
    """Convolutions for the image, an embedding for the text, two layers chosen by the sentence, a rotated head."""

    def __init__(self) -> None:
        super().__init__()
        image = ImageSpec(size=SIZE, mean=(0.45,) * 3, std=(0.27,) * 3)
        side = SIZE // 4
        image_features = [TensorSpec("layers", ("batch", LAYERS, WIDTH, side, side))]
        text_features = [TensorSpec("sentence", ("batch", WIDTH))]
        self.spec = ModelSpec(
            name="toy",
            task="referring-segmentation",
            paper="none",
            images=(image,),
            text=TextSpec(tokens=TOKENS),
            graphs=segmentation_graphs(image, TOKENS, image_features, text_features, side),
            threshold=0.4,
        )
        self.patch = nn.Conv2d(3, WIDTH, 4, 4)
        self.blocks = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(LAYERS))
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.score = nn.Linear(WIDTH, LAYERS)
        self.route = nn.Linear(WIDTH, 4)
        self.turn = RotatedConv2d(2 * WIDTH, WIDTH, 3, bases=2)
        self.out = nn.Conv2d(WIDTH, 1, 1)

    def encode_image(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.patch(image)
        layers = []
        for block in self.blocks:
            x = x + F.gelu(block(x))
            layers.append(x)
        return (torch.stack(layers, dim=1),)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        is_word = torch.arange(tokens.shape[1], device=tokens.device) <= tokens.argmax(1, keepdim=True)
        words = self.embed(tokens) * is_word[:, :, None].to(self.embed.weight.dtype)
        return (self.norm(words.sum(1)),)

    def chosen(self, sentence: Tensor) -> Tensor:
        """Indices [B, 2] of the layers that a sentence chooses, the lower first."""
        return self.score(sentence).topk(2, dim=1).indices.sort(dim=1).values

    def head(self, *features: Tensor) -> tuple[Tensor]:
        layers, sentence = features
        index = self.chosen(sentence)[:, :, None, None, None].expand(-1, -1, *layers.shape[2:])
        x = layers.gather(1, index).flatten(1, 2)
        angle, gate = self.route(sentence).chunk(2, dim=1)
        return (self.out(F.gelu(self.turn(x, angle, gate.sigmoid()))),)

    def tokenizer_json(self) -> str:
        return TOKENIZER


def raw_samples() -> dict[str, np.ndarray]:
    """Eight raw inputs for the toy."""
    rng = np.random.default_rng(0)
    tokens = np.zeros((8, TOKENS), np.int64)
    for row, words in zip(tokens, range(2, 10), strict=True):
        row[:words] = rng.integers(1, VOCABULARY - 30, words)
        row[words] = VOCABULARY - 1
    return {"image": rng.normal(size=(8, 3, SIZE, SIZE)).astype(np.float32), "tokens": tokens}

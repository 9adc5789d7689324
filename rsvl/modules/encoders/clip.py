"""CLIP's image and text encoders on the modules of transformers, with every layer's output at hand.

The state-dict keys are those of transformers' ``CLIPModel`` (``vision_model.*``, ``visual_projection``,
``text_model.*``, ``text_projection``), so that a Hugging Face checkpoint loads as it is and others by key conversion
(`rsvl.modules.encoders.clip_keys`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from rsvl.modules.encoders.clip_configuration import ACTIVATIONS, told_of_images, told_of_text
from rsvl.modules.encoders.clip_keys import convert_clip, convert_text_tower, fit_positions, image_part, is_clip
from rsvl.modules.encoders.position import grid_position
from rsvl.modules.encoders.published import Configuration, Told, settings_of, with_settings, with_weights_of
from rsvl.modules.encoders.stem import ConvStem

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

#: (width, layers, heads) of a transformer; its feed-forward layers are four times as wide.
Size = tuple[int, int, int]


def vision_config(size: Size, image_size: int, patch: int, activation: str = "quick_gelu") -> CLIPVisionConfig:
    """Configures transformers' CLIP as a vision transformer over square images of `image_size` pixels.

    `activation` is "quick_gelu", which OpenAI's weights and most made from them need, or "gelu", open_clip's own.
    """
    width, layers, heads = size
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=image_size,
        patch_size=patch,
        hidden_act=activation,
    )
    config._attn_implementation = "sdpa"
    return config


def text_config(size: Size, tokens: int, vocabulary: int, activation: str = "quick_gelu") -> CLIPTextConfig:
    """Configures transformers' CLIP as a text transformer over sentences of `tokens` ids out of `vocabulary`."""
    width, layers, heads = size
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        vocab_size=vocabulary,
        max_position_embeddings=tokens,
        hidden_act=activation,
        bos_token_id=None,
        eos_token_id=None,
    )
    config._attn_implementation = "sdpa"
    return config


_KIND = "a CLIP with a vision transformer or a CLIP's text tower (of OpenAI, open_clip, Hugging Face or Apple)"


class CLIPImageEncoder(nn.Module):
    """CLIP's vision transformer, giving the tokens of every layer.

    Args:
        config: transformers' configuration.
        embed_dim: width of the space shared with the text.
        stem: replaces the single patch convolution when given; its last map must be ``hidden_size`` wide.
    """

    kind: ClassVar[str] = _KIND

    def __init__(self, config: CLIPVisionConfig, embed_dim: int, stem: ConvStem | None = None) -> None:
        super().__init__()
        self.vision_model = _vision_model(config, stem)
        self.visual_projection = nn.Linear(config.hidden_size, embed_dim, bias=False)
        self.stem = stem

    def forward(self, image: Tensor, stem: ConvStem | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Encodes images.

        Args:
            image: float [B, 3, S, S], normalised.
            stem: embeds the patches in place of the encoder's own, as for the images of another sensor.

        Returns:
            The tokens [B, 1 + N, D] after each layer, class token first; and the stem's maps before the last
            (empty without a stem).
        """
        stem = stem if stem is not None else self.stem
        maps = stem(image) if stem is not None else [self.vision_model.embeddings.patch_embedding(image)]
        x = self.vision_model.pre_layrnorm(self._tokens(maps[-1]))
        states = []
        for layer in self.vision_model.encoder.layers:
            x = layer(x, None)
            states.append(x)
        return states, maps[:-1]

    def start_positions(self) -> None:
        """Tells places apart by sines and cosines from the start, for training without a checkpoint."""
        positions = self.vision_model.embeddings.position_embedding.weight
        side = math.isqrt(positions.shape[0] - 1)
        with torch.no_grad():
            positions[1:] = grid_position(positions.shape[1], side).flatten(1).T / 2

    def embed(self, image: Tensor) -> Tensor:
        """The embeddings [B, E] of images float [B, 3, S, S], normalised pixels."""
        return self.embedding(self(image)[0][-1])

    def embedding(self, tokens: Tensor) -> Tensor:
        """The image's embedding [B, E]: the last layer's class token, from tokens [B, 1 + N, D], projected."""
        return self.visual_projection(self.vision_model.post_layernorm(tokens[:, 0]))

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The encoder's weights from a published CLIP, its positions fitted; None where it is something else."""
        if not is_clip(state):
            return None
        tokens = self.vision_model.embeddings.position_embedding.num_embeddings
        return fit_positions(image_part(convert_clip(state)), vision_tokens=tokens)

    def told(self, state: Mapping[str, Tensor], configuration: Configuration) -> Told:
        """See `ConfiguredEncoder`; of Hugging Face's and open_clip's configurations."""
        return told_of_images(state, configuration)

    def settings(self) -> dict[str, str]:
        """See `ConfiguredEncoder`: `heads`, `layer_norm_eps` and `activation`."""
        return settings_of(self.vision_model.config)

    def configure(self, settings: Mapping[str, str]) -> None:
        """See `ConfiguredEncoder`."""
        config = with_settings(self.vision_model.config, settings, ACTIVATIONS)
        if config is not None:
            self.vision_model = with_weights_of(self.vision_model, _vision_model(config, self.stem))

    def _tokens(self, patches: Tensor) -> Tensor:
        embeddings = self.vision_model.embeddings
        patches = patches.flatten(2).transpose(1, 2)
        start = embeddings.class_embedding.expand(patches.shape[0], 1, -1).to(patches.dtype)
        return torch.cat([start, patches], dim=1) + embeddings.position_embedding.weight


class CLIPTextEncoder(nn.Module):
    """CLIP's text transformer.

    Args:
        config: transformers' configuration.
        embed_dim: width of the space shared with the image.
    """

    kind: ClassVar[str] = _KIND

    def __init__(self, config: CLIPTextConfig, embed_dim: int) -> None:
        super().__init__()
        self.text_model = CLIPTextModel(config)
        self.text_projection = nn.Linear(config.hidden_size, embed_dim, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes sentences.

        Args:
            tokens: int64 [B, T]; the end token has the highest id, what follows it is padding.

        Returns:
            Word embeddings [B, T, D], the sentence embedding [B, E] (that of the end token, projected), and which
            tokens are words, bool [B, T].
        """
        text = self.text_model
        x = text.embeddings(input_ids=tokens)
        for layer in text.encoder.layers:
            x = layer(x, None, is_causal=True)
        words = text.final_layer_norm(x)
        end = tokens.argmax(dim=-1)
        is_word = torch.arange(tokens.shape[1], device=tokens.device) <= end[:, None]
        return words, self.sentence(words, end), is_word

    def sentence(self, words: Tensor, end: Tensor) -> Tensor:
        """The sentence embedding [B, E]: the word [B, T, D] at the end token's position [B], projected."""
        return self.text_projection(words[torch.arange(words.shape[0], device=words.device), end])

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The encoder's weights from a published CLIP or text tower, its positions fitted; None for anything else."""
        tower = convert_text_tower(state)
        tokens = self.text_model.embeddings.position_embedding.num_embeddings
        return None if tower is None else fit_positions(tower, text_tokens=tokens)

    def told(self, state: Mapping[str, Tensor], configuration: Configuration) -> Told:
        """See `ConfiguredEncoder`; of Hugging Face's and open_clip's configurations."""
        return told_of_text(state, configuration)

    def settings(self) -> dict[str, str]:
        """See `ConfiguredEncoder`: `heads`, `layer_norm_eps` and `activation`."""
        return settings_of(self.text_model.config)

    def configure(self, settings: Mapping[str, str]) -> None:
        """See `ConfiguredEncoder`."""
        config = with_settings(self.text_model.config, settings, ACTIVATIONS)
        if config is not None:
            self.text_model = with_weights_of(self.text_model, CLIPTextModel(config))


def _vision_model(config: CLIPVisionConfig, stem: ConvStem | None) -> CLIPVisionModel:
    model = CLIPVisionModel(config)
    if stem is not None:
        model.embeddings.patch_embedding = nn.Identity()  # type: ignore[assignment]
    return model

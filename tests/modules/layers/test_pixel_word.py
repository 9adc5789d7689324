"""Pixel–word attention, gates and losses of the early-fusion models against formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.models.cadformer import TransformerLayer, WordPixelAttention
from rsvl.modules.layers.attention import Attention
from rsvl.modules.layers.pixel_word import PWAM, LanguageGate, PixelWordAttention, instance_norm
from rsvl.modules.losses.masks import two_class_dice_loss, weighted_cross_entropy

PIXELS, WORDS, WIDTH, WORD_WIDTH = 12, 5, 8, 6
# The second sentence has two words; what stands behind them is padding.
PADDING = torch.tensor([[0.0] * 5, [0.0] * 2 + [-1e4] * 3])


def inputs() -> tuple[Tensor, Tensor]:
    """Pixels [2, 12, 8] and words [2, 5, 6]."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, PIXELS, WIDTH), (2, WORDS, WORD_WIDTH))
    pixels, words = (torch.randn(shape, generator=generator) for shape in shapes)
    return pixels, words


def linear(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    bias = 0 if layer.bias is None else layer.bias.detach().double().numpy()
    return x @ layer.weight.detach().double().numpy().T + bias


def norm(x: np.ndarray) -> np.ndarray:
    """Over the places of one sample [N, C]."""
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def softmax(scores: np.ndarray) -> np.ndarray:
    exponent = np.exp(scores - scores.max(-1, keepdims=True))
    return exponent / exponent.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    return F.gelu(torch.from_numpy(x)).numpy()


def pixel_word(layer: PixelWordAttention, x: np.ndarray, words: np.ndarray) -> np.ndarray:
    """LAVT's formula for one sample without padding."""
    scores = norm(linear(layer.query, x)) @ linear(layer.key, words).T / np.sqrt(WIDTH)
    return norm(linear(layer.out, softmax(scores) @ linear(layer.value, words)))


@pytest.mark.parametrize(("sample", "words"), [(0, 5), (1, 2)])
def test_pixel_word_attention_is_lavts_formula_over_the_words_alone(sample: int, words: int) -> None:
    torch.manual_seed(1)
    layer = PixelWordAttention(WIDTH, WORD_WIDTH)
    x, word_features = inputs()
    found = layer(x, word_features, PADDING)[sample].detach().numpy()
    expected = pixel_word(layer, x[sample].double().numpy(), word_features[sample, :words].double().numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("sample", "words"), [(0, 5), (1, 2)])
def test_word_pixel_attention_is_cadformers_formula_normalised_over_the_words_alone(sample: int, words: int) -> None:
    torch.manual_seed(2)
    layer = WordPixelAttention(WORD_WIDTH, WIDTH)
    x, word_features = inputs()
    found = layer(word_features, x, PADDING)[sample, :words].detach().numpy()
    pixels, said = x[sample].double().numpy(), word_features[sample, :words].double().numpy()
    scores = linear(layer.query, said) @ norm(linear(layer.key, pixels)).T / np.sqrt(WORD_WIDTH)
    expected = norm(linear(layer.out, softmax(scores) @ norm(linear(layer.value, pixels))))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_pwam_multiplies_what_a_pixel_hears_with_what_it_is() -> None:
    torch.manual_seed(3)
    layer = PWAM(WIDTH, WORD_WIDTH)
    x, words = inputs()
    pixels = x[0].double().numpy()
    heard = pixel_word(layer.attention, pixels, words[0].double().numpy())
    expected = gelu(linear(layer.merge, gelu(linear(layer.project, pixels)) * heard))
    np.testing.assert_allclose(layer(x, words, PADDING)[0].detach(), expected, rtol=1e-4, atol=1e-5)


def test_language_gate_is_a_tanh_perceptron_times_its_input() -> None:
    torch.manual_seed(4)
    gate = LanguageGate(WIDTH)
    x = inputs()[0]
    pixels = x.double().numpy()
    expected = np.tanh(linear(gate.mlp[2], np.maximum(linear(gate.mlp[0], pixels), 0))) * pixels
    np.testing.assert_allclose(gate(x).detach(), expected, rtol=1e-4, atol=1e-6)


def test_instance_norm_is_pytorchs() -> None:
    x = inputs()[0]
    torch.testing.assert_close(instance_norm(x), F.instance_norm(x.transpose(1, 2)).transpose(1, 2))


def test_instance_norm_of_what_is_the_same_everywhere_is_zero() -> None:
    same = torch.tensor([1 / 3, 0.9, -1.0, 100.1]).expand(1, 14400, 4)  # as where a pixel attends to a single word
    torch.testing.assert_close(instance_norm(same), torch.zeros_like(same), rtol=0, atol=0)


def test_instance_norm_in_half_precision_survives_large_values() -> None:
    x = inputs()[0] * 3e3
    torch.testing.assert_close(instance_norm(x.half()).float(), instance_norm(x), rtol=0, atol=5e-3)


def test_transformer_layer_is_pytorchs_decoder_layer_between_two_linear_layers() -> None:
    torch.manual_seed(5)
    ours = TransformerLayer(width=4, words=8, heads=2, hidden=16).eval()
    theirs = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True).eval()
    for attention, copy in ((ours.self_attention, theirs.self_attn), (ours.cross_attention, theirs.multihead_attn)):
        _copy_attention(attention, copy)
    for a, b in zip(("norm1", "norm2", "norm3"), ("norm1", "norm2", "norm3"), strict=True):
        getattr(theirs, b).load_state_dict(getattr(ours, a).state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward[2].state_dict())
    x, words = torch.randn(2, 4, 3, 3), torch.randn(2, 5, 8)
    tokens = theirs(ours.enter(x.flatten(2).transpose(1, 2)), words, memory_key_padding_mask=PADDING < 0)
    expected = ours.leave(tokens).transpose(1, 2).unflatten(2, (3, 3))
    torch.testing.assert_close(ours(x, words, PADDING), expected, rtol=1e-4, atol=1e-5)


def _copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def two_classes() -> tuple[Tensor, Tensor]:
    """Logits [3, 2, 9, 9] in float64 and classes [3, 9, 9]."""
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(3, 2, 9, 9, generator=generator, dtype=torch.float64) * 2
    return logits, (torch.rand(3, 9, 9, generator=generator) > 0.7).long()


def test_weighted_cross_entropy_of_the_difference_is_pytorchs_of_two_classes() -> None:
    logits, classes = two_classes()
    expected = F.cross_entropy(logits, classes, weight=torch.tensor([0.9, 1.1], dtype=torch.float64))
    found = weighted_cross_entropy(logits[:, 1:] - logits[:, :1], classes[:, None].double())
    torch.testing.assert_close(found, expected)


def test_two_class_dice_is_the_mean_of_both_classes() -> None:
    logits, classes = two_classes()
    target = F.one_hot(classes, 2).permute(0, 3, 1, 2)
    probability = logits.softmax(1)
    dice = 2 * (probability * target).sum((2, 3)) / (probability + target).sum((2, 3))
    found = two_class_dice_loss(logits[:, 1:] - logits[:, :1], classes[:, None].double())
    torch.testing.assert_close(found, (1 - dice).mean(1), rtol=1e-6, atol=1e-6)

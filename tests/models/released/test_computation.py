"""What released code computes otherwise than its paper says, against formulas that are written out anew.

The whole networks are held to their authors' answers by `rsvl.benchmarks.laboratory.released_checkpoints`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.models.cadformer import ReleasedWordPixelAttention, TransformerLayer
from rsvl.models.lgce import GuidedEnhancement, SelfAttentionBlock
from rsvl.modules.bases.early_fusion import EarlyFusionSegmenter
from rsvl.modules.layers.cross_scale import CrossScaleAttention
from tests.support.small_fusion import images, sentences, small_model


def randomised(module: nn.Module) -> nn.Module:
    """The module in float64 and evaluation mode, every parameter and statistic random."""
    generator = torch.Generator().manual_seed(0)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 0.4
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.add_(1)
    return module.double().eval()


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def test_released_cross_scale_attention_reads_cells_as_channels() -> None:
    side, heads, key = 4, 2, 3
    layer = randomised(CrossScaleAttention(5, side, heads, key, "released"))
    x = drawn(2, 5, side, side)
    normed = layer.norm(x)
    cells = torch.cat([s.flatten(2) for s in (normed, layer.scale2(normed), layer.scale3(normed))], 2).transpose(1, 2)
    mixed = layer.query_key_value_norm(layer.query_key_value(cells).transpose(1, 2)).transpose(1, 2).numpy()
    count, places, depth = cells.shape[1], side * side, 2 * key
    for sample in range(2):
        per_head = mixed[sample].reshape(count, heads, 4 * key)
        read = np.empty((count, heads, depth))
        values = np.empty((heads, count, depth))
        for head in range(heads):
            q, k, v = np.split(per_head[:, head], [key, 2 * key], axis=1)
            scores = np.exp(q @ k.T / np.sqrt(key))
            read[:, head], values[head] = scores / scores.sum(1, keepdims=True) @ v, v
        memory = torch.from_numpy(read.reshape(-1)[:].reshape(heads * depth, count))  # no transpose
        own = torch.from_numpy(values[:, :places].reshape(-1).reshape(1, heads * depth, side, side))
        joined = layer.positions(memory) + layer.value_conv(F.hardswish(own))[0].flatten(1)
        expected = layer.out(joined.T).T.reshape(1, 5, side, side)
        expected = layer.out_conv(F.hardswish(layer.out_norm(expected)))[0]
        torch.testing.assert_close(layer(x)[sample], expected)


@torch.no_grad()
def test_the_papers_cross_scale_attention_is_another_computation() -> None:
    released, paper = (randomised(CrossScaleAttention(5, 4, 2, 3, kind)) for kind in ("released", "paper"))
    x = drawn(1, 5, 4, 4)
    assert (released(x) - paper(x)).abs().max() > 0.1


@torch.no_grad()
def test_lgce_lets_the_mean_of_all_tokens_guide_self_attention() -> None:
    layer = randomised(GuidedEnhancement(6, (8, 12), (2, 3), (1, 2)))
    levels, words = [drawn(2, 8, 4, 4), drawn(2, 12, 2, 2)], drawn(2, 5, 6)
    found = layer(levels, words)
    for level, guide, blocks, enhanced in zip(levels, layer.guides, layer.blocks, found, strict=True):
        tokens = torch.cat([guide(words.sum(1, keepdim=True) / 5), level.flatten(2).transpose(1, 2)], 1)
        for block in blocks:
            tokens = encoder_layer(block)(tokens)
        torch.testing.assert_close(enhanced, tokens[:, 1:].transpose(1, 2).reshape(level.shape))


def encoder_layer(block: SelfAttentionBlock) -> nn.TransformerEncoderLayer:
    """PyTorch's own pre-normalised encoder layer with a block's weights."""
    width = block.norm1.normalized_shape[0]
    layer = nn.TransformerEncoderLayer(
        width, block.attention.heads, 2 * width, activation="gelu", batch_first=True, norm_first=True
    ).double()
    attention = block.attention
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat([attention.query.weight, attention.key_value.weight]),
            "self_attn.in_proj_bias": torch.zeros(3 * width),
            "self_attn.out_proj.weight": attention.out.weight,
            "self_attn.out_proj.bias": attention.out.bias,
            **{f"linear{i + 1}.{kind}": getattr(block.feed_forward[2 * i], kind) for i in (0, 1) for kind in KINDS},
            **{f"norm{i}.{kind}": getattr(block, f"norm{i}").__getattr__(kind) for i in (1, 2) for kind in KINDS},
        }
    )
    return layer.eval()


KINDS = ("weight", "bias")


def normed(x: np.ndarray) -> np.ndarray:
    """Over the first axis."""
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


@torch.no_grad()
def test_released_cadformers_words_get_the_mean_of_the_pixels_and_padding_one_of_them() -> None:
    layer = randomised(ReleasedWordPixelAttention(6, 4)).float()
    words, x = drawn(1, 5, 6).float(), drawn(1, 9, 4).float()
    bias = torch.tensor([[0.0, 0.0, 0.0, -1e4, -1e4]])
    query, key, value = (
        linear(t)[0].double().numpy()
        for linear, t in zip((layer.query, layer.key, layer.value), (words, x, x), strict=True)
    )
    key, value = normed(key), normed(value)
    attended = np.stack([value.mean(0)] * 3 + [value[np.argmin(key @ query[i])] for i in (3, 4)])
    expected = normed(attended @ layer.out.weight.double().numpy().T + layer.out.bias.double().numpy())
    np.testing.assert_allclose(layer(words, x, bias)[0].numpy(), expected, atol=1e-4)


@torch.no_grad()
def test_the_released_decoder_is_pytorchs_transformer_decoder_layer() -> None:
    ours = randomised(TransformerLayer(8, 8, 2, 16))
    theirs = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True).double().eval()
    joined = {
        f"{their}.in_proj_{kind}": torch.cat([getattr(layer.query, kind), getattr(layer.key_value, kind)])
        for their, layer in (("self_attn", ours.self_attention), ("multihead_attn", ours.cross_attention))
        for kind in KINDS
    }
    out = {
        f"{their}.out_proj.{kind}": getattr(layer.out, kind)
        for their, layer in (("self_attn", ours.self_attention), ("multihead_attn", ours.cross_attention))
        for kind in KINDS
    }
    forward = {f"linear{i + 1}.{kind}": getattr(ours.feed_forward[2 * i], kind) for i in (0, 1) for kind in KINDS}
    norms = {f"norm{i}.{kind}": getattr(getattr(ours, f"norm{i}"), kind) for i in (1, 2, 3) for kind in KINDS}
    theirs.load_state_dict({**joined, **out, **forward, **norms})
    x, words = drawn(2, 8, 3, 3), drawn(2, 5, 8)
    expected = theirs(x.flatten(2).transpose(1, 2), words).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(ours(x, words, None), expected)


def levels_of(model: EarlyFusionSegmenter, tokens: Tensor, marks: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
    """What the decoder gets before the cross-scale step, and the logits."""
    taken: list[Tensor] = []
    refine = model.refine
    model.refine = lambda levels, text: taken.extend(levels) or refine(levels, text)
    text = model.encode_text(tokens) if marks is None else model.encode_text(tokens, marks)
    logits = model.head(*model.encode_image(images(1)), *text)[0]
    model.refine = refine
    return taken, logits


@torch.no_grad()
def test_fianets_decoder_gets_the_context_alone() -> None:
    model = small_model("fianet")
    tokens, marks = sentences([5, 6, 7]), torch.zeros(1, 2, 9, dtype=torch.long)
    marks[0, 0, 1:3] = marks[0, 1, 3] = 1
    levels, _ = levels_of(model, tokens, marks)
    words, bias, *_ = model.encode_text(tokens)
    x = model.encode_image(images(1))[0]
    context = model.norms[0](model.context[0](x, words, bias))
    torch.testing.assert_close(levels[0], model.image_encoder.map(0, context))


@pytest.mark.parametrize("named", [[], [2]], ids=["no object word", "one object word"])
@torch.no_grad()
def test_fianets_object_and_place_are_silent_without_two_words_for_the_object(named: list[int]) -> None:
    # Attention to one word alone gives every pixel the same, and the norm over the pixels makes that zero.
    model = small_model("fianet")
    marks = torch.zeros(1, 2, 9, dtype=torch.long)
    marks[0, 0, named] = 1
    marks[0, 1, 3] = 1
    _, found = levels_of(model, sentences([5, 6, 7]), marks)
    for fiam in model.fiam:
        nn.init.zeros_(fiam.object_gate.mlp[2].weight)
    _, expected = levels_of(model, sentences([5, 6, 7]), marks)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_marks_of_a_caller_take_the_place_of_fianets_lists() -> None:
    model = small_model("fianet")
    tokens = sentences([*model.is_object.nonzero()[:2].flatten().tolist(), 7])
    listed = torch.zeros(1, 2, 9, dtype=torch.long)
    listed[0, 0, 1:3] = 1
    listed[0, 1] = (tokens[0] != 0).long()  # none is for the place: all are
    plain = model.encode_text(tokens)
    for marks in (torch.full((1, 2, 9), -1), listed):
        for found, expected in zip(model.encode_text(tokens, marks), plain, strict=True):
            torch.testing.assert_close(found, expected)
    others = listed.flip(2)
    assert not torch.equal(model.encode_text(tokens, others)[3], plain[3])

"""LAVT, LGCE, RMSIN, FIANet, CADFormer: what they declare, attend to, learn and leave alone."""

from __future__ import annotations

import re

import pytest
import torch

from rsvl import registry
from rsvl.modules.bases.early_fusion import EarlyFusionSegmenter
from tests.support.declared_shapes import check_shapes
from tests.support.small_fusion import NAMES, images, sentences, small_model, small_preset

KINDS = ("", "-tiny")
#: Whose released code, and so theirs, lets padding into the mean of the words, or into their attention.
READ_PADDING = ("cadformer", "lgce", "lgce-tiny")
#: Where the released CADFormer's attention is all or nothing, its queries and keys never learn.
NEVER_TRAINED = re.compile(r"vglva\.\d\.attention\.(query|key)\.")


@pytest.fixture(scope="module", params=[name + kind for name in NAMES for kind in KINDS])
def model(request: pytest.FixtureRequest) -> EarlyFusionSegmenter:
    """Each model as its full and as its tiny preset, small."""
    name, dash, _ = request.param.partition("-")
    found = small_model(name, "-tiny" if dash else "")
    found.test_id = request.param
    return found


def object_words(model: EarlyFusionSegmenter) -> list[int]:
    """Two words that name objects, where a model tells them apart; to attend to one is to attend to a constant."""
    return model.is_object.nonzero()[:2].flatten().tolist() if hasattr(model, "is_object") else [6, 7]


@pytest.mark.parametrize("name", [f"{name}-tiny" for name in NAMES])
def test_every_graph_of_a_tiny_preset_gives_the_shapes_that_its_declaration_names(name: str) -> None:
    with torch.device("meta"), torch.no_grad():
        check_shapes(registry.create(name).eval())


@pytest.mark.parametrize("name", NAMES)
def test_every_graph_of_a_full_preset_in_small_gives_the_shapes_that_its_declaration_names(name: str) -> None:
    with torch.device("meta"), torch.no_grad():
        check_shapes(registry.entry(name).build("test", small_preset(name, "")).eval())


def test_graphs_in_sequence_are_the_forward_pass(model: EarlyFusionSegmenter) -> None:
    known = {"image": images(2), "tokens": sentences([5, 6], [7])}
    known["marks"] = torch.full((2, 2, known["tokens"].shape[1]), -1)
    with torch.no_grad():
        for graph in model.spec.graphs:
            outputs = model.graph(graph.name)(*(known[t.name] for t in graph.inputs))
            known |= {t.name: output for t, output in zip(graph.outputs, outputs, strict=True)}
        torch.testing.assert_close(known["mask_logits"], model(known["image"], known["tokens"]))


def test_samples_of_a_batch_do_not_know_of_each_other(model: EarlyFusionSegmenter) -> None:
    pictures, tokens = images(2), sentences([5, 6, 7], [8])
    with torch.no_grad():
        together = model(pictures, tokens)
        alone = torch.cat([model(pictures[i : i + 1], tokens[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


def test_what_stands_at_padding_matters_only_where_released_code_reads_it(model: EarlyFusionSegmenter) -> None:
    tokens = sentences([5, 6, 7])
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        image, text = model.encode_image(images(1)), model.encode_text(tokens)
        plain = model.head(*image, *text)[0]
        # Wherever the text graph gives words [1, T, D], its padded places may hold anything.
        noisy = [
            feature + (tokens == 0)[:, :, None] * torch.randn(feature.shape, generator=generator) * 9
            if feature.dim() == 3
            else feature
            for feature in text
        ]
        changed = (model.head(*image, *noisy)[0] - plain).abs().max()
    assert changed > 1e-3 if model.test_id in READ_PADDING else changed < 1e-4


def test_every_word_matters(model: EarlyFusionSegmenter) -> None:
    tokens = sentences([5, 6, 7])
    with torch.no_grad():
        plain = model(images(1), tokens)
        for place in (1, 2, 3):
            changed = tokens.clone()
            changed[0, place] = 50
            assert (model(images(1), changed) - plain).abs().max() > 1e-4, place


def test_training_reaches_every_parameter(model: EarlyFusionSegmenter) -> None:
    side = model.spec.graphs[-1].outputs[0].shape[-1]
    generator = torch.Generator().manual_seed(3)
    masks = (torch.rand(3, 1, side, side, generator=generator) > 0.8).float()
    named = (torch.rand(2, 2, side, side, generator=generator) > 0.9).float()
    tokens, index = sentences([5], object_words(model), [8, 9, 10]), torch.tensor([0, 1, 1])
    model.train()
    model.zero_grad()
    model(images(2), tokens, index, masks, sentences([20], [21, 22]), named).backward()
    model.eval()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert [name for name in idle if not (model.test_id == "cadformer" and NEVER_TRAINED.match(name))] == []


def test_image_index_is_the_same_as_repeating_the_images(model: EarlyFusionSegmenter) -> None:
    pictures, tokens, index = images(2), sentences([5], [6, 7], [8, 9, 10]), torch.tensor([0, 1, 1])
    with torch.no_grad():
        torch.testing.assert_close(model(pictures, tokens, index), model(pictures[index], tokens), rtol=1e-3, atol=1e-4)

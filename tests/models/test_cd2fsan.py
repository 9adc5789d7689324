"""CD2FSAN: its declaration against what it computes, the choice of layers, padding, several sentences an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rsvl.models.cd2fsan import CD2FSAN, DFSM, FULL, TINY, Preset, ablations
from tests.support.declared_shapes import check_shapes

# The full preset's every part, in sizes for a test.
SMALL_FULL = replace(
    FULL,
    image_size=64,
    tokens=9,
    vision=(32, 12, 2),
    text=(32, 2, 2),
    vocabulary=100,
    embed_dim=32,
    neck=16,
    adapter=16,
    text_adapter=(64, 1),
    width=64,
    imc=48,
    stages=((16, True), (16, False), (16, False)),
)
SMALL_TINY = replace(TINY, image_size=64, tokens=9, vocabulary=100)
SMALL = {"full": SMALL_FULL, "tiny": SMALL_TINY}
START, END = 98, 99


def build(preset: Preset) -> CD2FSAN:
    """The model with random weights in every place, those that start from zero too; evaluation mode."""
    torch.manual_seed(0)
    model = CD2FSAN("test", preset).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


def images(count: int, preset: Preset) -> Tensor:
    """Noise."""
    return torch.randn(count, 3, preset.image_size, preset.image_size, generator=torch.Generator().manual_seed(1))


def sentences(*words: list[int]) -> Tensor:
    """Token ids [N, 9] of sentences given by their words' ids."""
    rows = [[START, *ids, END] for ids in words]
    return torch.tensor([row + [0] * (SMALL_FULL.tokens - len(row)) for row in rows])


@pytest.fixture(scope="module", params=SMALL)
def model(request: pytest.FixtureRequest) -> CD2FSAN:
    """Each preset's architecture, small."""
    return build(SMALL[request.param])


PRESETS = {"full": FULL, "tiny": TINY, **ablations(), **SMALL}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_every_graph_gives_the_shapes_that_its_declaration_names(preset: Preset) -> None:
    with torch.device("meta"), torch.no_grad():
        check_shapes(CD2FSAN("test", preset).eval())


def test_full_preset_gives_a_mask_of_the_image_size() -> None:
    assert FULL.mask_size == FULL.image_size == 480


def test_ablations_add_one_module_a_row() -> None:
    switched_on = [{name for name in ("dfsm", "maam", "drcd") if getattr(p, name)} for p in ablations().values()]
    assert switched_on == [set(), {"dfsm"}, {"dfsm", "maam"}, {"dfsm", "maam", "drcd"}]


@pytest.mark.parametrize("name", ablations())
def test_ablations_of_a_small_model_listen_to_the_sentence(name: str) -> None:
    row = ablations()[name]
    model = build(replace(SMALL_FULL, dfsm=row.dfsm, maam=row.maam, drcd=row.drcd))
    with torch.no_grad():
        one, other = model(images(1, SMALL_FULL), sentences([5, 6], [7, 8]), torch.tensor([0, 0]))
    assert (one - other).abs().max() > 1e-4


def layers_of(preset: Preset, batch: int) -> Tensor:
    """Candidates [B, L, N, C] that are the number of their layer everywhere."""
    numbers = torch.arange(preset.layers, dtype=torch.float32)
    return numbers[None, :, None, None].expand(batch, -1, 4, preset.width)


def only_cosines(preset: Preset) -> DFSM:
    """A DFSM whose Φ_sel adds nothing to the cosine similarities."""
    dfsm = DFSM(preset).eval()
    torch.nn.init.zeros_(dfsm.select_net[-1].weight)
    torch.nn.init.zeros_(dfsm.select_net[-1].bias)
    return dfsm


def test_dfsm_picks_each_samples_two_best_layers_the_lower_first() -> None:
    dfsm = only_cosines(SMALL_FULL)
    wanted = {0: (6, 2), 1: (3, 4), 2: (7, 0)}  # best and second best layer of each sample
    sentence = torch.nn.functional.one_hot(torch.arange(3), 32).float() * 5
    pooled = torch.zeros(3, SMALL_FULL.layers, 32)
    pooled[:, :, 31] = 1
    for sample, (best, second) in wanted.items():
        pooled[sample, best], pooled[sample, second] = sentence[sample] / 5, 0.0
        pooled[sample, second, [sample, 31]] = torch.tensor([0.6, 0.8])
    low, high = dfsm(layers_of(SMALL_FULL, 3), pooled, sentence)
    assert low[:, 0, 0].tolist() == [2, 3, 0]
    assert high[:, 0, 0].tolist() == [6, 4, 7]


def test_dfsm_scores_are_the_softmax_of_the_cosines() -> None:
    generator = torch.Generator().manual_seed(2)
    pooled = torch.nn.functional.normalize(torch.randn(2, SMALL_FULL.layers, 32, generator=generator), dim=-1)
    sentence = torch.randn(2, 32, generator=generator)
    cosine = np.einsum("ble,be->bl", pooled.double(), sentence.double() / sentence.double().norm(dim=1, keepdim=True))
    expected = np.exp(cosine) / np.exp(cosine).sum(1, keepdims=True)
    np.testing.assert_allclose(only_cosines(SMALL_FULL).scores(pooled, sentence).detach(), expected, rtol=1e-5)


def test_dfsm_in_training_gives_the_same_features_and_lets_the_choice_learn() -> None:
    dfsm, generator = DFSM(SMALL_FULL), torch.Generator().manual_seed(3)
    layers = torch.randn(2, SMALL_FULL.layers, 4, SMALL_FULL.width, generator=generator)
    pooled = torch.nn.functional.normalize(torch.randn(2, SMALL_FULL.layers, 32, generator=generator), dim=-1)
    sentence = torch.randn(2, 32, generator=generator)
    chosen = dfsm.train()(layers, pooled, sentence)
    torch.testing.assert_close(chosen, dfsm.eval()(layers, pooled, sentence))
    (chosen[0].sum() + chosen[1].square().sum()).backward()
    assert dfsm.select_net[-1].weight.grad.abs().max() > 0


def test_what_follows_the_end_token_changes_nothing(model: CD2FSAN) -> None:
    tokens = sentences([5, 6, 7])
    noisy = tokens.clone()
    noisy[:, 5:] = torch.tensor([11, 12, 13, 14])
    with torch.no_grad():
        plain, padded = model(images(1, model.preset), tokens), model(images(1, model.preset), noisy)
    torch.testing.assert_close(plain, padded)


def test_every_word_before_the_end_token_matters(model: CD2FSAN) -> None:
    tokens = sentences([5, 6, 7])
    with torch.no_grad():
        plain = model(images(1, model.preset), tokens)
        for place in (1, 2, 3):
            changed = tokens.clone()
            changed[0, place] = 50
            assert (model(images(1, model.preset), changed) - plain).abs().max() > 1e-4, place


def test_image_index_is_the_same_as_repeating_the_images(model: CD2FSAN) -> None:
    pictures, tokens, index = images(2, model.preset), sentences([5], [6, 7], [8, 9, 10]), torch.tensor([0, 1, 1])
    with torch.no_grad():
        torch.testing.assert_close(model(pictures, tokens, index), model(pictures[index], tokens), rtol=1e-4, atol=1e-4)


def test_graphs_in_sequence_are_the_forward_pass(model: CD2FSAN) -> None:
    known = {"image": images(2, model.preset), "tokens": sentences([5, 6], [7])}
    with torch.no_grad():
        for graph in model.spec.graphs:
            outputs = model.graph(graph.name)(*(known[t.name] for t in graph.inputs))
            known |= {t.name: output for t, output in zip(graph.outputs, outputs, strict=True)}
        torch.testing.assert_close(known["mask_logits"], model(known["image"], known["tokens"]))


def test_untrained_text_adapter_leaves_the_words_and_the_sentence_as_clip_has_them() -> None:
    model = CD2FSAN("test", SMALL_FULL).eval()
    tokens = sentences([5, 6], [7])
    with torch.no_grad():
        words, sentence, is_word = model.text_encoder(tokens)
        adapted, _, _ = model.encode_text(tokens)
        assert torch.equal(adapted, sentence)
        assert torch.equal(model.text_adapter(words, (~is_word).float() * -1e4), words)


def test_loss_is_focal_plus_dice() -> None:
    model = CD2FSAN("test", SMALL_TINY)
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 1, 40, 40, generator=generator) * 3
    masks = (torch.rand(3, 1, 40, 40, generator=generator) > torch.tensor([0.5, 0.9, 2.0])[:, None, None, None]).float()
    expected = np.mean([_loss(x, t) for x, t in zip(logits.double().numpy(), masks.double().numpy(), strict=True)])
    assert model.loss(logits, masks).item() == pytest.approx(expected, rel=1e-5)


def _loss(logits: np.ndarray, target: np.ndarray) -> float:
    """Of one sample: Lin et al.'s focal loss (alpha 0.25, gamma 2) over the foreground's pixels, and 1 - soft Dice.

    At a pixel that the object covers in part, the focal loss's p_t is e^-H, H the cross entropy. An empty target has no
    Dice loss.
    """
    probability = 1 / (1 + np.exp(-logits))
    entropy = -target * np.log(probability) - (1 - target) * np.log(1 - probability)
    focal = (0.25 * target + 0.75 * (1 - target)) * (1 - np.exp(-entropy)) ** 2 * entropy
    dice = (2 * (probability * target).sum() + 1) / (probability.sum() + target.sum() + 1)
    overlap = 1 - dice if target.any() else 0
    return float(focal.sum() / max(target.sum(), target.size / 1000) + overlap)


@pytest.mark.parametrize("unknown", [[], [(1, 0)]])
def test_auxiliary_loss_is_that_of_the_features_product_with_each_sentence(
    model: CD2FSAN, unknown: list[tuple[int, int]]
) -> None:
    generator = torch.Generator().manual_seed(5)
    pictures, tokens, index = images(2, model.preset), sentences([5], [6, 7], [8, 9, 10]), torch.tensor([0, 1, 1])
    classes = sentences([20], [21, 22])
    side = model.preset.mask_size
    masks = (torch.rand(3, 1, side, side, generator=generator) > 0.8).float()
    named = (torch.rand(2, 2, side, side, generator=generator) > 0.9).float()
    for b, k in unknown:
        named[b, k] = -1
    with torch.no_grad():
        image, text = model.encode_image(pictures), model.encode_text(torch.cat([tokens, classes]))
        found = model.auxiliary_loss(image, text, index, masks, named).item()
        whole = model(pictures, tokens, index, masks, classes, named).item()
        plain = model.loss(model(pictures, tokens, index), masks).item()
    coarse = side // model.preset.mask_scale
    logits = [[_similarity(model, image, text[0][n], b, coarse) for b in range(2)] for n in range(5)]
    asked = [_loss(logits[n][index[n]], _shrunk(masks[n, 0], coarse)) for n in range(3)]
    of_classes = [
        _loss(logits[3 + k][b], _shrunk(named[b, k], coarse))
        for k in range(2)
        for b in range(2)
        if (b, k) not in unknown
    ]
    assert found == pytest.approx(np.mean(asked) + np.mean(of_classes), rel=1e-4)
    assert whole == pytest.approx(plain + found, rel=1e-4)


def _similarity(model: CD2FSAN, image: tuple[Tensor, ...], sentence: Tensor, b: int, side: int) -> np.ndarray:
    """The sum over the levels of Σ_c feature·gain / √C, resized, one channel and one level at a time."""
    levels = (image[0], *image[len(image) - len(model.details) :])
    logits = model.contrast_bias.double()
    for feature, gain in zip(levels, (model.sentence_gain, *model.detail_gains), strict=True):
        weight = gain.weight.double() @ sentence.double()
        plane = sum(weight[c] * feature[b, c].double() for c in range(len(weight))) / len(weight) ** 0.5
        logits = logits + torch.nn.functional.interpolate(plane[None, None], (side, side), mode="bilinear")[0, 0]
    return logits.detach().numpy()


def _shrunk(mask: Tensor, side: int) -> np.ndarray:
    factor = mask.shape[-1] // side
    return mask.double().reshape(side, factor, side, factor).mean(dim=(1, 3)).numpy()

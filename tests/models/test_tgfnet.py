"""TGFNet: its parts against their formulas, missing sensors, the vocabulary, the exported graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from rsvl import registry
from rsvl.checkpoints import load_encoder_weights, load_weights, save_weights
from rsvl.data.synth.catalog import CATEGORIES, COLOURS
from rsvl.data.synth.object_questions import COUNT_UP_TO, ZONES
from rsvl.data.synth.weather import CONDITIONS
from rsvl.export.graphs import write_graph
from rsvl.export.precision import in_precision
from rsvl.models import clip
from rsvl.models.tgfnet import FULL, KRR, RQAF, TINY, Preset, SimilarityEnhancement, TGFNet
from rsvl.modules.bases.vqa import UNKNOWN
from rsvl.runtime.errors import CheckpointError
from tests.support.declared_shapes import check_shapes
from tests.support.tensorrt_graphs import check_that_tensorrt_builds

ANSWERS = ("yes", "no", "0", "1", "2")
# Both presets' every part, in sizes for a test.
SMALL_TINY = replace(TINY, image_size=64, tokens=9, vision=(32, 1, 2), text=(32, 1, 2), vocabulary=100, embed_dim=16,
                     stem=(8, 16, 32), patch=8, width=32, heads=2, expert=24, regions=((4, 2), (2, 3)),
                     answers=ANSWERS)  # fmt: skip
SMALL_FULL = replace(SMALL_TINY, stem=(), ffn=2)
SMALL = {"full": SMALL_FULL, "tiny": SMALL_TINY}
START, END = 98, 99
BOTH = torch.ones(2, 2)


def build(preset: Preset) -> TGFNet:
    """The model with random weights in every place, those that start from zero too; evaluation mode."""
    torch.manual_seed(0)
    model = TGFNet("test", preset).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


@pytest.fixture(scope="module", params=SMALL)
def model(request: pytest.FixtureRequest) -> TGFNet:
    """Each preset's architecture, small."""
    return build(SMALL[request.param])


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pair(count: int = 2, size: int = 64) -> tuple[Tensor, Tensor]:
    """Optical and SAR images of noise."""
    return noise(count, 3, size, size), noise(count, 1, size, size, seed=2)


def questions(*words: list[int]) -> Tensor:
    """Token ids [N, 9] of questions given by their words' ids."""
    rows = [[START, *ids, END] for ids in words]
    return torch.tensor([row + [0] * (SMALL_TINY.tokens - len(row)) for row in rows])


ASKED = questions([5, 6], [7, 8, 9])


@pytest.mark.parametrize("preset", [FULL, TINY, SMALL_FULL, SMALL_TINY], ids=["full", "tiny", "small", "small-tiny"])
def test_every_graph_gives_the_shapes_that_its_declaration_names(preset: Preset) -> None:
    with torch.device("meta"), torch.no_grad():
        check_shapes(TGFNet("test", preset).eval())


@pytest.mark.parametrize("preset", [FULL, TINY], ids=["full", "tiny"])
def test_each_stage_routes_to_finer_regions_and_fewer_places(preset: Preset) -> None:
    (coarse, few), (fine, many) = preset.regions
    assert coarse > fine and preset.grid % coarse == preset.grid % fine == 0
    assert preset.grid**2 > few * coarse**2 > many * fine**2


def test_tiny_answers_all_that_synthetic_questions_may_ask() -> None:
    fixed = {"yes", "no", "more than 5", *map(str, range(COUNT_UP_TO + 1)), *ZONES, "left", "right", "above", "below"}
    seen = {"horizontal", "vertical", "diagonal", "sparse", "moderate", "dense", "water", "land", "rural", "urban"}
    kinds = {category.nouns[0] for category in CATEGORIES.values()}
    assert set(TINY.answers) == fixed | seen | kinds | set(COLOURS) | set(CONDITIONS) | {"SAR", "both"}
    assert len(set(TINY.answers)) == len(TINY.answers)
    assert len(set(FULL.answers)) == len(FULL.answers) == 99


def test_tiny_tokenizer_has_a_word_for_each_word_of_a_question() -> None:
    tokenizer = Tokenizer.from_str(registry.create("tgfnet-tiny").tokenizer_json())
    asked = "How many swimming pools are there to the left of the largest ground track field?"
    assert [token.strip("Ġ") for token in tokenizer.encode(asked).tokens[1:-1]] == [
        *asked.lower().rstrip("?").split(), "?",
    ]  # fmt: skip
    assert tokenizer.get_vocab_size() <= TINY.vocabulary


def krr(side: int = 2, keep: int = 3) -> KRR:
    torch.manual_seed(3)
    return KRR(SMALL_TINY, side, keep).eval()


def test_key_regions_are_those_of_the_largest_scaled_products() -> None:
    router, places, asked = krr(), noise(2, 64, 32), noise(2, 32, seed=4)
    with torch.no_grad():
        keys, relevance = router(places, asked)
    for sample in range(2):
        x = places[sample].double().numpy()
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)  # a fresh layer norm
        regions = [
            x.reshape(8, 8, 32)[row : row + 2, column : column + 2].reshape(4, 32)
            for row in range(0, 8, 2)
            for column in range(0, 8, 2)
        ]
        question = affine(router.question, asked[sample])
        scores = [affine(router.region, r.mean(0)) @ question / np.sqrt(32) for r in regions]
        best = sorted(range(16), key=lambda i: -scores[i])[:3]
        np.testing.assert_allclose(keys[sample], np.concatenate([regions[i] for i in best]), atol=1e-5)
        np.testing.assert_allclose(relevance[sample], np.repeat([scores[i] for i in best], 4), atol=1e-5)


def affine(layer: nn.Linear, x: np.ndarray | Tensor) -> np.ndarray:
    """A linear layer in float64."""
    return np.asarray(x, np.float64) @ layer.weight.double().detach().numpy().T + layer.bias.double().detach().numpy()


def test_two_questions_of_a_batch_choose_different_regions() -> None:
    router, places = krr(keep=1), noise(1, 64, 32).expand(2, -1, -1)
    with torch.no_grad():
        asked = torch.stack([noise(32, seed=5), -noise(32, seed=5)]) * 5
        keys, _ = router(places, asked)
    assert not torch.allclose(keys[0], keys[1])


def test_enhancement_is_the_words_values_by_the_sigmoid_of_their_scaled_products() -> None:
    torch.manual_seed(6)
    layer, places, words = SimilarityEnhancement(SMALL_TINY), noise(1, 64, 32), noise(1, 5, 32, seed=7)
    nn.init.normal_(layer.offset)
    padding = torch.tensor([[0.0, 0.0, 0.0, -1e4, -1e4]])
    with torch.no_grad():
        found = layer(places, words, padding)[0]
    query, (key, value) = affine(layer.place, places[0]), np.split(affine(layer.word, words[0, :3]), 2, axis=1)
    heads = []
    for head in range(2):
        part = slice(16 * head, 16 * head + 16)
        product = query[:, part] @ key[:, part].T / 4 + layer.offset[head].item()
        heads.append((1 / (1 + np.exp(-product))) @ value[:, part])
    np.testing.assert_allclose(found, affine(layer.out, np.concatenate(heads, axis=1)), atol=1e-5)


def test_fusion_shares_are_the_softmax_of_each_sensors_quality() -> None:
    torch.manual_seed(8)
    rqaf, places, asked = RQAF(SMALL_TINY), noise(1, 2, 64, 32), noise(1, 32, seed=9)
    with torch.no_grad():
        shares = rqaf.shares(places, asked, torch.ones(1, 2))[0]
    question = affine(rqaf.question, asked[0])
    for head in range(2):
        part = slice(16 * head, 16 * head + 16)
        quality = np.exp(affine(rqaf.place, places[0])[..., part] @ question[part] / 4)  # [sensor, place]
        np.testing.assert_allclose(shares[..., head], quality / quality.sum(0), atol=1e-5)


@pytest.mark.parametrize("missing", [0, 1], ids=["optical", "sar"])
def test_missing_sensor_has_no_share_anywhere(model: TGFNet, missing: int) -> None:
    sensors = torch.ones(2, 2)
    sensors[:, missing] = 0
    places = noise(2, 2, 64, 32)
    with torch.no_grad():
        fusion = model.amef.rqaf.shares(places, noise(2, 32, seed=3), sensors)
        experts = model.amef.shares([noise(2, 24, seed=s) * 100 for s in range(3)], sensors)
    assert torch.equal(fusion[:, missing], torch.zeros(2, 64, 2))
    assert torch.equal(experts[:, missing], torch.zeros(2))
    torch.testing.assert_close(experts.sum(1), torch.ones(2))


@pytest.mark.parametrize("missing", [0, 1], ids=["optical", "sar"])
@pytest.mark.parametrize("content", [7.0, float("nan"), float("inf")])
def test_answers_do_not_depend_on_a_missing_sensors_pixels(model: TGFNet, missing: int, content: float) -> None:
    sensors = torch.ones(2, 2)
    sensors[1, missing] = 0
    pictures, others = pair(), [image.clone() for image in pair()]
    others[missing][1] = content
    with torch.no_grad():
        plain, changed = model(*pictures, sensors, ASKED), model(*others, sensors, ASKED)
        seen = model(*pictures, BOTH, ASKED)
    assert torch.equal(plain[1], changed[1])
    torch.testing.assert_close(plain[0], seen[0], rtol=1e-4, atol=1e-4)
    assert (plain[1] - seen[1]).abs().max() > 1e-3


def test_answers_depend_on_both_sensors_that_are_present(model: TGFNet) -> None:
    pictures = pair()
    with torch.no_grad():
        plain = model(*pictures, BOTH, ASKED)
        for sensor in range(2):
            changed = [image.flip(0) if index == sensor else image for index, image in enumerate(pictures)]
            assert (model(*changed, BOTH, ASKED) - plain).abs().amax(1).min() > 1e-4


def test_without_any_sensor_the_answer_is_finite(model: TGFNet) -> None:
    with torch.no_grad():
        assert model(*pair(), torch.zeros(2, 2), ASKED).isfinite().all()


def test_what_follows_the_end_token_changes_nothing(model: TGFNet) -> None:
    noisy = ASKED.clone()
    noisy[:, 5:] = torch.tensor([11, 12, 13, 14])
    with torch.no_grad():
        torch.testing.assert_close(model(*pair(), BOTH, ASKED), model(*pair(), BOTH, noisy))


def test_image_index_is_the_same_as_repeating_the_images(model: TGFNet) -> None:
    (optical, sar), index = pair(), torch.tensor([1, 0, 1])
    tokens, sensors = questions([5], [6, 7], [8]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    with torch.no_grad():
        once = model(optical, sar, sensors, tokens, index)
        repeated = model(optical[index], sar[index], sensors[index], tokens)
    torch.testing.assert_close(once, repeated, rtol=1e-4, atol=1e-4)


def test_loss_adds_half_of_what_each_present_expert_loses_alone(model: TGFNet) -> None:
    sensors, answers = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([3, 0, UNKNOWN])
    optical, sar = pair(3)
    tokens = questions([5], [6], [7])
    with torch.no_grad():
        text = model.encode_text(tokens)
        logits, shares, _ = model.experts(*model.encode_optical(optical), *model.encode_sar(sar), *text, sensors)
        found = model(optical, sar, sensors, tokens, answers=answers).item()
    # The third answer is unknown; the SAR expert sees the first question only.
    together = np.mean([lost((logits[n] * shares[n, :, None]).sum(0), answers[n]) for n in (0, 1)])
    seen = {0: (0, 1), 1: (0,), 2: (0, 1)}
    alone = [np.mean([lost(logits[n, expert], answers[n]) for n in rows]) for expert, rows in seen.items()]
    assert found == pytest.approx(together + sum(alone) / 2, rel=1e-4)


def lost(logits: Tensor, answer: Tensor) -> float:
    """Cross-entropy of one answer in float64."""
    x = logits.double().numpy()
    return float(np.log(np.exp(x).sum()) - x[int(answer)])


def test_loss_adds_half_of_how_little_the_present_experts_look_at_what_is_asked_about(model: TGFNet) -> None:
    sensors, answers = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([3, 0, 1])
    (optical, sar), tokens, side = pair(3), questions([5], [6], [7]), model.preset.grid
    masks = torch.zeros(3, side, side)
    masks[0, 0, :2], masks[1, -1, -1] = 1.0, 0.5  # of the third question nothing is known
    with torch.no_grad():
        text = model.encode_text(tokens)
        views = (*model.encode_optical(optical), *model.encode_sar(sar))
        attention = model.experts(*views, *text, sensors)[2].double().numpy()
        more = model(optical, sar, sensors, tokens, answers=answers, asked_masks=masks)
        less = model(optical, sar, sensors, tokens, answers=answers)
    np.testing.assert_allclose(attention.sum(-1), 1, rtol=1e-5)
    first = [-np.log(attention[0, expert, :2].sum()) for expert in range(3)]
    second = [-np.log(attention[1, expert, -1] / 2) for expert in (0, 2)]  # the SAR picture is missing
    assert (more - less).item() == pytest.approx(np.mean(first + second) / 2, rel=1e-4)


def test_training_teaches_every_parameter(model: TGFNet) -> None:
    model = build(model.preset).train()
    masks = (noise(2, 2, 64, 64, seed=5) > 1).float()
    loss = model(*pair(), BOTH, ASKED, answers=torch.tensor([1, 4]), class_tokens=questions([20], [21]),
                 class_masks=masks)  # fmt: skip
    loss.backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # A softmax over the places ignores what it adds to all their scores: the keys' bias, and KRR's on the question.
    indifferent = ("k_proj.bias", "krr.region.bias")
    assert [name for name in unused if not name.endswith(indifferent)] == []


def test_classes_masks_are_taught_by_the_sensors_that_are_present() -> None:
    model, masks = build(SMALL_TINY), (noise(2, 3, 64, 64, seed=5) > 1).float()
    names = questions([20], [21], [22, 23])
    with torch.no_grad():
        views = [(model.encode_optical(pair()[0])), (model.encode_sar(pair()[1]))]
        text = model.encode_text(names)
        both, optical, sar = (
            model.auxiliary_loss((views[0], views[1]), text, torch.tensor([present] * 2), masks).item()
            for present in ([1.0, 1.0], [1.0, 0.0], [0.0, 1.0])
        )
    assert both == pytest.approx(optical + sar, rel=1e-5)
    assert optical != pytest.approx(sar, rel=1e-3)


def test_training_hides_one_of_two_sensors_and_never_the_only_one() -> None:
    model = build(replace(SMALL_TINY, sensor_drop=0.5))
    torch.manual_seed(0)
    seen = model._hide_some(torch.tensor([[1.0, 1.0]] * 900 + [[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 50))
    shares = [(seen[:900] == torch.tensor(kept)).all(1).float().mean().item() for kept in ([1, 1], [1, 0], [0, 1])]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.05)
    assert seen[900:].tolist() == [[1.0, 0.0]] * 50 + [[0.0, 1.0]] * 50


def test_another_vocabulary_keeps_what_was_learned_of_common_answers(model: TGFNet) -> None:
    model = build(model.preset)
    with torch.no_grad():
        before = model(*pair(), BOTH, ASKED)
        model.set_answers(["rural", "2", "yes"])
        after = model(*pair(), BOTH, ASKED)
    assert after.shape == (2, 3)
    torch.testing.assert_close(after[:, 1:], before[:, [4, 0]])
    assert model.spec.answers == ("rural", "2", "yes")
    assert model.spec.graphs[-1].outputs[0].shape == ("batch", 3)


def test_weights_bring_their_vocabulary(tmp_path: Path) -> None:
    trained, fresh = build(SMALL_TINY), TGFNet("test", SMALL_TINY).eval()
    trained.set_answers(["a", "b", "c", "d", "e", "f"])
    save_weights(trained, tmp_path / "weights.safetensors")
    load_weights(fresh, tmp_path / "weights.safetensors")
    assert fresh.spec == trained.spec
    with torch.no_grad():
        assert torch.equal(fresh(*pair(), BOTH, ASKED), trained(*pair(), BOTH, ASKED))


def test_a_vocabulary_that_weights_do_not_bring_is_said_to_be_assumed(tmp_path: Path) -> None:
    torch.save(build(SMALL_TINY).state_dict(), tmp_path / "weights.pth")
    with pytest.warns(UserWarning, match="does not say its answers: those of test are assumed"):
        load_weights(TGFNet("test", SMALL_TINY), tmp_path / "weights.pth")


def test_weights_that_do_not_fit_leave_the_vocabulary_as_it_was(tmp_path: Path) -> None:
    other, model = build(SMALL_FULL), build(SMALL_TINY)
    other.set_answers(["a", "yes"])
    save_weights(other, tmp_path / "weights.safetensors")
    with torch.no_grad():
        before = model(*pair(), BOTH, ASKED)
        with pytest.raises(CheckpointError, match="does not fit"):
            load_weights(model, tmp_path / "weights.safetensors")
        assert model.spec.answers == ANSWERS
        assert torch.equal(model(*pair(), BOTH, ASKED), before)


def test_tiny_takes_the_encoders_of_a_trained_clip(tmp_path: Path) -> None:
    dual = registry.create("clip-tiny")
    save_weights(dual, tmp_path / "clip.safetensors")
    model = registry.create("tgfnet-tiny")
    load_encoder_weights(model, tmp_path / "clip.safetensors")
    assert model.preset.vision == clip.TINY.vision
    for key, value in dual.state_dict().items():
        if key.startswith(("image_encoder.", "text_encoder.")):
            assert torch.equal(model.state_dict()[key], value), key


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The small tiny preset's graphs in each precision."""
    folder, model = tmp_path_factory.mktemp(f"tgfnet-{request.param}"), build(SMALL_TINY)
    for graph in model.spec.graphs:
        module = in_precision(model.graph(graph.name), model, request.param, model.keep_fp32)
        write_graph(module, graph, folder / f"{graph.name}.onnx")
    return request.param, folder


def run(folder: Path, known: dict[str, Tensor]) -> np.ndarray:
    """Answer logits of the exported graphs from the raw inputs."""
    values: dict[str, np.ndarray] = {name: tensor.numpy() for name, tensor in known.items()}
    for graph in TGFNet("test", SMALL_TINY).spec.graphs:
        session = onnxruntime.InferenceSession(folder / f"{graph.name}.onnx", providers=["CPUExecutionProvider"])
        outputs = session.run(None, {tensor.name: values[tensor.name] for tensor in graph.inputs})
        values |= {tensor.name: output for tensor, output in zip(graph.outputs, outputs, strict=True)}
    return values["answer_logits"]


def test_exported_graphs_answer_as_pytorch_does(exported: tuple[str, Path]) -> None:
    precision, folder = exported
    optical, sar = pair(3)
    tokens, sensors = questions([5], [6, 7], [8]), torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    known = {"optical": optical, "sar": sar, "tokens": tokens, "sensors": sensors}
    with torch.no_grad():
        expected = build(SMALL_TINY)(optical, sar, sensors, tokens).numpy()
    np.testing.assert_allclose(run(folder, known), expected, atol=1e-4 if precision == "fp32" else 0.03)
    known["optical"] = torch.where(torch.tensor([False, True, False])[:, None, None, None], 50.0, optical)
    changed = run(folder, known)
    assert np.array_equal(changed[1], run(folder, {**known, "optical": optical})[1])


def test_tensorrt_builds_the_exported_graphs(exported: tuple[str, Path]) -> None:
    check_that_tensorrt_builds(exported[1], TGFNet("test", SMALL_TINY).spec.graphs)


def test_exported_head_chooses_regions_by_topk_and_gather(exported: tuple[str, Path]) -> None:
    operations = [node.op_type for node in onnx.load(exported[1] / "head.onnx").graph.node]
    assert operations.count("TopK") == 4  # two stages for each sensor
    assert "Gather" in operations[operations.index("TopK") :]

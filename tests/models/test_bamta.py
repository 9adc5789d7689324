"""BAMTA and ResNet-18: their parts against their formulas, what they count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rsvl import registry
from rsvl.benchmarks.count import count
from rsvl.models.bamta import BalancedAttention, DropBlock


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_attention_is_the_share_of_its_two_kinds() -> None:
    torch.manual_seed(0)
    layer, x = BalancedAttention(32, 16).double().eval(), torch.randn(2, 32, 5, 7).double()
    with torch.no_grad():
        layer.balance.fill_(0.7)
        for norm in layer.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)
        found = layer(x).numpy()
    state, values = {name: value.numpy() for name, value in layer.state_dict().items()}, x.numpy()
    means = np.concatenate([values.mean(3), values.mean(2)], 2)  # [2, 32, 5 + 7]
    y = np.einsum("oc,bcn->bon", state["spatial.squeeze.0.weight"][:, :, 0, 0], means)
    mean, var = (state[f"spatial.squeeze.1.running_{name}"][:, None] for name in ("mean", "var"))
    gain, bias = (state[f"spatial.squeeze.1.{name}"][:, None] for name in ("weight", "bias"))
    y = (y - mean) / np.sqrt(var + 1e-5) * gain + bias
    y = y * np.clip(y + 3, 0, 6) / 6
    rows, columns = (
        np.einsum("oc,bcn->bon", state[f"spatial.{name}.weight"][:, :, 0, 0], part)
        + state[f"spatial.{name}.bias"][:, None]
        for name, part in (("rows", y[:, :, :5]), ("columns", y[:, :, 5:]))
    )
    spatial = values * sigmoid(rows)[:, :, :, None] * sigmoid(columns)[:, :, None]
    hidden = values.mean((2, 3)) @ state["spectral.squeeze.weight"].T + state["spectral.squeeze.bias"]
    gate = np.maximum(hidden, 0) @ state["spectral.excite.weight"].T + state["spectral.excite.bias"]
    spectral = values * sigmoid(gate)[:, :, None, None]
    share = sigmoid(np.array(0.7))
    np.testing.assert_allclose(found, share * spatial + (1 - share) * spectral, atol=1e-10)


@pytest.mark.parametrize("probability", [0.05, 0.2])
def test_dropblock_drops_squares_of_the_share_asked_for(probability: float) -> None:
    torch.manual_seed(0)
    layer, x = DropBlock(probability), torch.ones(64, 32, 16, 16)
    found = layer.train()(x)
    dropped = float((found == 0).float().mean())
    assert dropped == pytest.approx(probability, rel=0.12)  # overlapping squares drop a little less
    assert float(found.mean()) == pytest.approx(1.0, abs=1e-4)
    mask = (found == 0).numpy()
    squares = np.lib.stride_tricks.sliding_window_view(mask, (3, 3), (2, 3)).all((-2, -1))
    covered = np.zeros_like(mask)
    for row in range(3):
        for column in range(3):
            covered[:, :, row : row + 14, column : column + 14] |= squares
    assert np.array_equal(covered, mask)
    assert torch.equal(layer.eval()(x), x)


def test_bamta_has_twelve_convolutions_and_drops_more_the_deeper() -> None:
    model = registry.create("bamta")
    kernels = [m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert kernels.count((3, 3)) == 12 and set(kernels) == {(3, 3), (1, 1)}
    drops = [m.probability for m in model.modules() if isinstance(m, DropBlock)]
    assert drops == pytest.approx([0.05, 0.0875, 0.125, 0.1625, 0.2])
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 10)


@pytest.mark.parametrize(("name", "macs"), [("bamta-tiny", 48.66e6), ("bamta", 191.99e6), ("resnet18", 148.07e6)])
def test_operations_can_be_counted_without_weights(name: str, macs: float) -> None:
    """The numbers are the sums over the 3×3 and 7×7 convolutions and the shortcuts, by hand."""
    assert count(lambda: registry.create(name)).total.macs.total == pytest.approx(macs, rel=0.005)


def test_resnet18_has_its_papers_parameters_and_torchvisions_names() -> None:
    model = registry.create("resnet18")
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_689_512 - 990 * 513
    names = set(model.state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer2.0.downsample.0.weight", "layer4.1.bn2.bias", "fc.bias"} <= names
    assert len([name for name in names if not name.endswith("num_batches_tracked")]) == 102

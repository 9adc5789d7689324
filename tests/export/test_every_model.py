"""Every tiny preset, whatever its task, runs from its declaration alone: samples, PyTorch, comparison, golden test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rsvl import registry
from rsvl.export.golden import write_golden
from rsvl.export.pytorch_reference import run_pytorch
from rsvl.export.samples import default_samples
from rsvl.export.verify import Reference, compare
from rsvl.runtime.bundle import GOLDEN
from rsvl.runtime.tasks import most_informative
from rsvl.tasks import evaluation_of, training_of

TINY = [name for name in registry.names() if name.endswith("-tiny")]


@pytest.mark.parametrize("name", TINY)
def test_declaration_is_enough_to_run_and_compare_a_model(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = registry.create(name).eval()
    spec = model.spec
    samples = default_samples(spec, model.tokenizer_json() if spec.text else None)
    for key, tensor in spec.raw_inputs.items():
        assert samples[key].shape[1:] == tensor.shape[1:] and samples[key].dtype == tensor.dtype, key
    found = run_pytorch(model, spec, samples)
    for graph in spec.graphs:
        for tensor in graph.outputs:
            sizes = [len(next(iter(samples.values()))) if isinstance(size, str) else size for size in tensor.shape]
            assert list(found[tensor.name].shape) == sizes and found[tensor.name].dtype == tensor.dtype, tensor.name
    assert all(measure.passed for measure in compare(spec, Reference("itself", found), found, "fp32").measures)
    write_golden(tmp_path, spec, found)
    with np.load(tmp_path / GOLDEN, allow_pickle=False) as golden:
        assert set(golden) == {*spec.raw_inputs, *spec.final_outputs}
        chosen = most_informative(spec, found, 2)
        for key in golden:
            np.testing.assert_array_equal(golden[key], found[key][chosen])
    assert evaluation_of(spec.task).PRIMARY_METRIC and training_of(spec.task).torch_predictor(model)

"""Checkpoints: every format gives the same tensors, a bad file changes nothing, `rsvl.load` says what it loaded."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import rsvl
from rsvl import registry
from rsvl.checkpoints import load_encoder_weights, load_weights, read_metadata, read_state_dict, save_weights
from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.errors import CheckpointError, OutputError, UsageError
from tests.support.small_fusion import small_model
from tests.support.tiny_clip import Encoders, State, clip_config, hugging_face_state, openai_state

# Archives as OpenAI's are still made by what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")


class Tree(nn.Module):
    """A module tree with a state dict's names, to be scripted as OpenAI's releases are."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def module_tree(state: State) -> Tree:
    root = Tree()
    for key, value in state.items():
        *path, name = key.split(".")
        module: nn.Module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, Tree())
            module = module.get_submodule(part)
        module.register_buffer(name, value)
    return root


def write_torchscript(state: State, path: Path) -> None:
    torch.jit.script(module_tree(state)).save(str(path))


def write_legacy(state: State, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


def write_training(state: State, path: Path) -> None:
    """As open_clip's trainer saves under data parallelism."""
    wrapped = {f"module.{key}": value for key, value in state.items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": wrapped, "optimizer": {"state": {}}}, path)


def write_hugging_face(state: State, path: Path) -> None:
    path.mkdir()
    save_file(state, path / "model.safetensors")


def write_sharded(state: State, path: Path) -> None:
    path.mkdir()
    names = sorted(state)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, keys in shards.items():
        save_file({key: state[key] for key in keys}, path / shard)
    weight_map = {key: shard for shard, keys in shards.items() for key in keys}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def write_bin_directory(state: State, path: Path) -> None:
    path.mkdir()
    torch.save(state, path / "pytorch_model.bin")


WRITERS: list[Callable[[State, Path], None]] = [
    save_file,
    torch.save,
    write_legacy,
    write_training,
    write_torchscript,
    write_hugging_face,
    write_sharded,
    write_bin_directory,
]


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_gives_the_same_tensors(write: Callable, tmp_path: Path) -> None:
    state = {key: value.half() if value.dim() > 1 else value for key, value in openai_state().items()}
    write(state, tmp_path / "clip")
    read = read_state_dict(tmp_path / "clip")
    assert read.keys() == state.keys()
    for key, value in state.items():
        assert read[key].dtype == value.dtype
        assert torch.equal(read[key], value), key


class Harmful:
    """Pickles as a call that creates a file named `harm` where it is read."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("harm"),))


def write_code(path: Path) -> None:
    torch.save({"weight": torch.ones(2), "extra": Harmful()}, path)


def write_code_as_torchscript(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/constants.pkl", b"")
        archive.writestr("x/data.pkl", pickle.dumps(Harmful()))


def write_tensor_beyond_its_storage(path: Path) -> None:
    write_torchscript({"weight": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(name for name in members if name.endswith("constants.pkl")).split("/")[0]
    members[f"{root}/data/0"] = b"1234"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def write_half(write: Callable[[State, Path], None]) -> Callable[[Path], None]:
    def truncated(path: Path) -> None:
        write({"weight": torch.ones(400)}, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return truncated


def write_climbing_index(path: Path) -> None:
    path.mkdir()
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"weight": "../secret"}}))


BAD = {
    "missing": (lambda path: None, "does not exist"),
    "empty": (lambda path: path.touch(), "cannot be read as a checkpoint"),
    "text": (lambda path: path.write_text("not weights"), "cannot be read as a checkpoint"),
    "picture": (lambda path: Image.new("RGB", (4, 4)).save(path, "PNG"), "cannot be read as a checkpoint"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "not a PyTorch file of tensors"),
    "other zip": (lambda path: zipfile.ZipFile(path, "w").writestr("a", "b"), "cannot be read as a checkpoint"),
    "half safetensors": (write_half(save_file), "cannot be read as a checkpoint"),
    "half torch": (write_half(torch.save), "cannot be read as a checkpoint"),
    "half legacy": (write_half(write_legacy), "cannot be read as a checkpoint"),
    "half torchscript": (write_half(write_torchscript), "cannot be read as a checkpoint"),
    "short storage": (write_tensor_beyond_its_storage, "cannot be read as a checkpoint"),
    "code": (write_code, "needs .* to be run on loading, which is refused"),
    "code as torchscript": (write_code_as_torchscript, "needs .* to be run on loading, which is refused"),
    "another module": (lambda path: torch.save(nn.Linear(2, 2), path), "unexpected: weight, bias|does not fit"),
    "no tensors": (lambda path: torch.save({"epoch": 3}, path), "holds no named tensors"),
    "a list": (lambda path: torch.save([torch.ones(2)], path), "holds no named tensors"),
    "empty directory": (lambda path: path.mkdir(), "holds no weights"),
    "climbing index": (write_climbing_index, "not in its directory"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_one_line_and_runs_nothing(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write, named = BAD[case]
    write(tmp_path / "weights")
    model = Encoders(clip_config())
    with unchanged(model), pytest.raises(CheckpointError, match=named) as caught:
        load_weights(model, tmp_path / "weights")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


def test_saved_weights_load_again_with_their_metadata(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved, loaded = Encoders(clip_config()), Encoders(clip_config())
    save_weights(saved, tmp_path / "weights.safetensors", {"miou": "0.7"})
    load_weights(loaded, tmp_path / "weights.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))
    metadata = read_metadata(tmp_path / "weights.safetensors")
    assert metadata == {"miou": "0.7", "rsvl_model": "Encoders", "rsvl_version": rsvl.__version__}
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_weights_of_another_model_are_named_with_it(tmp_path: Path) -> None:
    save_weights(nn.Linear(3, 2), tmp_path / "weights.safetensors")
    with pytest.raises(
        CheckpointError, match=r"\(Linear\) does not fit Encoders \(missing: .*; unexpected: bias, weight\)"
    ):
        load_weights(Encoders(clip_config()), tmp_path / "weights.safetensors")


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Lets the system refuse to write beyond `size` bytes of any file, as a full disk does."""
    resource = pytest.importorskip("resource", reason="limits are POSIX's")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"old")
    with files_up_to(20), pytest.raises(OutputError, match="File too large"):
        save_weights(nn.Linear(2, 2), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_saved_in_half_load_in_the_models_own_type(tmp_path: Path) -> None:
    saved, loaded = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    nn.init.normal_(saved.weight)
    saved.running_var.fill_(1e-9)  # below what float16 holds
    save_weights(saved, tmp_path / "weights.safetensors", dtype=torch.float16)
    assert read_state_dict(tmp_path / "weights.safetensors")["weight"].dtype == torch.float16
    load_weights(loaded, tmp_path / "weights.safetensors")
    assert loaded.weight.dtype == torch.float32
    assert torch.equal(loaded.weight, saved.weight.half().float())
    assert torch.equal(loaded.running_var, saved.running_var)


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A registered preset without shipped weights; they would be in `tmp_path / "shipped"`."""
    entry = registry.Entry("checkpoint-test", "test", lambda name, preset: Encoders(preset), clip_config())
    monkeypatch.setitem(registry._ENTRIES, entry.name, entry)
    monkeypatch.setattr("rsvl.checkpoints.loading.SHIPPED", tmp_path / "shipped")
    return entry.name


def test_load_without_weights_warns_that_they_are_random(preset: str) -> None:
    with pytest.warns(UserWarning, match="no weights were given for checkpoint-test"):
        model = rsvl.load(preset)
    assert model.source == {"weights": "random"}
    assert not model.training


def test_load_takes_the_weights_that_ship(preset: str, tmp_path: Path) -> None:
    shipped = Encoders(clip_config())
    (tmp_path / "shipped").mkdir()
    path = tmp_path / "shipped" / f"{preset}.safetensors"
    save_weights(shipped, path)
    model = rsvl.load(preset)
    assert torch.equal(model.head.weight, shipped.head.weight)
    assert model.source == {"weights": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert rsvl.load(preset, weights="random").source == {"weights": "random"}


@pytest.mark.parametrize("option", ["weights", "encoder_weights"])
def test_load_fills_the_encoders_from_clip_and_warns_about_the_rest(preset: str, option: str, tmp_path: Path) -> None:
    save_file(hugging_face_state(), tmp_path / "clip.safetensors")
    with pytest.warns(UserWarning, match="the rest of the model|everything but the encoders"):
        model = rsvl.load(preset, **{option: tmp_path / "clip.safetensors"})
    assert torch.equal(model.text_encoder.text_projection.weight, hugging_face_state()["text_projection.weight"])
    assert "clip.safetensors" in model.source.values()


def test_model_with_a_text_encoder_alone_takes_that_of_a_clip(tmp_path: Path) -> None:
    save_file(hugging_face_state(), tmp_path / "clip.safetensors")
    model = Encoders(clip_config())
    del model.image_encoder
    load_encoder_weights(model, tmp_path / "clip.safetensors")
    text = {f"text_encoder.{key}": value for key, value in hugging_face_state().items() if key.startswith("text_")}
    for key, value in model.text_encoder.state_dict(prefix="text_encoder.").items():
        assert torch.equal(value, text[key]), key


def test_load_refuses_two_sources(preset: str, tmp_path: Path) -> None:
    save_weights(registry.create(preset), tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="give one of them"):
        rsvl.load(preset, weights=tmp_path / "a.safetensors", encoder_weights=tmp_path / "b")


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Checks that the block left the model's weights as they were."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    yield
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Published(ExportableModel):
    """A model whose authors call its one layer by another name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        if "theirs.weight" not in state:
            return None
        return {key.replace("theirs.", "layer."): value for key, value in state.items()}


def test_a_model_reads_the_layout_that_it_says_is_published(tmp_path: Path) -> None:
    state = {"theirs.weight": torch.randn(2, 3), "theirs.bias": torch.randn(2)}
    save_file(state, tmp_path / "theirs.safetensors")
    model = Published()
    load_weights(model, tmp_path / "theirs.safetensors")
    assert torch.equal(model.layer.weight, state["theirs.weight"])
    save_file({"theirs.weight": state["theirs.weight"]}, tmp_path / "half.safetensors")
    with unchanged(model), pytest.raises(CheckpointError, match=r"missing: layer\.bias"):
        load_weights(model, tmp_path / "half.safetensors")


def test_encoders_of_another_model_that_rsvl_saved_fill_the_same_ones(tmp_path: Path) -> None:
    lavt, rmsin = small_model("lavt"), small_model("rmsin")
    save_weights(lavt, tmp_path / "lavt.safetensors")
    load_encoder_weights(rmsin, tmp_path / "lavt.safetensors")
    for name in ("image_encoder", "text_encoder"):
        for key, value in rmsin.get_submodule(name).state_dict().items():
            assert torch.equal(value, lavt.get_submodule(name).state_dict()[key]), key


def test_equal_weights_give_equal_bytes(tmp_path):
    model = rsvl.load("cd2fsan-tiny")
    beside = {f"key {n}": str(n) for n in range(8)}
    for name in "abc":
        save_weights(model, tmp_path / name, beside)
    assert len({(tmp_path / name).read_bytes() for name in "abc"}) == 1
    assert beside.items() <= read_metadata(tmp_path / "a").items()

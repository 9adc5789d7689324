"""What an encoder has that reads its own published checkpoints, and follows the configuration that lies beside them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from rsvl.runtime.errors import CheckpointError


@runtime_checkable
class PublishedEncoder(Protocol):
    """An encoder that knows the layouts in which its weights are published.

    Attributes:
        kind: what such a file holds and who publishes it, as messages name it.
    """

    kind: ClassVar[str]

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The encoder's own state dict from the tensors of a file; None where they are of something else."""


@dataclass(frozen=True)
class Configuration:
    """The JSON files that lie beside published weights: Hugging Face's, open_clip's, timm's.

    Attributes:
        folder: where they lie.
        files: their objects by their names; empty where there are none.
    """

    folder: Path
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def refusal(self, file: str, problem: str) -> CheckpointError:
        """The error that a file of it says what cannot be followed."""
        return CheckpointError(f"{self.folder / file}: {problem}")

    def check(self, file: str, told: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
        """Raises a `CheckpointError` where a file tells another size than the weights beside it have.

        Args:
            file: its name.
            told: the sizes that it tells, by the names of its fields.
            weights: those that the weights have, by the same names; others are not compared.
        """
        for name, size in told.items():
            if weights.get(name, size) != size:
                problem = f"{name} is {size}, the weights beside it have {weights[name]}: download both again, together"
                raise self.refusal(file, problem)


@dataclass(frozen=True)
class Told:
    """What the configuration beside an encoder's weights says of it.

    Attributes:
        settings: what is followed, as `ConfiguredEncoder.configure` takes it.
        kept: what a model may keep as its own: `image_size`, the side of its images in pixels, and `tokens`.
        untold: settings that publishers choose differently and nothing tells, which are the model's.
    """

    settings: dict[str, str] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    untold: tuple[str, ...] = ()


@runtime_checkable
class ConfiguredEncoder(PublishedEncoder, Protocol):
    """A published encoder with settings that the shapes of its weights do not tell, such as its heads."""

    def told(self, state: Mapping[str, Tensor], configuration: Configuration) -> Told:
        """What a published file and the configuration beside it say of the encoder.

        Raises:
            CheckpointError: the configuration contradicts the weights, or says what this encoder cannot do.
        """

    def settings(self) -> dict[str, str]:
        """The settings as they are, to be saved beside the weights."""

    def configure(self, settings: Mapping[str, str]) -> None:
        """Takes settings, with the weights as they are; those that are not given stay.

        Raises:
            ValueError: one is no such setting's value; the encoder is then as it was.
        """


def settings_of(config: Any) -> dict[str, str]:
    """The settings `heads`, `layer_norm_eps` and `activation` of transformers' configuration of an encoder."""
    return {
        "heads": str(config.num_attention_heads),
        "layer_norm_eps": str(config.layer_norm_eps),
        "activation": str(config.hidden_act),
    }


def with_settings(config: Any, settings: Mapping[str, str], activations: tuple[str, ...]) -> Any:
    """Transformers' configuration of an encoder with other settings; None where they change nothing.

    Raises:
        ValueError: see `transformer_settings`.
    """
    read = transformer_settings({**settings_of(config), **settings}, config.hidden_size, activations)
    if settings_of(config) == {name: str(value) for name, value in read.items()}:
        return None
    changed = copy.deepcopy(config)
    changed.num_attention_heads, changed.layer_norm_eps = read["heads"], read["layer_norm_eps"]
    changed.hidden_act = read["activation"]
    return changed


def with_weights_of(before: nn.Module, model: Any) -> Any:
    """A new model with the weights of the one before, on its device, of its type and in its mode."""
    model.load_state_dict(before.state_dict())
    for new, old in zip(model.parameters(), before.parameters(), strict=True):
        new.requires_grad_(old.requires_grad)
    return model.to(next(before.parameters())).train(before.training)


def transformer_settings(settings: Mapping[str, str], width: int, activations: tuple[str, ...]) -> dict[str, Any]:
    """Reads the settings `heads`, `layer_norm_eps` and `activation` of a transformer, those that are given.

    Args:
        settings: as saved.
        width: of its tokens, which the heads share.
        activations: those that it can have.

    Raises:
        ValueError: one is not the setting's value.
    """
    found: dict[str, Any] = {}
    if "heads" in settings:
        found["heads"] = int(settings["heads"])
        if found["heads"] < 1 or width % found["heads"]:
            raise ValueError(f"{settings['heads']} heads for {width} channels")
    if "layer_norm_eps" in settings:
        found["layer_norm_eps"] = float(settings["layer_norm_eps"])
        if not 0 < found["layer_norm_eps"] < 1:
            raise ValueError(f"a layer norm's epsilon of {settings['layer_norm_eps']}")
    if "activation" in settings:
        found["activation"] = settings["activation"]
        if found["activation"] not in activations:
            raise ValueError(f"activation {settings['activation']!r}")
    return found

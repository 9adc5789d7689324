"""What a training run depends on. Imports no PyTorch, so that the command can show the defaults without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainConfig:
    """What a run depends on besides model and data; written beside its results.

    Attributes:
        epochs: passes over the training images.
        batch: images per step and device.
        sentences: sentences per image and step.
        lr: peak learning rate of everything but the encoders.
        encoder_rate: the encoders' factor on it; a tenth for pretrained ones (CD2FSAN section 4.1), 1 from scratch.
        optimizer: ``adamw``; ``muon``: Muon on the matrices of linear layers and AdamW on all else; or ``sgd`` with
            Nesterov's momentum of 0.9.
        weight_decay: weight decay, weight matrices only.
        warmup: steps in which the learning rate rises.
        schedule: ``cosine``: a linear warm-up, then a cosine to zero; or ``one-cycle``, see `rsvl.train.schedules`.
        clip: maximum gradient norm; 0 for no limit.
        augment: whether training images are varied, by a task that has ways for that (`TrainingSet.augmented`).
        precision: ``no``, ``bf16`` or ``fp16`` mixed precision.
        workers: data-loading processes.
        epoch_images: training images per epoch, resampled each time; None for all.
        val_limit: validation images per epoch, at most; None for all.
        seed: random seed of weights, order and sentence choice.
    """

    epochs: int = 40
    batch: int = 8
    sentences: int = 4
    lr: float = 5e-5
    encoder_rate: float = 0.1
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    warmup: int = 200
    schedule: str = "cosine"
    clip: float = 1.0
    augment: bool = False
    precision: str = "no"
    workers: int = 2
    epoch_images: int | None = None
    val_limit: int | None = None
    seed: int = 0

"""The training loop: accelerate for devices, mixed precision and several GPUs; the best weights by validation."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, RandomSampler, Sampler, WeightedRandomSampler

from rsvl.checkpoints import save_weights
from rsvl.data.mixtures import Mixture
from rsvl.data.records import Split
from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.atomic import replacing, write_text
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.progress import Progress, silent
from rsvl.tasks import evaluation_of, training_of
from rsvl.tasks.batch import Batch, join
from rsvl.tasks.contract import EvalOptions
from rsvl.train.config import TrainConfig
from rsvl.train.schedules import factor

BEST, LAST, HISTORY = "best.safetensors", "last.pt", "history.json"
ENCODERS = ("image_encoder.", "text_encoder.")
_KEPT = {"model", "optimizers", "schedulers", "state", "config", "name"}
_EXTRA = "extra"  # the model's extra state, which runs of an earlier version have not kept


@dataclass
class State:
    """Where a run stands after an epoch."""

    epoch: int = 0
    best: float = -1.0
    history: list[dict[str, Any]] = field(default_factory=list)


OnEpoch = Callable[[dict[str, Any]], None]
"""Called after each validation with the history's new row."""


def train(
    model: ExportableModel,
    train_set: Split[Any],
    val_set: Split[Any] | Sequence[Split[Any]],
    output: Path,
    config: TrainConfig,
    resume: bool = False,
    progress: Progress = silent,
    on_epoch: OnEpoch | None = None,
) -> State:
    """Trains; writes `best.safetensors`, `last.pt` (to resume from) and `history.json` into `output` after each epoch.

    Args:
        model: a model of the registry, of any task in `rsvl.tasks`.
        train_set: images to train on; those of a `Mixture` are drawn by its weights.
        val_set: images that choose the best epoch; of several sets, by the mean of their primary metrics.
        output: folder of the run; created if missing.
        config: the hyperparameters.
        resume: resume from `last.pt` if there is one; a killed run loses at most one epoch.
        progress: called after every step; its detail is the smoothed loss.
        on_epoch: called after every epoch.

    Raises:
        UsageError: `output` holds a run and `resume` is not set.
        InputError: `last.pt` is damaged or of another model or configuration.
    """
    _refuse_to_overwrite(output)
    run = _Run(model, train_set, val_set, output, config, progress, on_epoch)
    if run.last.exists() and not resume:
        raise UsageError(f"{output} holds a training run: add --resume to continue it, or name another folder")
    if run.last.exists():
        run.restore()
    while run.state.epoch < config.epochs:
        run.train_epoch()
        run.finish_epoch()
    return run.state


def _refuse_to_overwrite(output: Path) -> None:
    """Raises where a run's results lie without the state to continue it from: the next epoch would replace them."""
    kept = [name for name in (BEST, HISTORY) if (output / name).exists()]
    if kept and not (output / LAST).exists():
        raise UsageError(
            f"{output} has {' and '.join(kept)} of another run and no {LAST} to continue it from: name another folder"
        )


class _Run:
    def __init__(
        self,
        model: ExportableModel,
        train_set: Split[Any],
        val_set: Split[Any] | Sequence[Split[Any]],
        output: Path,
        config: TrainConfig,
        progress: Progress,
        on_epoch: OnEpoch | None,
    ) -> None:
        self.config, self.output = config, output
        self.progress, self.on_epoch = progress, on_epoch
        self.training, self.evaluation = training_of(model.spec.task), evaluation_of(model.spec.task)
        self.sampler = self.training.training_set(model, train_set, config.sentences, config.seed)
        if config.augment and not self.sampler.can_augment:
            raise UsageError("--augment: the images of this task are not varied, leave it out")
        self.trained_on = f"{train_set.name} {train_set.split}"
        self.val_sets = [val_set] if isinstance(val_set, Split) else list(val_set)
        self.name = model.spec.name
        self.state = State()
        self.last = output / LAST
        output.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(mixed_precision=config.precision, cpu=not torch.cuda.is_available())
        images = min(config.epoch_images or len(train_set), len(train_set))
        self.order, self.variation = torch.Generator(), torch.Generator()
        loader = DataLoader(
            self.sampler,
            batch_size=config.batch,
            sampler=self._drawn(train_set, images),
            drop_last=images > config.batch,
            num_workers=config.workers,
            collate_fn=join,
        )
        for module in model.modules():
            if isinstance(module, nn.Conv2d):  # the layout that convolutions in half precision are fast in
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = self.accelerator.prepare(model)
        self.optimizers = [self.accelerator.prepare(optimizer) for optimizer in optimizers(model, config)]
        # Custom batches move themselves: accelerate would not know the dataclass.
        self.loader = self.accelerator.prepare_data_loader(loader, device_placement=False)
        steps = len(self.loader) * config.epochs
        self.schedulers = [
            torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: factor(config.schedule, step, config.warmup, steps)
            )
            for optimizer in self.optimizers
        ]

    def _drawn(self, train_set: Split[Any], images: int) -> Sampler[int]:
        """The order of an epoch's images."""
        if isinstance(train_set, Mixture):
            return WeightedRandomSampler(train_set.draws.tolist(), images, generator=self.order)
        return RandomSampler(self.sampler, num_samples=images, generator=self.order)

    def train_epoch(self) -> None:
        self.model.train()
        self.sampler.epoch = self.state.epoch
        self.loader.set_epoch(self.state.epoch)
        seed = self.config.seed * 100_003 + self.state.epoch
        self.order.manual_seed(seed)
        self.variation.manual_seed(seed * 1009 + self.accelerator.process_index)
        self.started, smoothed = time.monotonic(), None
        for step, batch in enumerate(self.loader, 1):
            varied = self.sampler.augmented(batch, self.variation) if self.config.augment else batch
            loss = float(self._step(varied.to(self.accelerator.device)))
            smoothed = loss if smoothed is None else 0.98 * smoothed + 0.02 * loss
            if not math.isfinite(loss):
                raise InputError(f"the loss is {loss} in epoch {self.state.epoch}: lower --lr or train in float32")
            if self.accelerator.is_main_process:
                self._report(step, smoothed)
        self.smoothed = smoothed

    def _report(self, step: int, loss: float) -> None:
        """Reports the 1-based step of this epoch."""
        epoch, epochs, steps = self.state.epoch, self.config.epochs, len(self.loader)
        stage = f"epoch {epoch + 1} of {epochs}"
        self.progress(epoch * steps + step, epochs * steps, stage, f"loss {loss:.4f}")

    def _step(self, batch: Batch) -> Tensor:
        with self.accelerator.autocast(), attention_for_training(self.accelerator.device):
            loss = self.model(**batch.arguments())
        self.accelerator.backward(loss)
        if self.config.clip:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip)
        for optimizer, scheduler in zip(self.optimizers, self.schedulers, strict=True):
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def finish_epoch(self) -> None:
        """Validates on the main process, then writes the best weights, the state and the history."""
        self.state.epoch += 1
        if self.accelerator.is_main_process:
            report = self._validate()
            row = {
                "epoch": self.state.epoch,
                "loss": self.smoothed,
                "seconds": round(time.monotonic() - self.started, 1),
                **report,
            }
            self.state.history.append(row)
            score = report[self.evaluation.PRIMARY_METRIC] or 0.0  # None where validation had nothing to measure
            if self.state.epoch == 1 or score > self.state.best:
                self.state.best = score
                save_weights(
                    self.accelerator.unwrap_model(self.model),
                    self.output / BEST,
                    {
                        "data": self.trained_on,
                        "epoch": str(self.state.epoch),
                        f"validation {self.evaluation.PRIMARY_METRIC}": f"{score:.4f}",
                    },
                )
            self._save()
            if self.on_epoch is not None:
                self.on_epoch(row)
        self.accelerator.wait_for_everyone()

    def _validate(self) -> dict[str, Any]:
        """The report of the validation set; of several, each one's by name and the mean of their primary metrics."""
        model = self.accelerator.unwrap_model(self.model).eval()
        options, primary = EvalOptions(self.config.val_limit), self.evaluation.PRIMARY_METRIC
        calibrate = getattr(self.training, "calibrate", None)  # few tasks have anything to calibrate
        with self.accelerator.autocast():
            if calibrate is not None:
                calibrate(model, self.val_sets)
            predict = self.training.torch_predictor(model)
            reports = [self.evaluation.evaluate(predict, each, options).to_dict() for each in self.val_sets]
        if len(reports) == 1:
            return dict(reports[0])
        mean = sum(report[primary] or 0.0 for report in reports) / len(reports)
        names = [f"{index}: {each.name}" for index, each in enumerate(self.val_sets, 1)]
        return {primary: mean, "sets": dict(zip(names, reports, strict=True))}

    def _save(self) -> None:
        content = {
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "state": asdict(self.state),
            "config": asdict(self.config),
            "name": self.name,
        }
        content[_EXTRA] = self._extra_state()
        # Through a file object: torch.save to a path hides a full disk behind a RuntimeError.
        with replacing(self.last) as temporary, temporary.open("wb") as file:
            torch.save(content, file)
        history = {"config": asdict(self.config), "epochs": self.state.history}
        write_text(self.output / HISTORY, json.dumps(history, indent=1))

    def _extra_state(self) -> dict[str, str]:
        model = self.accelerator.unwrap_model(self.model)
        return model.extra_state() if isinstance(model, ExportableModel) else {}

    def restore(self) -> None:
        content = self._read_last()
        name, config = content["name"], content["config"]
        if name != self.name:
            raise InputError(f"{self.last} is a run of {name}, not of {self.name}: name that model or another folder")
        config = {**asdict(TrainConfig()), **config}  # a run of an earlier version lacks what was not there to choose
        if config != asdict(self.config):
            changed = [key for key, value in asdict(self.config).items() if config.get(key) != value]
            raise InputError(
                f"{self.last} is a run with other {', '.join(changed)}: give the options it was started with"
            )
        kept = content.get(_EXTRA)
        kept = kept if isinstance(kept, dict) else {}
        changed = [key for key, value in self._extra_state().items() if kept.get(key, value) != value]
        if changed:
            raise InputError(
                f"{self.last} is a run with other {', '.join(changed)}: give the weights and data it was started with"
            )
        try:
            self.accelerator.unwrap_model(self.model).load_state_dict(content["model"])
            for parts in ("optimizers", "schedulers"):
                for part, saved in zip(getattr(self, parts), content[parts], strict=True):
                    part.load_state_dict(saved)
        except Exception as error:  # each of them has its own
            raise self._unusable(f"its tensors are not those of this {name}") from error
        self.state = State(**content["state"])

    def _read_last(self) -> dict[str, Any]:
        with self.last.open("rb") as file:
            try:
                content = torch.load(file, map_location="cpu", weights_only=True)
            except Exception as error:  # a damaged file can raise almost anything, with advice to trust it
                raise self._unusable("it is damaged or of another type") from error
        if not isinstance(content, dict) or content.keys() - {_EXTRA} != _KEPT:
            raise self._unusable("it was not written by rsvl train")
        return content

    def _unusable(self, why: str) -> InputError:
        best = self.output / BEST
        further = f", with --weights {best} from its best epoch" if best.is_file() else ""
        return InputError(f"{self.last} cannot be resumed from, {why}: start again in another folder{further}")


def optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW or SGD for everything, or Muon for the matrices of linear layers and AdamW for the rest.

    Muon's steps are scaled to AdamW's, so that one learning rate serves both.

    Raises:
        UsageError: an unknown optimizer, or a model that Muon has nothing to do for.
    """
    if config.optimizer not in ("adamw", "muon", "sgd"):
        raise UsageError(f"unknown optimizer {config.optimizer!r}: use adamw, muon or sgd")
    if config.optimizer == "sgd":
        groups = parameter_groups(model.named_parameters(), config)
        return [torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True)]
    if config.optimizer == "adamw":
        return [torch.optim.AdamW(parameter_groups(model.named_parameters(), config), fused=True)]
    named = dict(model.named_parameters())
    matrices = {
        f"{name}.weight"
        for name, module in model.named_modules()
        # An orthogonal step says nothing for a few rows.
        if isinstance(module, nn.Linear) and min(module.weight.shape) > 8
    }
    if not matrices:
        raise UsageError("the model has no linear layers that Muon is for: use --optimizer adamw")
    rest = {name: value for name, value in named.items() if name not in matrices}
    groups = parameter_groups(((name, named[name]) for name in named if name in matrices), config)
    return [
        torch.optim.Muon(groups, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(parameter_groups(rest.items(), config), fused=True),
    ]


def parameter_groups(named: Iterable[tuple[str, nn.Parameter]], config: TrainConfig) -> list[dict[str, Any]]:
    """Encoders at their own rate; no weight decay on biases, norms and embeddings."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        decays = parameter.dim() > 1 and "embedding" not in name
        groups.setdefault((name.startswith(ENCODERS), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": config.lr * (config.encoder_rate if encoder else 1.0),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (encoder, decays), parameters in groups.items()
    ]


def attention_for_training(device: torch.device) -> AbstractContextManager[None]:
    """On CPUs plain matrix products: for the short sequences here they train faster than the fused kernel."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()

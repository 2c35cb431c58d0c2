"""The trainer: accelerate, averaged weights, exact resume. What is trained is a `Task`'s business."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing
from pellucid.train.checkpoint import Checkpoints
from pellucid.train.ema import PowerEMA
from pellucid.train.log import Log
from pellucid.train.rate import lr_factor
from pellucid.train.samples import save_grid
from pellucid.train.tasks.base import Batch, Task

Report = Callable[[int, dict[str, float], float], None]


class Trainer:
    """One run of a task: `train()` goes from the newest whole checkpoint, if there is one, to the last step.

    Args:
        task: what is trained, with its configuration.
        command: that was typed, for the card.
    """

    def __init__(self, task: Task, command: str = "") -> None:
        from accelerate import Accelerator

        self.task, self.config = task, task.config
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        self.accelerator = Accelerator(mixed_precision=self.config.precision)
        device = self.accelerator.device
        task.model.to(device)
        self.objectives, self.optimisers = {}, {}
        for name, objective in task.objectives.items():
            optimiser = torch.optim.Adam(task.parameters(name), lr=self.config.lr, betas=(0.9, 0.99), fused=True)
            # Several processes average gradients inside the prepared objective.
            self.objectives[name], self.optimisers[name] = self.accelerator.prepare(objective.to(device), optimiser)
        self.names = [name for name, p in task.model.named_parameters() if p.requires_grad]
        self.ema = PowerEMA(self.averaged(), self.config.ema)
        self.checkpoints = Checkpoints(self.config.out / "checkpoints", self.config.keep)
        self.step, self.seconds = 0, 0.0
        self.made_on, self.command = self._made_on(), command

    def _made_on(self) -> dict[str, Any]:
        """What the card says of the machine; kept in the checkpoint, since shipping may happen on another one."""
        device, processes = self.accelerator.device, self.accelerator.num_processes
        cpu = f"CPU, {torch.get_num_threads()} thread(s), {platform.machine()}"
        name = cpu if device.type == "cpu" else torch.cuda.get_device_name(device)
        several = f", {processes} processes" if processes > 1 else ""
        return {"device": f"{name}, {self.config.precision}{several}", "torch": str(torch.__version__)}

    def newest_step(self) -> int:
        """The step of the newest checkpoint by its name, 0 without one."""
        files = self.checkpoints.files()
        return int(files[-1].stem.partition("-")[2]) if files else 0

    def averaged(self) -> list[Tensor]:
        """The parameters whose average is kept."""
        return [p for p in self.task.model.parameters() if p.requires_grad]

    def train(self, report: Report | None = None, until: int | None = None) -> None:
        """Runs to the last step, or to `until`; calls `report(step, figures, pictures per second)` after each."""
        self.resume()
        last = self.config.steps if until is None else min(self.config.steps, until)
        if self.step >= last:
            return
        log = Log(self.config.out, self.step) if self.accelerator.is_main_process else None
        try:
            start = time.perf_counter()
            for batches in self._batches(last):
                figures, pictures = self._one_step(batches)
                if log:
                    log.scalars(self.step, figures)
                elapsed = time.perf_counter() - start  # with the batch's making, without validation and saving
                self.seconds += elapsed
                self._housekeeping(log, last)
                if report:
                    report(self.step, figures, pictures / elapsed)
                start = time.perf_counter()
        finally:
            if log:
                log.close()

    def _one_step(self, batches: list[Batch]) -> tuple[dict[str, float], int]:
        """One optimiser step over this process's micro-batches: figures, and how many pictures all processes saw."""
        averages = dict(zip(self.names, self.ema.values, strict=True))
        self.task.maintain(self.step, averages)
        rate = self.config.lr * lr_factor(self.step, self.config)
        totals: dict[str, Tensor] = {}
        for k, batch in enumerate(batches):
            torch.manual_seed(self._slot_seed(k))
            moved = {key: self._placed(value) for key, value in batch.items()}
            for name, objective in self.objectives.items():
                loss = self._backward(name, objective, moved, last=k == len(batches) - 1)
                totals[name] = totals.get(name, 0.0) + loss.detach() / len(batches)
        self.accelerator.unscale_gradients()  # all before any step: fp16's scale is shared, and a step changes it
        for name in self.optimisers:
            torch.nn.utils.clip_grad_norm_(self.task.parameters(name), self.config.clip)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self.ema.update(self.averaged(), self.step)
        first = next(iter(totals))
        figures = {("loss" if n == first else f"loss_{n}"): float(self._mean(v)) for n, v in totals.items()}
        pictures = sum(len(next(iter(b.values()))) for b in batches) * self.accelerator.num_processes
        return figures | {"rate": rate}, pictures

    def _backward(self, name: str, objective: nn.Module, batch: Batch, last: bool) -> Tensor:
        """Adds one micro-batch's gradients to the parameters of one objective, and of no other."""
        others = [p for other in self.objectives if other != name for p in self.task.parameters(other)]
        for p in others:
            p.requires_grad_(False)
        with nullcontext() if last else self.accelerator.no_sync(objective):
            with self.accelerator.autocast():
                loss: Tensor = objective(**batch)
            if not torch.isfinite(loss):
                raise ConfigError(f"the loss of step {self.step} is {loss.item()}; lower lr, or take precision = 'no'")
            self.accelerator.backward(loss / self.config.accumulate)
        for p in others:
            p.requires_grad_(True)
        return loss

    def _batches(self, last: int) -> Iterator[list[Batch]]:
        """This process's micro-batches of every step, made ahead by `workers` threads; their order is fixed."""
        own = range(self.config.accumulate)
        if not self.config.workers:
            for step in range(self.step, last):
                yield [self.task.batch(step, self._slot(k)) for k in own]
            return
        with ThreadPoolExecutor(self.config.workers) as pool:
            ahead: list[list[Future[Batch]]] = []
            for step in range(self.step, last + self.config.workers):
                if step < last:
                    ahead.append([pool.submit(self.task.batch, step, self._slot(k)) for k in own])
                if len(ahead) > self.config.workers or (step >= last and ahead):
                    yield [future.result() for future in ahead.pop(0)]
            for futures in ahead:
                yield [future.result() for future in futures]

    def _slot(self, k: int) -> int:
        return self.accelerator.process_index * self.config.accumulate + k

    def _slot_seed(self, k: int) -> int:
        """Whatever draws from torch's own generator (dropout, KL sampling) repeats itself after a resume."""
        return int(np.random.SeedSequence([self.config.seed, self.step, self._slot(k), 9]).generate_state(1)[0])

    def _placed(self, value: Tensor) -> Tensor:
        value = value.to(self.accelerator.device)
        return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value

    def _mean(self, value: Tensor) -> Tensor:
        mean: Tensor = self.accelerator.reduce(value, reduction="mean")
        return mean

    def _housekeeping(self, log: Log | None, last: int) -> None:
        """Validation, samples and checkpoints, when they are due; by the first process."""
        config, step = self.config, self.step
        if not log:
            return
        validate = config.validation is not None and (step % config.validate_every == 0 or step == config.steps)
        sample = config.sample_every > 0 and step % config.sample_every == 0
        if validate or sample:
            model = self.averaged_model()
            if validate:
                log.scalars(step, {f"validation_{k}": v for k, v in self.task.validate(model).items()})
            if sample and (pictures := self.task.sample(model)) is not None:
                log.picture(step, "samples", save_grid(pictures, config.out / "samples" / f"{step:07d}.png"))
        if step % config.checkpoint_every == 0 or step == last:
            self.save(log)

    def state(self) -> dict[str, Any]:
        """Everything that continues the run: plain containers and tensors."""
        scaler = self.accelerator.scaler
        return {
            "kind": self.task.kind,
            "signature": json.dumps(self.task.signature(), sort_keys=True),
            "objectives": {name: o.state_dict() for name, o in self.task.objectives.items()},
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "ema": self.ema.values,
            "scaler": scaler.state_dict() if scaler else None,
            "step": self.step,
            "seconds": self.seconds,
            "made_on": self.made_on,
            "command": self.command,
        }

    def save(self, log: Log | None = None) -> None:
        """Writes a checkpoint, and the configuration beside it."""
        if not self.accelerator.is_main_process:
            return
        self.config.out.mkdir(parents=True, exist_ok=True)
        with replacing(self.config.out / "config.json") as partial:
            words = {"training": self.task.training, **dataclasses.asdict(self.config)}
            partial.write_text(json.dumps(words, indent=2, default=str))
        if log:
            log.flush()
        self.checkpoints.save(self.step, self.state())

    def resume(self) -> Path | None:
        """Takes up the newest whole checkpoint; returns its file, None if there is none.

        Raises:
            ConfigError: the checkpoint belongs to another network, or the processes do not find the same one.
        """
        found = self.checkpoints.load(self.accelerator.device)
        self._agree(found[1]["step"] if found else 0)
        if found is None:
            if (self.config.out / "checkpoint.pt").exists():
                warnings.warn(f"{self.config.out}/checkpoint.pt is of an older version and is not used", stacklevel=2)
            return None
        path, saved = found
        theirs, own = json.loads(saved["signature"]), json.loads(json.dumps(self.task.signature()))
        if saved["kind"] != self.task.kind or any(own.get(key) != value for key, value in theirs.items()):
            raise ConfigError(f"{path} belongs to another network; choose another 'out' folder")
        for name, state in saved["objectives"].items():
            self.task.objectives[name].load_state_dict(state)
        for name, state in saved["optimisers"].items():
            self.optimisers[name].load_state_dict(state)
        for value, old in zip(self.ema.values, saved["ema"], strict=True):
            value.copy_(old)
        if saved["scaler"] is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.made_on = saved.get("made_on", self.made_on)
        self.command = self.command or saved.get("command", "")
        return path

    def _agree(self, step: int) -> None:
        """Raises `ConfigError` where processes would go on from different steps (folders that are not shared)."""
        mine = torch.tensor([float(step)], device=self.accelerator.device)
        steps = self.accelerator.gather(mine)
        if bool((steps != steps[0]).any()):
            raise ConfigError(
                f"the processes find checkpoints of different steps ({steps.int().tolist()}) in "
                f"{self.checkpoints.folder}: the folder must be one that all of them share"
            )

    def averaged_model(self) -> nn.Module:
        """The averaged weights as a model of their own, in evaluation mode."""
        model = self.task.copy_model()
        parameters = [p for p in model.parameters() if p.requires_grad]
        with torch.no_grad():
            for parameter, value in zip(parameters, self.ema.values, strict=True):
                parameter.copy_(value)
        return model.eval().requires_grad_(False)

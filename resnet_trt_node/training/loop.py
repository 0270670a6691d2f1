"""
Training a network: SGD, mixed precision, augmentation on the device, exact resuming.

Everything that decides the next step is in `Training.state_dict`: weights, their average,
momenta, the loss scale and the epoch's number. Order and augmentation follow from the seed and
the epoch (see `augmentation`), the learning rate from the step (see `schedule`).
"""

from __future__ import annotations

from dataclasses import asdict
import math
from time import perf_counter
from typing import Any, Callable, Iterator, Optional

from resnet_trt_node.errors import BackendError, UsageError
from resnet_trt_node.training.data.augment import (
    crop_and_resize, crop_boxes, EpochPlan, mix_batch, normalise, plan_epoch, vary_colours)
from resnet_trt_node.training.data.dataset import TrainingData
from resnet_trt_node.training.data.pictures import StoredPictures
from resnet_trt_node.training.data.trivial_augment import alter_tones
from resnet_trt_node.training.devices import (
    amp_dtype, autocast, convolutions, memory_errors, pick_device)
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.ema import WeightAverage
from resnet_trt_node.training.metrics import EpochMetrics, measure, Score
from resnet_trt_node.training.schedule import learning_rate
from resnet_trt_node.training.settings import COMPILED, TrainingSettings
from resnet_trt_node.training.teacher import distillation_loss
import torch
from torch import nn
from torch.nn import functional

#: Seconds between looks at the loss: each waits for the device.
_LOOK_EVERY_S = 2.0


class Training:
    """
    A training under way.

    :param network: is trained in place and moved to the device.
    :param data: its pictures.
    :param settings: how.
    :param device: where; None takes the first GPU, else the CPU.
    :param amp: mixed precision, on a GPU: bfloat16, or float16 with a loss scale where the GPU
        lacks that.
    :param compiled: one of `COMPILED`: whether `torch.compile` makes the network faster, at the
        price of a minute, and whether its kernels are replayed from CUDA graphs.
    :param after_step: called with the network after each step of the optimiser, and with its
        average after that was updated; such as to put a mask on weights again.
    :param teacher: whose answers are learnt too, see `load_teacher`, on that device; the settings
        have its digest and share.
    :param group: processes that train together, each with the same data and first weights; None
        for this one alone.
    :raises UsageError: if there are fewer pictures than two.
    """

    def __init__(
            self, network: nn.Module, data: TrainingData, settings: TrainingSettings, *,
            device: Optional[torch.device] = None, amp: bool = True, compiled: str = 'no',
            after_step: Optional[Callable[[nn.Module], None]] = None,
            teacher: Optional[nn.Module] = None, group: Optional[ProcessGroup] = None) -> None:
        if len(data.train) < 2:
            raise UsageError('one picture to train with: batch norm needs several')
        self.device = device or pick_device('auto')
        self.settings = settings
        self.data = data
        self.network = network.to(
            device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = WeightAverage(self.network, settings.ema) if settings.ema else None
        #: Epochs that are done.
        self.epoch = 0
        self.history: list[EpochMetrics] = []
        self._after_step = after_step or (lambda network: None)
        #: Pictures a step: fewer than asked for where there are not so many.
        self.batch_size = min(settings.batch_size, len(data.train))
        self.steps = len(data.train) // self.batch_size
        self._group = group or ProcessGroup()
        self._group.check_batch(self.batch_size)
        forward: Any = self.network if compiled == 'no' else torch.compile(
            self.network, mode=COMPILED[compiled])
        self._forward = self._group.parallel(forward)
        # Not from graphs: their outputs do not outlive the next graph that is replayed.
        self._teacher: Any = teacher if teacher is None or compiled == 'no' else torch.compile(
            teacher)
        self._optimizer = _optimizer(self.network, settings, self.device)
        self._amp_dtype = amp_dtype(self.device) if amp else None
        self._scaler = torch.amp.GradScaler(
            self.device.type, enabled=self._amp_dtype == torch.float16)

    @property
    def result(self) -> nn.Module:
        """Return the network that is measured and kept: the average where there is one."""
        return self.network if self.average is None else self.average.network

    def epochs(
            self, on_step: Callable[[str], None] = lambda note: None) -> Iterator[EpochMetrics]:
        """
        Train epoch by epoch.

        :param on_step: called after each step with a few words for a progress bar.
        :returns: the metrics of each epoch once it is done.
        :raises BackendError: if memory runs out, or the loss is not finite any more.
        """
        with memory_errors(self.batch_size), convolutions(self.device):
            while self.epoch < self.settings.epochs:
                start = perf_counter()
                loss, top1 = self._train_epoch(on_step)
                trained = perf_counter()
                score = self.validate(group=self._group)
                if not math.isfinite(score.loss):
                    # The last step's damage, which no loss of a step shows.
                    raise self._diverged('validation loss', score.loss, self.steps)
                self.epoch += 1
                metrics = EpochMetrics(
                    self.epoch, self._lr(self.epoch * self.steps - 1), loss, top1, score.loss,
                    score.top1, score.top5,
                    self.steps * self.batch_size / (trained - start), trained - start,
                    perf_counter() - trained)
                self.history.append(metrics)
                yield metrics

    def validate(
            self, full_precision: bool = False, group: Optional[ProcessGroup] = None) -> Score:
        """
        Measure the network that is kept.

        :param full_precision: in float32, as a deployed fp32 model computes.
        :param group: processes that call this together; None for this one alone.
        """
        self.result.eval()
        return measure(
            self.result, self.data.validation, self.device,
            None if full_precision else self._amp_dtype, group)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continues the training exactly, in plain types."""
        return {
            'epoch': self.epoch,
            'network': self.network.state_dict(),
            'average': None if self.average is None else {
                'network': self.average.network.state_dict(), 'updates': self.average.updates},
            'optimizer': self._optimizer.state_dict(),
            'scaler': self._scaler.state_dict(),
            'history': [asdict(one) for one in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Continue where `state_dict` was called.

        :param state: what it returned, from a training of the same network and settings.
        """
        self.network.load_state_dict(state['network'])
        if self.average is not None:
            self.average.network.load_state_dict(state['average']['network'])
            self.average.updates = state['average']['updates']
        self._optimizer.load_state_dict(state['optimizer'])
        self._scaler.load_state_dict(state['scaler'])
        self.epoch = state['epoch']
        self.history = [EpochMetrics(**one) for one in state['history']]

    def _lr(self, step: int) -> float:
        settings = self.settings
        return learning_rate(
            step, settings.epochs * self.steps, round(settings.warmup_epochs * self.steps),
            settings.lr)

    def _train_epoch(self, on_step: Callable[[str], None]) -> tuple[float, Optional[float]]:
        """Return the mean loss and, where pictures are not mixed, the share of right answers."""
        plan = plan_epoch(
            self.settings, len(self.data.train), self.steps, self.epoch, self.device)
        self.network.train()
        # Kept on the device: reading one number makes the processor wait for all the work.
        losses = torch.zeros(self.steps, device=self.device)
        hits = torch.zeros((), device=self.device, dtype=torch.int64)
        note, looked = '', perf_counter()
        # Of each batch this process's shard.
        mine = torch.arange(self.steps * self.batch_size).reshape(
            self.steps, self.batch_size)[:, self._group.shard(self.batch_size)]
        for number, batch in enumerate(
                self.data.train.batches(plan.order[mine.flatten()], mine.shape[1])):
            loss, logits = self._step(plan, number, batch)
            losses[number] = loss
            hits += (logits.argmax(1) == batch.targets).sum()
            if perf_counter() - looked > _LOOK_EVERY_S or not number:
                note = f'epoch {self.epoch + 1}/{self.settings.epochs}, ' \
                    f'loss {self._look(losses[:number + 1]):.3f}'
                looked = perf_counter()
            on_step(note)
        self._group.average_buffers(
            [self.network] if self.average is None else [self.network, self.average.network])
        mean = self._look(self._group.mean(losses))
        share = self._group.mean(hits.double() / mine.numel())
        return mean, None if self.settings.mix != 'none' else float(share)

    def _step(
            self, plan: EpochPlan, number: int,
            batch: StoredPictures) -> tuple[torch.Tensor, torch.Tensor]:
        shard = self._group.shard(self.batch_size)
        first = number * self.batch_size
        rows = slice(first + shard.start, first + shard.stop)
        settings = self.settings
        boxes = crop_boxes(plan.crops[rows], batch.aspects, settings.min_scale)
        pictures = crop_and_resize(
            batch.pictures, boxes, plan.warps[rows], self.data.image_size)
        if plan.colours is not None:
            pictures = vary_colours(pictures, plan.colours[rows])
        if plan.tones is not None:
            pictures = alter_tones(pictures, plan.tones[rows])
        pictures, share = mix_batch(
            normalise(pictures), settings.mix, plan.shares[number], plan.places[number])
        with torch.no_grad(), autocast(self.device, self._amp_dtype):
            teacher_logits = None if self._teacher is None else self._teacher(pictures).float()
        with autocast(self.device, self._amp_dtype):
            logits = self._forward(pictures).float()
        smoothing = settings.label_smoothing
        loss = functional.cross_entropy(logits, batch.targets, label_smoothing=smoothing)
        if share < 1:
            loss = share * loss + (1 - share) * functional.cross_entropy(
                logits, torch.roll(batch.targets, -1), label_smoothing=smoothing)
        if teacher_logits is not None:
            loss = torch.lerp(
                loss, distillation_loss(logits, teacher_logits, settings.temperature),
                settings.teacher_share)
        for group in self._optimizer.param_groups:
            group['lr'] = self._lr(self.epoch * self.steps + number)
        self._optimizer.zero_grad(set_to_none=True)
        scaled: Any = self._scaler.scale(loss)
        scaled.backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._after_step(self.network)
        if self.average is not None:
            self.average.update()
            self._after_step(self.average.network)
        return loss.detach(), logits.detach()

    def _look(self, losses: torch.Tensor) -> float:
        """Return the mean loss; refuse to go on if it is not finite."""
        values: list[float] = losses.tolist()
        for number, value in enumerate(values, start=1):
            if not math.isfinite(value):
                raise self._diverged('loss', value, number)
        return sum(values) / len(values)

    def _diverged(self, what: str, value: float, number: int) -> BackendError:
        rate = self._lr(self.epoch * self.steps + number - 1)
        return BackendError(
            f'the {what} became {value} at step {number} of epoch {self.epoch + 1} (learning rate '
            f'{rate:.3g}): choose a lower --lr or a longer --warmup-epochs; if that does not '
            'help, --no-amp')


def _optimizer(
        network: nn.Module, settings: TrainingSettings,
        device: torch.device) -> torch.optim.Optimizer:
    """Return SGD that leaves norms and biases, which have one axis, without weight decay."""
    parameters = [one for one in network.parameters() if one.requires_grad]
    groups = [
        {'params': [one for one in parameters if one.ndim > 1],
         'weight_decay': settings.weight_decay},
        {'params': [one for one in parameters if one.ndim <= 1], 'weight_decay': 0.0}]
    return torch.optim.SGD(
        groups, settings.lr, momentum=settings.momentum, nesterov=True,
        fused=device.type == 'cuda')

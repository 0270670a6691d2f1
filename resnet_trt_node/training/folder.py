"""The folder of a training: checkpoints, metrics and the learning curve."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
from typing import Any, Optional

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.json_document import json_document
from resnet_trt_node.training.checkpoints.files import (
    load_file, plain_weights, save_file, trained_model, TrainedModel)
from resnet_trt_node.training.devices import memory_errors
from resnet_trt_node.training.learning_curve import draw_learning_curve
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.metrics import EpochMetrics, Score
import torch

LAST, BEST = 'last.pth', 'best.pth'
METRICS_JSON, METRICS_CSV, CURVE = 'metrics.json', 'metrics.csv', 'learning_curve.png'


@dataclass(frozen=True)
class Summary:
    """
    What a training came to.

    :param last: the last epoch's network, measured in float32.
    :param best: the best epoch's.
    :param best_epoch: its number, from 1.
    :param curve: whether the learning curve was drawn, which needs matplotlib.
    """

    last: Score
    best: Score
    best_epoch: int
    curve: bool


class TrainingFolder:
    """
    Keeps a training in a folder, and continues it from there.

    :param folder: made when there is something to keep.
    :param weights: what the training starts from, in words.
    :param save_every: epochs between checkpoints; the last epoch is always kept.
    :param resume: continue what is there instead of refusing it.
    :raises UsageError: if there is a run already, or none to continue, or the folder cannot be
        written to.
    """

    def __init__(
            self, folder: Path, weights: str, save_every: int = 1, resume: bool = False) -> None:
        self.folder = folder
        self._weights = weights
        self._save_every = save_every
        if save_every < 1:
            raise UsageError(f'--save-every {save_every}: choose at least 1')
        there = [name for name in (LAST, BEST, METRICS_JSON) if (folder / name).exists()]
        if there and not resume:
            raise UsageError(
                f'{folder} has a run already ({", ".join(there)}): pass --resume to continue it, '
                'or another --output')
        if resume and not (folder / LAST).is_file():
            raise UsageError(
                f'there is no {folder / LAST} to continue: leave --resume away, or name the '
                'folder of the run with --output')
        existing = next(place for place in (folder, *folder.absolute().parents)
                        if place.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise UsageError(f'cannot write to {existing}: choose another --output')
        #: The checkpoint of the best epoch so far.
        self._best: dict[str, Any] = {}

    def restore(self, training: Training) -> None:
        """
        Continue the run of the folder.

        :param training: with the same network, data and settings, not started.
        :raises UsageError: naming what differs.
        :raises ModelError: if the checkpoints cannot be used.
        """
        path = self.folder / LAST
        content = load_file(path)
        if trained_model(content, str(path)) is None or 'training' not in content:
            raise ModelError(f'{path} is no checkpoint of resnet_trt train: name another --output')
        try:
            differences = self._differences(training, content)
            if differences:
                raise UsageError(
                    f'{path} belongs to a training that differs: {"; ".join(differences)}. Repeat '
                    'the options and data of that run to continue it, or name another --output')
            with memory_errors(training.batch_size):
                training.load_state_dict(content['training'])
            self._best = dict(content['best'])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            cause = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(
                f'{path} is damaged ({type(error).__name__}: {cause}): train again with another '
                '--output') from error

    def keep(self, training: Training) -> None:
        """Take in an epoch that was just done; write the files where it is time."""
        metrics = training.history[-1]
        # Deployable by itself.
        content = {
            **self._model(training).to_dict(), 'state_dict': plain_weights(training.result),
            'epoch': metrics.epoch, 'metrics': asdict(metrics), 'run': self._run(training)}
        if best_epoch(training.history) == training.epoch:
            self._best = content
        if training.epoch % self._save_every and training.epoch != training.settings.epochs:
            return
        state = training.state_dict()
        # The same weights again, which torch.save writes once if they are the same tensors.
        kept = state['average'] or state
        kept['network'] = content['state_dict']
        # The best weights are in here too: an interruption between two files loses nothing.
        save_file({**content, 'training': state, 'best': self._best}, self.folder / LAST)
        save_file(self._best, self.folder / BEST)
        self._write_metrics(training, None)

    def finish(self, training: Training) -> Summary:
        """Measure what was kept in float32, and write metrics and curve."""
        last = training.validate(full_precision=True)
        best = last
        if self._best['epoch'] != training.epoch:
            before = plain_weights(training.result)
            training.result.load_state_dict(self._best['state_dict'])
            best = training.validate(full_precision=True)
            training.result.load_state_dict(before)
        curve = draw_learning_curve(
            training.history, f'{training.network.arch} on {training.data.name}, '
            f'{len(training.data.train)} pictures', self.folder / CURVE)
        summary = Summary(last, best, best_epoch(training.history), curve)
        self._write_metrics(training, summary)
        return summary

    def _model(self, training: Training) -> TrainedModel:
        rule = training.data.rule
        return TrainedModel(
            str(training.network.arch), training.data.labels, rule.crop_height,
            rule.short_side or rule.crop_height)

    def _run(self, training: Training) -> dict[str, Any]:
        """Return what must be the same for a run to be continued."""
        data = training.data
        return {
            'weights': self._weights,
            'pictures': len(data.train), 'validation_pictures': len(data.validation.targets),
            'fingerprint': data.fingerprint, 'settings': asdict(training.settings),
        }

    def _differences(self, training: Training, content: dict[str, Any]) -> list[str]:
        now = {**self._model(training).to_dict(), **self._run(training)}
        then = {**content, **content['run']}
        found = [
            f'{name}: {then[name]}, now {now[name]}'
            for name in ('arch', 'weights', 'image_size', 'resize', 'pictures',
                         'validation_pictures') if then[name] != now[name]]
        found += training.settings.differences(then['settings'])
        if then['labels'] != now['labels']:
            found.append(f'{len(then["labels"])} classes, now {len(now["labels"])} or others')
        if then['fingerprint'] != now['fingerprint']:
            found.append('other pictures')
        return found

    def _write_metrics(self, training: Training, summary: Optional[Summary]) -> None:
        model = self._model(training).to_dict()
        # That is the checkpoint's.
        del model['format']
        document: dict[str, Any] = {
            **model, **self._run(training),
            'corrupt': [asdict(one) for one in training.data.corrupt],
            'torch': torch.__version__, 'device': str(training.device),
            'epochs': [asdict(one) for one in training.history],
        }
        if summary is not None:
            document['summary'] = asdict(summary)
        with whole_file(self.folder / METRICS_JSON) as temporary:
            # A file name may be no Unicode: '\\udce9' then stands there, which is JSON.
            temporary.write_text(
                json.dumps(json_document('metrics', document), indent=2, ensure_ascii=False)
                + '\n', encoding='utf-8', errors='backslashreplace')
        rows = document['epochs']
        with whole_file(self.folder / METRICS_CSV) as temporary, \
                temporary.open('w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def best_epoch(history: list[EpochMetrics]) -> int:
    """Return the number of the epoch with the highest accuracy, the first of equals."""
    return max(history, key=lambda one: one.validation_top1).epoch

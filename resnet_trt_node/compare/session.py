"""One comparison from opening to figures, as the document that every report is made from."""

from __future__ import annotations

from contextlib import contextmanager, ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence, Union

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node import __version__
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.backends.options import discard
from resnet_trt_node.compare.accuracy import compare_answers, Tolerance
from resnet_trt_node.compare.choice import check_used, import_runners, open_subject
from resnet_trt_node.compare.figures import figures
from resnet_trt_node.compare.latency import measure, Plan
from resnet_trt_node.compare.machine import describe_machine, package_versions
from resnet_trt_node.compare.saved import check_size, read_saved, SavedSubject, write_saved
from resnet_trt_node.compare.subject import Subject
from resnet_trt_node.contract.model_file import parse_model, read_model, read_model_spec, spec_in
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import BackendError, BackendUnavailable, ModelError, UsageError


@dataclass(frozen=True)
class _Row:
    """
    One model on one backend.

    :param label: what it is called in every table.
    :param model: the deployable ONNX file.
    :param backend: the backend's name.
    """

    label: str
    model: Path
    backend: str


@dataclass(frozen=True)
class Session:
    """
    What is compared, and how.

    :param models: deployable ONNX files of one network, at least one.
    :param names: backends, at least one; each model runs on each.
    :param options: what backends are opened with; batch sizes and buffers are set to the plan's.
    :param plan: what is timed.
    :param tolerance: how far answers may differ.
    :param skip_unavailable: go on without what cannot be opened, which the document names.
    :param saved: files that `save` wrote in other runs, which are compared with the backends.
    :param log: takes lines for the user.
    :param step: called after each turn of a subject, with its label.
    """

    models: Sequence[Path]
    names: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    tolerance: Tolerance = field(default_factory=Tolerance)
    skip_unavailable: bool = False
    saved: Sequence[Path] = ()
    log: Callable[[str], None] = discard
    step: Callable[[str], None] = discard

    def _label(self, model: Path, backend: str) -> str:
        """Return the shortest name that tells a model on a backend from the others."""
        stems = [other.stem for other in self.models]
        name = model.stem if stems.count(model.stem) == 1 else str(model)
        if len(self.models) == 1:
            return backend
        return name if len(self.names) == 1 and not self.saved else f'{name} {backend}'

    def read_spec(self) -> ModelSpec:
        """
        Read the models' common contract.

        :raises ModelError: if a model is not deployable.
        :raises UsageError: if one is named twice, or they are of different networks.
        """
        specs = [read_model_spec(model) for model in self.models]
        for model, spec in zip(self.models, specs):
            if [other.resolve() for other in self.models].count(model.resolve()) > 1:
                raise UsageError(f'{model} is named twice: name each model once')
            for what in ('resize', 'labels', 'multi_label'):
                if getattr(spec, what) != getattr(specs[0], what):
                    raise UsageError(
                        f'{model} and {self.models[0]} have different {what}: compare models of '
                        'one network, whose answers mean the same')
        return specs[0]

    def run(self, frames: NDArray[np.uint8]) -> dict[str, Any]:
        """
        Open, compare, measure.

        :param frames: uint8 (N, H, W, 3) RGB, at least one.
        :returns: what JSON can say; without what the caller knows better, the command and where
            the frames are from.
        :raises BackendUnavailable: if Polygraphy, or a backend that is not to be skipped, is
            missing, or if none can be opened.
        :raises ResnetTrtError: if models, options or runtimes cannot be used.
        """
        import_runners()  # its absence is to be reported before minutes of building
        models = {model: _describe(model) for model in self.models}
        saved = self._read_saved(models, frames)
        with self._opened() as (opened, unavailable):
            subjects = {row.label: one for row, one in opened.items()}
            answers = {label: one.infer(frames) for label, one in subjects.items()}
            agreements = compare_answers(
                {**answers, **{row.label: one.answers for row, one in saved.items()}},
                self.tolerance, self.read_spec().multi_label)
            timings = measure(subjects, frames, self.plan, self.step)
        _check_unchanged(models)
        rows = [_document(row, one) for row, one in opened.items()]
        rows += [{**_document(row, one), 'saved': dict(one.origin)} for row, one in saved.items()]
        for size, found in timings.items():
            values = figures(found, size, self.plan.seed, {
                row.label: one.timings[size] for row, one in saved.items()})
            for row in rows:
                row['latency'].append(values[row['label']])
        tolerance = self.tolerance
        return {
            'tool_version': __version__, **_origin(),
            'packages': package_versions(), 'models': list(models.values()),
            'plan': asdict(self.plan), 'rows': rows, 'reference': rows[0]['label'],
            'unavailable': [
                {'label': label, 'reason': reason} for label, reason in unavailable.items()],
            'accuracy': {
                **asdict(tolerance), 'frames': len(frames),
                'agree': all(one.agrees(tolerance) for one in agreements.values()),
                'pairs': {label: one.to_json(tolerance) for label, one in agreements.items()}}}

    def save(self, frames: NDArray[np.uint8], path: Path) -> None:
        """
        Answer and measure, and keep that in a file; nothing is compared, without Polygraphy.

        :param frames: uint8 (N, H, W, 3) RGB, at least one.
        :param path: the file to write.
        :raises ResnetTrtError: if models, options, runtimes or the place cannot be used.
        """
        check_size(frames)
        models = {model: _describe(model) for model in self.models}
        with self._opened() as (opened, _):
            answers = [one.infer(frames) for one in opened.values()]
            timings = measure(
                {row.label: one for row, one in opened.items()}, frames, self.plan, self.step)
        _check_unchanged(models)
        rows = [{**_document(row, one), 'model_sha256': models[row.model]['sha256']}
                for row, one in opened.items()]
        write_saved(path, {**_origin(), 'rows': rows}, frames, answers, [
            {size: found[row.label] for size, found in timings.items()} for row in opened])

    def _read_saved(
            self, models: Mapping[Path, dict[str, Any]],
            frames: NDArray[np.uint8]) -> dict[_Row, SavedSubject]:
        """Return what the files say."""
        paths = {described['sha256']: model for model, described in models.items()}
        specs = {sha256: read_model_spec(model) for sha256, model in paths.items()}
        found: dict[_Row, SavedSubject] = {}
        for path in self.saved:
            for one in read_saved(path, specs, frames, self.plan.batch_sizes):
                model = paths[one.model_sha256]
                row = _Row(
                    self._label(model, f'{one.backend} ({path.name})'), model, one.backend)
                if row in found:
                    raise UsageError(f'{row.label} is named twice: rename a file')
                found[row] = one
        return found

    @contextmanager
    def _opened(self) -> Iterator[tuple[dict[_Row, Subject], dict[str, str]]]:
        """Give each model on each backend, and label to reason of those that are unavailable."""
        check_used(self.names, self.options)
        sizes = self.plan.batch_sizes
        options = {
            **self.options, 'max_batch_size': sizes[-1], 'opt_batch_sizes': sizes,
            'num_buffers': 1, 'log': self.log}
        opened: dict[_Row, Subject] = {}
        unavailable: dict[str, str] = {}
        with ExitStack() as stack:
            for model, name in product(self.models, self.names):
                row = _Row(self._label(model, name), model, name)
                try:
                    opened[row] = stack.enter_context(open_subject(name, model, options))
                except (BackendError, ModelError) as error:
                    unavailable[row.label] = str(error)
            reasons = '; '.join(f'{label}: {reason}' for label, reason in unavailable.items())
            if not opened:
                raise BackendUnavailable(f'no backend can be opened: {reasons}')
            if unavailable and not self.skip_unavailable:
                raise BackendUnavailable(
                    f'cannot be opened: {reasons}; leave it out, or go on without it with '
                    '--skip-unavailable')
            for label, reason in unavailable.items():
                self.log(f'without {label}: {reason}')
            yield opened, unavailable


def _document(row: _Row, subject: Union[Subject, SavedSubject]) -> dict[str, Any]:
    """Return what the document says of a row, to which latencies are added."""
    info = subject.info
    return {
        'label': row.label, 'model': row.model.name, 'precision': subject.spec.precision,
        'backend': row.backend, 'python': subject.python, 'runtime': info.name,
        'version': info.version, 'device': info.device, 'latency': [],
        # Reports are published, and where a machine keeps its files is nobody's business.
        'details': {
            name: Path(value).name if Path(value).is_absolute() else value
            for name, value in info.details.items()}}


def _origin() -> dict[str, Any]:
    """Return when and on what machine a run measured."""
    return {'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'machine': describe_machine()}


def _describe(model: Path) -> dict[str, Any]:
    data = read_model(model)
    spec = spec_in(parse_model(data, model), model)
    return {
        'name': model.name, 'sha256': sha256_of(data), 'bytes': len(data),
        'architecture': spec.architecture, 'precision': spec.precision, 'source': spec.source,
        'input': [spec.height, spec.width, 3], 'classes': spec.num_classes}


def _check_unchanged(models: Mapping[Path, dict[str, Any]]) -> None:
    # Each backend reads its model for itself.
    for model, described in models.items():
        if _describe(model) != described:
            raise ModelError(f'{model} was changed while it was compared: try again')

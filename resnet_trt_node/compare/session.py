"""One comparison from opening to figures, as the document that every report is made from."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence, TYPE_CHECKING

from resnet_trt_node import __version__
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.compare.accuracy import compare_answers, Tolerance
from resnet_trt_node.compare.choice import (
    check_used, Choice, import_runners, labels_of, open_choice)
from resnet_trt_node.compare.figures import figures
from resnet_trt_node.compare.latency import measure, Plan
from resnet_trt_node.compare.machine import describe_machine, package_versions
from resnet_trt_node.compare.subject import Subject
from resnet_trt_node.contract.model_file import (
    parse_model, read_model, read_model_spec, spec_in)
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import BackendError, BackendUnavailable, ModelError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Raised with every change that a reader of the JSON must know.
FORMAT = 1


def _silent(line: str) -> None:
    pass


@dataclass(frozen=True)
class Row:
    """
    One model on one backend.

    :param label: what it is called in every table.
    :param model: the deployable ONNX file.
    :param choice: the backend.
    """

    label: str
    model: Path
    choice: Choice


@dataclass(frozen=True)
class Session:
    """
    What is compared, and how.

    :param models: deployable ONNX files of one network, at least one.
    :param choices: backends, at least one; each model runs on each.
    :param options: what backends are opened with; batch sizes and buffers are set to the plan's.
    :param plan: what is timed.
    :param tolerance: how far answers may differ.
    :param skip_unavailable: go on without what cannot be opened, which the document names.
    :param log: takes lines for the user.
    :param step: called after each turn of a subject, with its label.
    """

    models: Sequence[Path]
    choices: Sequence[Choice]
    options: Mapping[str, Any] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    tolerance: Tolerance = field(default_factory=Tolerance)
    skip_unavailable: bool = False
    log: Callable[[str], None] = _silent
    step: Callable[[str], None] = _silent

    @property
    def rows(self) -> list[Row]:
        """Return what is compared; the first is the reference."""
        names = [model.stem for model in self.models]
        models = [
            name if names.count(name) == 1 else str(model)
            for name, model in zip(names, self.models)]
        labels = labels_of(self.choices)
        return [
            Row(label if len(self.models) == 1
                else name if len(self.choices) == 1 else f'{name} {label}', model, choice)
            for name, model in zip(models, self.models)
            for label, choice in zip(labels, self.choices)]

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
            for what in ('resize', 'labels'):
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
        check_used(self.choices, self.options)
        import_runners()  # its absence shall be told before minutes of building
        plan, tolerance = self.plan, self.tolerance
        largest = plan.batch_sizes[-1]
        options = {
            **self.options, 'max_batch_size': largest, 'opt_batch_sizes': plan.batch_sizes,
            'num_buffers': 1, 'log': self.log}
        models = [_describe(model) for model in self.models]
        with ExitStack() as stack:
            subjects, unavailable = self._open(stack, options)
            reference = next(iter(subjects))
            agreements = compare_answers(subjects, frames, largest, tolerance)
            timings = measure(subjects, frames, plan, self.step)
            rows = [self._row(row, subjects[row.label]) for row in self.rows
                    if row.label in subjects]
        # Each backend reads its model for itself, some in another process.
        for model, described in zip(self.models, models):
            if _describe(model) != described:
                raise ModelError(f'{model} was changed while it was compared: try again')
        for size, found in timings.items():
            for label, values in figures(found, size, plan.seed).items():
                next(row for row in rows if row['label'] == label)['latency'].append(values)
        return {
            'format': FORMAT, 'tool_version': __version__,
            'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'machine': describe_machine(), 'packages': package_versions(),
            'models': models,
            'plan': asdict(plan), 'rows': rows, 'reference': reference,
            'unavailable': [
                {'label': label, 'reason': reason} for label, reason in unavailable.items()],
            'accuracy': {
                **asdict(tolerance), 'frames': len(frames),
                'agree': all(one.agrees(tolerance) for one in agreements.values()),
                'pairs': {label: one.to_json(tolerance) for label, one in agreements.items()}}}

    def _open(
            self, stack: ExitStack,
            options: Mapping[str, Any]) -> tuple[dict[str, Subject], dict[str, str]]:
        """Open all rows; return subjects and reasons by label."""
        subjects: dict[str, Subject] = {}
        unavailable: dict[str, str] = {}
        for row in self.rows:
            try:
                subject = open_choice(row.choice, row.model, options)
            except (BackendError, ModelError) as error:
                unavailable[row.label] = str(error)
                continue
            subjects[row.label] = stack.enter_context(subject)
        reasons = '; '.join(f'{label}: {reason}' for label, reason in unavailable.items())
        if not subjects:
            raise BackendUnavailable(f'no backend can be opened: {reasons}')
        if unavailable and not self.skip_unavailable:
            raise BackendUnavailable(
                f'cannot be opened: {reasons}; leave it out, or go on without it with '
                '--skip-unavailable')
        for label, reason in unavailable.items():
            self.log(f'without {label}: {reason}')
        return subjects, unavailable

    def _row(self, row: Row, subject: Subject) -> dict[str, Any]:
        info = subject.info
        return {
            'label': row.label, 'model': row.model.name, 'precision': subject.spec.precision,
            'backend': row.choice.name, 'interpreter': row.choice.python,
            'python': subject.python, 'runtime': info.name, 'version': info.version,
            'device': info.device, 'latency': [],
            # Reports are published, and where a machine keeps its files is nobody's business.
            'details': {
                name: Path(value).name if Path(value).is_absolute() else value
                for name, value in info.details.items()}}


def _describe(model: Path) -> dict[str, Any]:
    data = read_model(model)
    spec = spec_in(parse_model(data, model), model)
    return {
        'name': model.name, 'sha256': sha256_of(data), 'bytes': len(data),
        'architecture': spec.architecture, 'precision': spec.precision, 'source': spec.source,
        'input': [spec.height, spec.width, 3], 'classes': spec.num_classes}

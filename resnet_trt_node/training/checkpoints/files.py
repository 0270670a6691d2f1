"""Checkpoint files: reading them safely, and what those of `resnet_trt train` tell."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
import re
from typing import Any, ContextManager, Mapping, Optional, Union
import warnings

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.errors import ModelError
from resnet_trt_node.labels.names import check_labels
import torch
from torch import nn

#: Marks the files of `resnet_trt train`; the number changes with what they hold.
FORMAT = 'resnet_trt.training/1'
_FAMILY = FORMAT.partition('/')[0]
_LONGEST_CAUSE = 200
#: Endings of what the library `safetensors` reads.
_SAFETENSORS = ('.safetensors',)


class _Unread:
    """What stands for an object of a checkpoint that is no tensor; keeps nothing of it."""

    def __new__(cls, *_: Any, **__: Any) -> _Unread:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""


#: Classes and functions of plain data that training programs keep beside the weights, such as
#: their command line or the best accuracy. None of them is called: `_Unread` is, by their name.
_PLAIN = {
    'argparse': ('Namespace',),
    'types': ('SimpleNamespace',),
    'pathlib': ('PosixPath', 'WindowsPath', 'PurePosixPath', 'PureWindowsPath'),
    'pathlib._local': ('PosixPath', 'WindowsPath', 'PurePosixPath', 'PureWindowsPath'),
    'datetime': ('datetime', 'date', 'time', 'timedelta', 'timezone'),
    'numpy': ('dtype',),
    'numpy.core.multiarray': ('scalar',),
    'numpy._core.multiarray': ('scalar',),
}
_STAND_INS = [type(name, (_Unread,), {'__module__': module})
              for module, names in _PLAIN.items() for name in names]


@dataclass(frozen=True)
class TrainedModel:
    """
    What a checkpoint of `resnet_trt train` knows about its weights.

    :param arch: the network's architecture.
    :param labels: class names in the order of its output.
    :param image_size: sides of its input.
    :param resize: short side before the centre crop.
    """

    arch: str
    labels: tuple[str, ...]
    image_size: int
    resize: int

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain types, for the checkpoint."""
        return {
            'format': FORMAT, 'arch': self.arch, 'labels': list(self.labels),
            'image_size': self.image_size, 'resize': self.resize}


def load_file(path: Union[str, Path]) -> Any:
    """
    Read what `torch.save` or `safetensors` wrote, without running any code in it.

    What a training program kept of itself in a few usual classes, such as `argparse.Namespace`,
    is not read.

    :param path: the file; its tensors come to the CPU.
    :raises ModelError: if it is missing, unreadable, or holds other things than plain ones, or if
        the library `safetensors` is needed and not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(
            f'no checkpoint at {path}: pass a file, the name of published weights, or random')
    if path.suffix.lower() in _SAFETENSORS:
        return _load_safetensors(path)
    try:
        with warnings.catch_warnings():
            # Of PyTorch's own reader, about the protocol of a pickle.
            warnings.simplefilter('ignore', UserWarning)
            with _stand_ins():
                return torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        raise ModelError(f'cannot read {path}: {error.strerror or error}') from error
    except Exception as error:  # noqa: B902  torch and pickle raise types of many kinds
        raise ModelError(
            f'{path} is not a checkpoint of plain tensors ({_cause(error)}): save it with '
            'torch.save(network.state_dict(), path)') from error


def _stand_ins() -> ContextManager[Any]:
    """Have `torch.load` put something empty for `_PLAIN`; PyTorch before 2.5 cannot."""
    allow = getattr(torch.serialization, 'safe_globals', None)
    return nullcontext() if allow is None else allow(_STAND_INS)


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file as load
    except ImportError as error:
        raise ModelError(
            f'reading {path} needs safetensors ({error}): pip install safetensors') from error
    try:
        tensors: dict[str, torch.Tensor] = load(path, device='cpu')
    except OSError as error:
        raise ModelError(f'cannot read {path}: {error.strerror or error}') from error
    except SafetensorError as error:
        raise ModelError(
            f'{path} is no whole safetensors file ({" ".join(str(error).split())}): copy or '
            'download it again') from error
    return tensors


def _cause(error: Exception) -> str:
    """Return what was met in a file; PyTorch explains at length how to load it unsafely."""
    text = str(error)
    met = re.search(r'Unsupported (?:global: GLOBAL|class) ([\w.]+)', text)
    if met:
        return f'it holds {met[1]}, and loading that can run code'
    # What stands behind the preamble, in one line.
    reason = text.rpartition('WeightsUnpickler error:')[2].split('Check the doc')[0]
    if isinstance(error, (KeyError, EOFError)) or not reason.strip():
        return f'PyTorch cannot read it: {type(error).__name__}'
    return ' '.join(reason.split())[:_LONGEST_CAUSE]


def plain_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of a network's weights on the CPU, for a checkpoint."""
    return {name: value.detach().to('cpu', copy=True).contiguous()
            for name, value in network.state_dict().items()}


def save_file(content: Mapping[str, Any], path: Union[str, Path]) -> None:
    """
    Write a checkpoint; it appears whole or not at all.

    :param content: plain types and tensors.
    :param path: the file; an older one is replaced.
    :raises UsageError: if the place cannot be written to.
    """
    with whole_file(path) as temporary:
        torch.save(dict(content), temporary)


def trained_model(content: Any, where: str) -> Optional[TrainedModel]:
    """
    Return what a checkpoint says of itself.

    :param content: what `load_file` returned.
    :param where: the file, for the message.
    :returns: None if it is not of `resnet_trt train`.
    :raises ModelError: if it is of a newer version, or malformed.
    """
    name = content.get('format') if isinstance(content, Mapping) else None
    if not isinstance(name, str) or name.partition('/')[0] != _FAMILY:
        return None
    if name != FORMAT:
        raise ModelError(
            f'{where} is of the format {name}, this version reads {FORMAT}: update '
            'resnet_trt_node')
    try:
        labels = tuple(str(label) for label in content['labels'])
        return TrainedModel(
            str(content['arch']), check_labels(labels, where=f'the classes of {where}'),
            int(content['image_size']), int(content['resize']))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f'{where} is a damaged checkpoint of resnet_trt train ({error!r}): use another one '
            'of that run, or train again') from error

"""What is known of weights beside their numbers: how pictures become their input, and classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Mapping, Optional

from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.onnx_tools.normalisation import IMAGENET, Normalisation

#: Checkpoint entry that carries it where weights are written again.
ENTRY = 'resnet_trt.declared'
#: Source of what a checkpoint of the package's own training says.
TRAIN = 'resnet_trt train'


@dataclass(frozen=True)
class DeclaredWeights:
    """
    How pictures become the input of a network, and its classes.

    :param image_size: H and W of the input, pixels.
    :param short_side: pixels of the short side before the centre crop; None stretches pictures.
    :param interpolation: one of `spec.INTERPOLATIONS`, or what the export has to refuse.
    :param normalisation: of the pixels.
    :param source: what says so, in words; '' where it was assumed.
    :param test: another image size that the weights were tested with, and its short side.
    :param labels: class names in the order of the output, None where they are unknown.
    :param arch: the network's architecture, '' where it is unknown.
    """

    image_size: int = 224
    short_side: Optional[int] = 256
    interpolation: str = 'bilinear'
    normalisation: Normalisation = IMAGENET
    source: str = ''
    test: Optional[tuple[int, int]] = None
    labels: Optional[tuple[str, ...]] = field(default=None, repr=False)
    arch: str = ''

    @property
    def is_imagenet(self) -> bool:
        """Return whether its 1000 classes are known to be ImageNet's."""
        return self.source.startswith(('torchvision ', 'timm ')) or '_in1k' in self.source

    def short_side_for(self, image_size: int) -> Optional[int]:
        """Return the short side for another image size: the tests' own, else in proportion."""
        if self.test is not None and self.test[0] == image_size:
            return self.test[1]
        if self.short_side is None:
            return None
        return round(image_size * self.short_side / self.image_size)

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain types, for a checkpoint."""
        return asdict(self)


def declared_in(content: Any, where: str) -> Optional[DeclaredWeights]:
    """
    Return what a checkpoint says of its weights in `ENTRY`.

    :param content: what the file holds.
    :param where: the file, for the message.
    :returns: None if it says nothing.
    :raises ModelError: if that is malformed.
    """
    entry = content.get(ENTRY) if isinstance(content, Mapping) else None
    if entry is None:
        return None
    try:
        values = dict(entry)
        one = dict(values.pop('normalisation'))
        labels, test = values.pop('labels'), values.pop('test')
        return DeclaredWeights(
            **values, normalisation=Normalisation(
                tuple(one['mean']), tuple(one['std']), float(one['scale']), bool(one['bgr'])),
            labels=None if labels is None else tuple(map(str, labels)),
            test=None if test is None else (int(test[0]), int(test[1])))
    except (KeyError, TypeError, ValueError, IndexError, UsageError) as error:
        raise ModelError(
            f'what {where} says of its preprocessing is malformed ({error!r}): prune the original '
            'checkpoint again') from error

"""How pictures become the input of a network that is exported, where a user says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Union

from resnet_trt_node.contract.spec import INTERPOLATIONS, ResizeRule
from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.onnx_tools.choices import STRETCH
from resnet_trt_node.onnx_tools.normalisation import Normalisation, pick_normalisation
from resnet_trt_node.training.checkpoints.declared import DeclaredWeights
from resnet_trt_node.training.settings import check_image_size


@dataclass(frozen=True)
class GivenPreprocessing:
    """
    How pictures become a network's input, where that is not as its weights say.

    :param mean: as for `normalisation.pick_normalisation`, None for the weights' own; `std` with
        it.
    :param std: likewise.
    :param scale: likewise; means something with a mean only.
    :param bgr: whether the network takes blue, green, red, as do a mean and std then.
    :param image_size: H and W; None takes the weights' own, 224 where they say nothing.
    :param resize: short side before the centre crop, 'stretch' to stretch pictures to the image
        size; None scales the weights' own rule.
    :param interpolation: one of `spec.INTERPOLATIONS`, None for the weights' own.
    """

    mean: Optional[Sequence[float]] = None
    std: Optional[Sequence[float]] = None
    scale: Optional[float] = None
    bgr: bool = False
    image_size: Optional[int] = None
    resize: Optional[Union[int, str]] = None
    interpolation: Optional[str] = None

    def __post_init__(self) -> None:
        """Refuse what is incomplete before any weights are read."""
        if (self.mean is None) != (self.std is None):
            raise UsageError('--mean and --std belong together: give both, or none')
        if self.mean is None and self.scale is not None:
            raise UsageError('--scale belongs to --mean and --std: give them too')
        if self.mean is None and self.bgr:
            raise UsageError(
                '--channel-order bgr needs --mean and --std: give them in that order')
        if self.mean is not None and self.std is not None:
            pick_normalisation(self.mean, self.std, self.scale)
        if self.image_size is not None:
            check_image_size(self.image_size, None)

    def normalisation(self, declared: DeclaredWeights) -> Normalisation:
        """Return the formula."""
        if self.mean is not None and self.std is not None:
            return pick_normalisation(self.mean, self.std, self.scale, self.bgr)
        return declared.normalisation

    def rule(self, declared: DeclaredWeights) -> ResizeRule:
        """
        Return the resize rule.

        :raises UsageError: if the network cannot take that size.
        :raises ModelError: if no picture can follow it.
        """
        size = declared.image_size if self.image_size is None else self.image_size
        check_image_size(size, None)
        short_side: Optional[int]
        if self.resize is None:
            short_side = declared.short_side_for(size)
        else:
            short_side = None if self.resize == STRETCH else int(self.resize)
        interpolation = self.interpolation or declared.interpolation
        if interpolation not in INTERPOLATIONS:
            raise ModelError(
                f'{declared.source} says interpolation {interpolation}, which is not known here: '
                f'pass --interpolation with one of {", ".join(INTERPOLATIONS)}')
        return ResizeRule(short_side, size, size, interpolation)

    def assumptions(self, declared: DeclaredWeights) -> list[str]:
        """Return what is assumed, a sentence each; what was given is none."""
        if declared.source:
            return []
        missing = [option for option, value in (
            ('--mean, --std', self.mean), ('--image-size', self.image_size),
            ('--resize', self.resize), ('--interpolation', self.interpolation)) if value is None]
        if not missing:
            return []
        return ["the weights say nothing of their preprocessing: ImageNet's usual is taken for "
                + ', '.join(missing)]

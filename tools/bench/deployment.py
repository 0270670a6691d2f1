"""How cameras and node are deployed: the transport between them, and what it promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from bench.environment import profile, PROFILE_VARIABLES

#: What differs from the environment of the benchmark; None takes a variable away.
Changes = Mapping[str, Optional[str]]


@dataclass(frozen=True)
class Deployment:
    """
    One way to deploy cameras and node.

    :param name: one word.
    :param title: in words.
    :param best_effort: whether the cameras offer, and the node asks for, no more.
    :param node: environment of the node.
    :param cameras: environment of the cameras.
    """

    name: str
    title: str
    best_effort: bool
    node: Changes = field(default_factory=dict)
    cameras: Changes = field(default_factory=dict)


_NO_PROFILE: Changes = dict.fromkeys(PROFILE_VARIABLES)
#: As docs/how-to/large-images.md advises: no frame is lost on its way.
PROFILE = Deployment(
    'profile', 'reliable, with the DDS profiles of config', False,
    cameras=profile('fastdds_large_images.xml'))
#: As a user starts it who has read nothing: images do not fit into DDS's shared memory, and UDP
#: loses some.
DEFAULT = Deployment(
    'default', 'best effort, on the default transport', True, _NO_PROFILE, _NO_PROFILE)

DEPLOYMENTS = {one.name: one for one in (PROFILE, DEFAULT)}

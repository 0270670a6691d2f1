"""The contract of a deployable model as an object, and its way through metadata."""

from dataclasses import FrozenInstanceError, replace
import json

import pytest

from resnet_trt_node.contract.spec import (
    CONTRACT_VERSION, INTERPOLATIONS, ModelSpec, PRECISIONS, ResizeRule)
from resnet_trt_node.errors import LabelsError, ModelError

SPEC = ModelSpec(
    height=224, width=192, labels=('cat', 'Möwe', 'a "quoted", name'),
    resize=ResizeRule(256, 224, 192, 'bicubic'), precision='int8', architecture='resnet50',
    source='a checkpoint', source_sha256='ab' * 32, tool_version='0.1.0')


def test_a_spec_survives_its_metadata():
    metadata = SPEC.to_metadata()
    assert all(isinstance(value, str) for value in metadata.values())
    assert ModelSpec.from_metadata({
        **metadata, 'producer': 'another tool', 'other_tool.labels': 'none'}) == SPEC


def test_class_names_do_not_drown_what_shows_a_spec():
    assert 'cat' not in repr(SPEC)


def test_a_stretching_rule_survives_its_metadata():
    spec = replace(SPEC, resize=ResizeRule(None, 224, 192))
    assert ModelSpec.from_metadata(spec.to_metadata()) == spec


def test_only_the_four_essential_properties_must_be_there():
    metadata = {
        name: value for name, value in SPEC.to_metadata().items()
        if name.split('.')[1] in ('contract', 'labels', 'resize', 'precision')}
    assert len(metadata) == 4
    assert ModelSpec.from_metadata(metadata) == replace(
        SPEC, architecture='', source='', source_sha256='', tool_version='')


def test_derived_numbers():
    assert SPEC.num_classes == 3
    assert SPEC.frame_bytes == 224 * 192 * 3


def test_a_spec_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        SPEC.height = 1


def test_a_rule_is_described_in_words():
    assert SPEC.resize.describe() == 'short side to 256, bicubic, centre crop 224x192'
    assert ResizeRule(None, 32, 48).describe() == 'stretch to 32x48, bilinear'


@pytest.mark.parametrize('interpolation', INTERPOLATIONS)
def test_every_interpolation_is_a_rule(interpolation):
    assert ResizeRule(32, 32, 32, interpolation).interpolation == interpolation


@pytest.mark.parametrize(('arguments', 'keyword'), [
    ((256, 224, 224, 'lanczos'), "'lanczos'"),
    ((256, 0, 224), 'crop of 0x224'),
    ((256, 224, -1), 'crop of 224x-1'),
    ((223, 224, 200), 'short side of 223'),
    ((0, 1, 1), 'short side of 0'),
])
def test_rules_that_no_picture_can_follow_are_refused(arguments, keyword):
    with pytest.raises(ModelError, match=keyword):
        ResizeRule(*arguments)


@pytest.mark.parametrize('precision', PRECISIONS)
def test_every_precision_is_a_spec(precision):
    assert replace(SPEC, precision=precision).precision == precision


@pytest.mark.parametrize(('changes', 'kind', 'keyword'), [
    ({'precision': 'bf16'}, ModelError, "'bf16'"),
    ({'labels': ()}, LabelsError, 'no class names'),
    ({'labels': ('a', '')}, LabelsError, 'line 2: .*blank'),
    ({'labels': ('a', 'a')}, LabelsError, "line 2: 'a'"),
    ({'height': 200}, ModelError, '224x192, .*200x192'),
])
def test_contradictions_are_refused(changes, kind, keyword):
    with pytest.raises(kind, match=keyword):
        replace(SPEC, **changes)


@pytest.mark.parametrize('missing', ['contract', 'labels', 'resize', 'precision'])
def test_a_missing_property_is_named_with_the_way_out(missing):
    metadata = SPEC.to_metadata()
    del metadata[f'resnet_trt.{missing}']
    with pytest.raises(ModelError, match=f'lacks {missing}: .*resnet_trt prepare'):
        ModelSpec.from_metadata(metadata)


def test_a_newer_contract_is_refused():
    metadata = {**SPEC.to_metadata(), 'resnet_trt.contract': '2'}
    with pytest.raises(ModelError, match=f"contract '2', .* {CONTRACT_VERSION}: update"):
        ModelSpec.from_metadata(metadata)


GOOD_RESIZE = {'short_side': 256, 'crop': [224, 192], 'interpolation': 'bilinear'}


@pytest.mark.parametrize(('name', 'value'), [
    ('labels', 'cat, dog'),
    ('labels', '"cat"'),
    ('labels', 'null'),
    ('labels', '{"cat": 0}'),
    ('labels', '["cat", 7]'),
    ('resize', ''),
    ('resize', '[]'),
    ('resize', 'null'),
    ('resize', json.dumps({**GOOD_RESIZE, 'crop': 224})),
    ('resize', json.dumps({**GOOD_RESIZE, 'crop': [224]})),
    ('resize', json.dumps({**GOOD_RESIZE, 'crop': ['wide', 192]})),
    ('resize', json.dumps({**GOOD_RESIZE, 'short_side': float('inf')})),
    ('resize', json.dumps({**GOOD_RESIZE, 'short_side': []})),
    ('resize', json.dumps({'short_side': 256})),
])
def test_malformed_properties_are_refused_without_a_traceback_of_their_own(name, value):
    with pytest.raises(ModelError, match='metadata'):
        ModelSpec.from_metadata({**SPEC.to_metadata(), f'resnet_trt.{name}': value})


def test_lists_in_lists_without_end_are_refused():
    """A parser of JSON gives up on them in its own way."""
    metadata = {**SPEC.to_metadata(), 'resnet_trt.labels': '[' * 100_000}
    with pytest.raises(ModelError, match='metadata'):
        ModelSpec.from_metadata(metadata)


def test_normalisation_and_assumptions_are_kept() -> None:
    spec = replace(SPEC, normalisation='(pixel - [0]) / [1], RGB', assumptions=('one', 'zwölf'))
    metadata = spec.to_metadata()
    assert json.loads(metadata['resnet_trt.assumptions']) == ['one', 'zwölf']
    assert ModelSpec.from_metadata(metadata) == spec
    # Older files have neither.
    assert {'resnet_trt.assumptions', 'resnet_trt.normalisation'}.isdisjoint(SPEC.to_metadata())
    for bad in ('"one"', '[1]', '{', 'null'):
        with pytest.raises(ModelError, match='malformed'):
            ModelSpec.from_metadata({**metadata, 'resnet_trt.assumptions': bad})

"""The text form: one grammar, a table, one clear line for what is wrong."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pellucid.operators
from pellucid.errors import OperatorError, ShapeError, UnknownNameError
from pellucid.operators import OPERATORS, CircularBlur, Identity, KernelBlur, Operator, Separable, Spec, parse
from pellucid.operators.named.entry import Parameter
from pellucid.operators.values import NUMBER, PATH, SIZE, WHOLE, WHOLE_OR_AUTO, Value

SHAPE = (3, 64, 64)


@pytest.mark.parametrize("name", OPERATORS)
def test_examples_are_read_printed_and_built(name: str, tmp_path: Path) -> None:
    entry = OPERATORS[name]
    spec = parse(entry.example)
    assert spec.name == name and spec.entry is entry and entry.summary
    assert str(spec) == entry.example and parse(str(spec)) == spec
    if name == "kernel-blur":
        np.save(tmp_path / "kernel.npy", np.ones((3, 5)))
        spec = parse(f"kernel-blur:file={tmp_path}/kernel.npy")
    if name == "bkse":
        return  # its network is large and made by an import: see tests/nn/test_kernelwizard.py
    operator = spec.build(SHAPE)
    assert operator(torch.rand(2, *SHAPE)).shape == (2, *operator.measurement_shape)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_tables_defaults_are_the_constructors(name: str) -> None:
    entry = OPERATORS[name]
    if not inspect.isclass(entry.build):
        return
    wanted = inspect.signature(entry.build).parameters
    for p in entry.parameters:
        assert p.help and wanted[p.name].default == p.default, p.name


def test_every_operator_that_a_text_could_describe_has_a_name() -> None:
    exported = {v for v in vars(pellucid.operators).values() if inspect.isclass(v) and issubclass(v, Operator)}
    named = {v for entry in OPERATORS.values() if inspect.isclass(v := entry.build)}
    built_by_a_function = {"Mask", "MotionBlur", "KernelBlur", "CircularBlur", "Stack", "Sum", "Transmission"}
    built_by_a_function |= {"Pixelation", "SparseView"}
    need_tensors = {"Diagonal", "Separable", "Truncated"}
    missing = {v.__name__ for v in exported - named if not inspect.isabstract(v)}
    assert missing - built_by_a_function - need_tensors == set()


def values(parameter: Parameter) -> st.SearchStrategy[Value]:
    if parameter.kind.words:
        return st.sampled_from(parameter.kind.words)
    return {
        WHOLE: st.integers(-(2**62), 2**62),
        WHOLE_OR_AUTO: st.just("auto") | st.integers(0, 9999),
        NUMBER: st.floats(allow_nan=False, allow_infinity=False),
        SIZE: st.one_of(st.integers(0, 9999), st.tuples(st.integers(0, 9999), st.integers(0, 9999))),
        PATH: st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
    }[parameter.kind]


@st.composite
def specs(draw: st.DrawFn, depth: int = 2) -> Spec:
    entry = OPERATORS[draw(st.sampled_from([n for n, e in OPERATORS.items() if depth or not e.parts[1]]))]
    given_ = [p for p in entry.parameters if p.required or draw(st.booleans())]
    parts = draw(st.lists(specs(depth - 1), min_size=entry.parts[0], max_size=min(entry.parts[1], 3))) if depth else []
    return Spec(entry.name, tuple((p.name, draw(values(p))) for p in given_), tuple(parts))


@given(specs())
def test_printing_and_parsing_round_trip(spec: Spec) -> None:
    assert parse(str(spec)) == spec


def test_spaces_and_order_do_not_matter() -> None:
    spec = parse(" compose : [ gaussian-blur : truncate=3, std = 2 ] , [bicubic:factor=2] ")
    assert str(spec) == "compose:[gaussian-blur:std=2,truncate=3],[bicubic:factor=2]"


def test_a_composition_is_in_the_order_of_its_text() -> None:
    spec = parse("compose:[gaussian-blur:std=1],[bicubic:factor=4],[uniform-blur:size=3]")
    operator = spec.build((3, 32, 48))
    assert operator.measurement_shape == (3, 8, 12) and isinstance(operator, Separable)
    assert spec.image_shape_for((3, 8, 12)) == (3, 32, 48)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("identity", (3, 8, 12)),
        ("mask:box=3", (3, 8, 12)),
        ("bicubic:factor=4", (3, 8, 12)),
        ("block-average:factor=2", (3, 8, 12)),
        ("grey", (3, 8, 12)),
        ("compose:[grey],[bicubic:factor=2]", (3, 8, 12)),
        ("phase-retrieval", (3, 32, 40)),
        ("phase-retrieval:oversample=1.5", (1, 31, 57)),
        ("scale:by=2,[grey]", (3, 8, 12)),
        ("pixelation:size=4", (3, 8, 12)),
        ("contrast", (3, 8, 12)),
        ("exposure", (3, 8, 12)),
        ("sparse-view:views=4,most=8", (3, 8, 12)),
        ("sum:[grey],[grey:weights=luma]", (3, 8, 12)),
    ],
)
def test_the_pictures_size_follows_from_the_measurements(text: str, shape: tuple[int, ...]) -> None:
    spec = parse(text)
    assert spec.image_shape_for(spec.build(shape).measurement_shape) == shape


@pytest.mark.parametrize("text", ["walsh-hadamard", "stack:[identity],[grey]", "bicubic:factor=0"])
def test_a_measurement_that_does_not_tell_is_refused(text: str) -> None:
    with pytest.raises(OperatorError):
        parse(text).image_shape_for((3, 8, 8))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a name was expected"),
        ("=3", "a name was expected"),
        ("gaussian-blur:", "parameter=value or"),
        ("gaussian-blur:std", "parameter=value or"),
        ("gaussian-blur:std=", "std has no value"),
        ("gaussian-blur std=3", "should end here"),
        ("gaussian-blur:std=1,std=2", "std is given twice"),
        ("gaussian-blur:sd=3", "no parameter 'sd'; it has std, kernel_size"),
        ("identity:std=3", "it has none"),
        ("gaussian-blur:std=wide", "std is a number, not 'wide'"),
        ("gaussian-blur:std=nan", "std is a number"),
        ("gaussian-blur:boundary=black", "one of reflect, zero, circular"),
        ("bicubic:factor=2.5", "factor is a whole number"),
        ("mask:random=0.5,seed=99999999999999999999", "seed is a whole number"),
        ("mask:box=3x", "height x width"),
        ("kernel-blur", "needs file, as in"),
        ("compose", "1 to 16 operators in brackets"),
        ("compose:[identity", "a ] is missing"),
        ("identity]", "should end here"),
        ("identity:[identity]", "takes no operators in brackets"),
        ("scale:[identity],[identity]", "1 to 1 operators"),
        ("scale:by=2," + "[scale:" * 25, "nested at most"),
        ("x" * 20_000, "at most 10000 characters"),
    ],
)
def test_a_wrong_text_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_name_comes_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian-blur'"):
        parse("compose:[gausian-blur:std=3]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mask", "exactly one of random, box, half, file"),
        ("mask:random=0.5,box=3", "exactly one of"),
        ("mask:box=3,top=1", "belong together"),
        ("mask:random=0.5,top=1,left=1", "to a box"),
        ("mask:random=1.5", "between 0 and 1"),
        ("mask:file=nowhere.png", "there is no file nowhere.png"),
        ("gaussian-blur:std=-1", "at least 0"),
        ("gaussian-blur:std=1e9", "reaches at most"),
        ("gaussian-blur:kernel_size=4", "odd, not 4"),
        ("uniform-blur:size=0", "1 to"),
        ("motion-blur:size=1", "size 3 to 1025"),
        ("motion-blur:seed=-1", "not negative"),
        ("bicubic:factor=0", "whole number from 1"),
        ("jpeg:quality=0", "between 1 and 100"),
        ("quantise:bits=0", "between 1 and 16"),
        ("walsh-hadamard:fraction=0", "above 0"),
        ("nonlinear-blur:gamma=0.5", "gamma is between"),
        ("scale:by=1,[mask]", "exactly one of"),
        ("pixelation:size=6", "a power of 2"),
        ("pixelation:size=0", "a power of 2"),
        ("contrast:keep=1.5", "keep must be between 0 and 1"),
        ("contrast:grey=-1", "grey must be between 0 and 1"),
        ("exposure:gain=-1", "gain must be at least 0"),
        ("sparse-view:views=7", "must divide 128"),
        ("sparse-view:views=0", "must divide 128"),
        ("sparse-view:views=1,most=1", "two views or more"),
    ],
)
def test_a_value_out_of_range_is_refused_when_built(text: str, message: str) -> None:
    with pytest.raises(OperatorError, match=message):
        parse(text).build(SHAPE)


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("mask:box=65", SHAPE, "not inside a picture of 64 x 64"),
        ("block-average:factor=7", SHAPE, "nearest that fits is 63 x 63"),
        ("bicubic:factor=100", SHAPE, "too small for the factor 100"),
        ("walsh-hadamard", (3, 60, 70), "nearest square that is: 64 x 64"),
        ("grey", (1, 64, 64), "3 channels, not 1"),
        ("jpeg", (2, 64, 64), "1 or 3 channels"),
        ("compose:[grey],[grey]", SHAPE, "3 channels, not 1"),
        ("sum:[grey],[identity]", SHAPE, "different shapes"),
        ("phase-retrieval:oversample=99", SHAPE, "between 0 and 16"),
    ],
)
def test_an_operator_that_does_not_fit_the_picture_is_refused(text: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        parse(text).build(shape)


def test_a_circular_boundary_makes_a_kernel_blur_spectral(tmp_path: Path) -> None:
    np.save(tmp_path / "k,[1].npy", np.ones((3, 5)))
    text = f'kernel-blur:file="{tmp_path}/k,[1].npy"'
    assert isinstance(parse(text).build(SHAPE), KernelBlur)
    assert isinstance(parse(text + ",boundary=circular").build(SHAPE), CircularBlur)
    assert isinstance(parse("motion-blur:boundary=circular").build(SHAPE), CircularBlur)
    assert isinstance(parse("identity").build(SHAPE), Identity)

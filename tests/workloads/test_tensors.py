"""Random tensors for whatever a model takes."""

from typing import Any

import numpy as np
import pytest

from workloads.datatypes import NUMPY
from workloads.lengths import Constant, Uniform
from workloads.requests import Dataset, RequestSourceError, TensorSpec
from workloads.tensors import Drawn


def drawn(spec: TensorSpec, **options: object) -> Dataset:
    return Drawn(**{"count": 40, "seed": 3, **options}).shaped([spec])


@pytest.mark.parametrize("datatype", sorted(NUMPY))
def test_every_data_type_can_be_drawn(datatype: str) -> None:
    array = drawn(TensorSpec("X", datatype, (3, 2))).inputs["X"]
    assert isinstance(array, np.ndarray)
    assert array.shape == (40, 3, 2)
    assert array.dtype == (object if datatype == "BYTES" else NUMPY[datatype])
    assert len({tuple(row.ravel().tolist()) for row in array}) > 15


def test_values_are_within_their_range() -> None:
    whole = drawn(TensorSpec("X", "INT8", (50,)), ranges={"X": (-3, 4)}).inputs["X"]
    assert set(np.unique(whole)) == set(range(-3, 5))
    real = np.asarray(drawn(TensorSpec("X", "FP64", (50,)), ranges={"X": (2.0, 3.0)}).inputs["X"])
    assert 2.0 <= real.min() < 2.1
    assert 2.9 < real.max() <= 3.0
    assert set(np.unique(drawn(TensorSpec("X", "BOOL", (50,))).inputs["X"])) == {False, True}


def test_dynamic_axes_have_the_lengths_of_their_distribution() -> None:
    specs = [TensorSpec("TOKENS", "INT64", (-1,)), TensorSpec("MASK", "INT64", (-1,)), TensorSpec("X", "FP32", (2, -1))]
    source = Drawn(
        200,
        1,
        {"words": Uniform(3, 9), "width": Uniform(1, 5)},
        {"TOKENS": ["words"], "MASK": ["words"], "X": ["width"]},
    )
    dataset = source.shaped(specs)
    tokens, mask, wide = (dataset.inputs[name] for name in ("TOKENS", "MASK", "X"))
    assert [len(one) for one in tokens] == [len(one) for one in mask], "one name, one length"
    assert {len(one) for one in tokens} == set(range(3, 10))
    assert {one.shape for one in wide} == {(2, size) for size in range(1, 6)}
    assert [len(one) for one in tokens] == source.drawn_lengths()["words"].tolist()


def test_strings_have_their_lengths() -> None:
    strings = drawn(TensorSpec("X", "BYTES", (2,)), strings=Uniform(4, 6)).inputs["X"]
    assert {len(one) for row in strings for one in row} == {4, 5, 6}


def test_requests_of_several_items_take_so_many_rows() -> None:
    dataset = drawn(TensorSpec("X", "FP32", (2,)), batch=Uniform(1, 4))
    shapes = [dataset.rows("X", index).shape for index in range(len(dataset))]
    assert len(dataset) == 40
    assert {shape[0] for shape in shapes} == {1, 2, 3, 4}
    together = np.concatenate([dataset.rows("X", index) for index in range(len(dataset))])
    np.testing.assert_array_equal(together, dataset.inputs["X"])


def test_the_same_seed_draws_the_same_and_another_others() -> None:
    spec = TensorSpec("X", "FP32", (4,))
    np.testing.assert_array_equal(drawn(spec, seed=5).inputs["X"], drawn(spec, seed=5).inputs["X"])
    assert not np.array_equal(drawn(spec, seed=5).inputs["X"], drawn(spec, seed=6).inputs["X"])


def test_optional_inputs_are_left_out() -> None:
    specs = [TensorSpec("X", "FP32", (1,)), TensorSpec("Y", "FP32", (1,), optional=True)]
    assert list(Drawn(5, 0).shaped(specs).inputs) == ["X"]


@pytest.mark.parametrize("named", [{"shapes": {"Y": []}}, {"ranges": {"Y": (1, 1)}}], ids=["shapes", "ranges"])
def test_optional_inputs_that_are_named_are_drawn(named: dict[str, Any]) -> None:
    specs = [TensorSpec("X", "FP32", (1,)), TensorSpec("Y", "FP32", (2,), optional=True)]
    dataset = Drawn(5, 0, **named).shaped(specs)
    assert [np.shape(dataset.inputs[name]) for name in ("X", "Y")] == [(5, 1), (5, 2)]


def test_an_optional_input_with_a_range_and_dynamic_axes_needs_their_names() -> None:
    specs = [TensorSpec("X", "FP32", (1,)), TensorSpec("MASK", "INT64", (-1,), optional=True)]
    with pytest.raises(RequestSourceError, match=r"input 'MASK' has the shape \[-1\], so `shapes` must name 1 length"):
        Drawn(5, 0, ranges={"MASK": (1, 1)}).shaped(specs)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (TensorSpec("X", "FP32", (-1, 4, -1)), {}, r"has the shape \[-1, 4, -1\], so `shapes` must name 2 lengths"),
        (TensorSpec("X", "FP32", (-1,)), {"shapes": {"X": ["n"]}}, "input 'X': `lengths` has no 'n'"),
        (TensorSpec("X", "FP32", (1,)), {"shapes": {"Z": ["n"]}}, "the model has no input 'Z'; it has X"),
        (TensorSpec("X", "FP32", (1,)), {"ranges": {"Z": (0, 1)}}, "the model has no input 'Z'"),
        (TensorSpec("X", "UINT8", (1,)), {"ranges": {"X": (0, 256)}}, "whole numbers from 0 to 255, but are 0 to 256"),
        (TensorSpec("X", "INT8", (1,)), {"ranges": {"X": (0, 1.5)}}, r"numbers from -128 to 127, but are 0 to 1\.5"),
        (TensorSpec("X", "COMPLEX", (1,)), {}, "input 'X' is COMPLEX, which cannot be drawn"),
        (
            TensorSpec("X", "FP32", (-1,)),
            {"lengths": {"n": Constant(2)}, "shapes": {"X": ["n"]}, "batch": Constant(2)},
            "need rows of one shape",
        ),
    ],
)
def test_says_what_cannot_be_drawn(spec: TensorSpec, options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestSourceError, match=message):
        drawn(spec, **options)


def test_nothing_is_drawn_for_a_model_that_does_not_tell_what_it_takes() -> None:
    with pytest.raises(RequestSourceError, match="does not tell what its model takes"):
        Drawn(1, 0).shaped([])

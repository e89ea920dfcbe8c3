"""Labels that are no classes: numbers of any shape, and anything at all."""

import json
from pathlib import Path

import numpy as np
import pytest

from workloads.datasets import load_dataset, load_npz
from workloads.labels import Wanted
from workloads.requests import RequestSourceError


def lines(path: Path, *labels: object) -> Path:
    path.write_text("".join(json.dumps({"X": [1.0], "labels": one}) + "\n" for one in labels))
    return path


def npz(path: Path, labels: object) -> Path:
    np.savez(path, X=np.zeros((2, 3)), labels=labels)
    return path


def test_numbers_keep_their_shape(tmp_path: Path) -> None:
    vectors = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = load_npz(npz(tmp_path / "some.npz", vectors), wanted="numbers").labels
    assert found is not None
    assert found.dtype == np.float64
    assert found.tolist() == vectors.tolist()
    found = load_dataset(lines(tmp_path / "some.jsonl", [0.5, 1], [2, 3]), wanted="numbers").labels
    assert found is not None
    assert found.tolist() == [[0.5, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("labels", "kept"), [(["a", "b"], ["a", "b"]), ([[1], [2, 3]], [[1], [2, 3]]), ([1, 2], [1, 2])]
)
def test_anything_is_kept_as_it_is(labels: list[object], kept: list[object], tmp_path: Path) -> None:
    found = load_dataset(lines(tmp_path / "some.jsonl", *labels), wanted="any").labels
    assert found is not None
    assert len(found) == 2
    assert found.tolist() == kept


@pytest.mark.parametrize(("wanted", "kept"), [("numbers", [1.5, -2.0]), ("any", ["1.5", "-2"])])
def test_a_folder_has_them_in_its_table(wanted: Wanted, kept: list[object], tmp_path: Path) -> None:
    folder = tmp_path / "X"
    folder.mkdir()
    for name in ("one.bin", "two.bin"):
        (folder / name).write_bytes(b"x")
    (folder / "labels.csv").write_text("two.bin,-2\none.bin,1.5\n")
    found = load_dataset(folder, wanted=wanted).labels
    assert found is not None
    assert found.tolist() == kept


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.5, "x"], r"some\.jsonl:2: labels: expected a finite number, or a list of them, but got 'x'"),
        ([[1, 2], [1]], r"some\.jsonl:2: labels: has the shape \[1\], those before have \[2\]"),
        ([[1, [2]], [1]], r"some\.jsonl:1: labels: expected a finite number, or a list"),
        ([1.0, None], "line 2: has no 'labels', unlike others"),
        ([1.0, float("inf")], r"some\.jsonl:2: labels: expected a finite number"),
    ],
)
def test_a_line_whose_label_is_no_number_is_named(labels: list[object], message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestSourceError, match=message):
        load_dataset(lines(tmp_path / "some.jsonl", *labels), wanted="numbers")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array(["a", "b"]), "must hold numbers; it is <U1"),
        (np.array([1.0, np.nan]), "item 1 is not finite"),
        (np.float64(3), "must have a row for each item"),
    ],
)
def test_an_array_that_holds_no_numbers_is_named(labels: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestSourceError, match=message):
        load_npz(npz(tmp_path / "some.npz", labels), wanted="numbers")

"""Request sources: what a file must hold, and how its errors read."""

from pathlib import Path

import numpy as np
import pytest

from workloads.datasets import load_npz
from workloads.requests import RequestSourceError


def stored(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


def refused(path: Path) -> str:
    with pytest.raises(RequestSourceError) as error:
        load_npz(path)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


def test_reads_inputs_and_labels(tmp_path: Path) -> None:
    images = np.arange(12, dtype=np.float32).reshape(3, 4)
    dataset = load_npz(stored(tmp_path / "test.npz", IMAGE=images, labels=np.array([2, 0, 1], np.int8)))
    assert list(dataset.inputs) == ["IMAGE"]
    np.testing.assert_array_equal(dataset.inputs["IMAGE"], images)
    assert dataset.labels is not None
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [2, 0, 1]
    assert len(dataset) == 3


def test_labels_are_optional(tmp_path: Path) -> None:
    dataset = load_npz(stored(tmp_path / "test.npz", A=np.zeros((5, 2)), B=np.zeros(5)))
    assert dataset.labels is None
    assert len(dataset) == 5


def test_labels_may_have_another_name(tmp_path: Path) -> None:
    path = stored(tmp_path / "test.npz", IMAGE=np.zeros((2, 2)), y=np.array([1, 0]))
    dataset = load_npz(path, labels_key="y")
    assert list(dataset.inputs) == ["IMAGE"]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere.npz").endswith("no such file")


def test_a_directory_is_no_dataset(tmp_path: Path) -> None:
    assert "not an .npz file" in refused(tmp_path)


def test_a_text_file_is_no_dataset(tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    path.write_text("a,b\n1,2\n")
    assert "not an .npz file of plain arrays" in refused(path)


def test_an_empty_file_is_no_dataset(tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    path.write_bytes(b"")
    assert "not an .npz file of plain arrays" in refused(path)


def test_a_truncated_file_is_no_dataset(tmp_path: Path) -> None:
    path = stored(tmp_path / "test.npz", IMAGE=np.zeros((50, 8)))
    path.write_bytes(path.read_bytes()[:200])
    assert "not an .npz file of plain arrays" in refused(path)


def test_a_single_array_is_no_dataset(tmp_path: Path) -> None:
    """An .npy file has no names for its inputs."""
    path = tmp_path / "test.npy"
    np.save(path, np.zeros((3, 2)))
    assert "not an .npz file" in refused(path)


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    path = stored(tmp_path / "test.npz", IMAGE=np.array([{"a": 1}, {"b": 2}], dtype=object))
    assert "plain arrays" in refused(path)


def test_arrays_of_different_lengths_are_listed(tmp_path: Path) -> None:
    message = refused(stored(tmp_path / "test.npz", A=np.zeros((3, 2)), B=np.zeros((4, 2))))
    assert "same number of rows; found {'A': 3, 'B': 4}" in message


def test_labels_must_match_the_inputs(tmp_path: Path) -> None:
    message = refused(stored(tmp_path / "test.npz", A=np.zeros((3, 2)), labels=np.zeros(2, np.int64)))
    assert "found {'A': 3, 'labels': 2}" in message


def test_labels_alone_are_no_dataset(tmp_path: Path) -> None:
    assert "one array per model input" in refused(stored(tmp_path / "test.npz", labels=np.zeros(2, np.int64)))


def test_an_input_without_rows_is_no_dataset(tmp_path: Path) -> None:
    assert "found {'A': 0}" in refused(stored(tmp_path / "test.npz", A=np.zeros((0, 2))))


def test_a_scalar_is_no_input(tmp_path: Path) -> None:
    assert "found {'A': 0}" in refused(stored(tmp_path / "test.npz", A=np.float32(3.0)))


def test_a_scalar_is_no_list_of_labels(tmp_path: Path) -> None:
    assert "labels" in refused(stored(tmp_path / "test.npz", A=np.zeros((1, 2)), labels=np.int64(1)))


@pytest.mark.parametrize(
    "labels",
    [np.array(["cat", "dog"]), np.array([0.25, 0.5]), np.eye(2, dtype=np.int64)],
    ids=["names", "fractions", "one-hot"],
)
def test_labels_must_be_one_class_number_per_item(tmp_path: Path, labels: object) -> None:
    assert "labels" in refused(stored(tmp_path / "test.npz", A=np.zeros((2, 2)), labels=labels))

"""Datasets of every form: arrays, JSON lines, folders, perf_analyzer's input data."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from workloads.datasets import Listed, load_dataset, load_perf_analyzer
from workloads.requests import Dataset, RequestSourceError, TensorSpec

IMAGE, TEXT = TensorSpec("IMAGE", "FP32", (2, 2)), TensorSpec("TEXT", "BYTES", (-1,))


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def listed(path: Path, *options: str) -> Listed:
    found = load_dataset(path, *options)
    assert isinstance(found, Listed)
    return found


def perf_analyzer(folder: Path, data: object) -> Listed:
    path = folder / "data.json"
    path.write_text(json.dumps(data))
    return load_perf_analyzer(path)


def test_an_npy_file_is_the_only_input(tmp_path: Path) -> None:
    np.save(tmp_path / "IMAGE.npy", np.ones((3, 2), np.float32))
    one = load_dataset(tmp_path / "IMAGE.npy")
    other = load_dataset(tmp_path / "IMAGE.npy", "labels", "PIXELS")
    assert isinstance(one, Dataset)
    assert isinstance(other, Dataset)
    assert (list(one.inputs), list(other.inputs), len(one)) == (["IMAGE"], ["PIXELS"], 3)


def test_a_line_of_json_is_a_request(tmp_path: Path) -> None:
    path = written(
        tmp_path / "some.jsonl",
        {"IMAGE": [[1, 2], [3, 4]], "labels": 7},
        "",
        {"IMAGE": [[5, 6], [7, 8.5]], "labels": 8},
    )
    dataset = listed(path).shaped([IMAGE, TEXT])
    array = dataset.inputs["IMAGE"]
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float32
    assert array.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8.5]]]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [7, 8]


def test_lines_may_differ_in_length(tmp_path: Path) -> None:
    path = written(tmp_path / "some.jsonl", {"TEXT": ["a", "bc"]}, {"TEXT": ["d"]})
    rows = listed(path).shaped([TEXT]).inputs["TEXT"]
    assert [row.tolist() for row in rows] == [[b"a", b"bc"], [b"d"]]


def test_without_a_model_values_are_what_they_look_like(tmp_path: Path) -> None:
    path = written(tmp_path / "some.jsonl", {"n": 4}, {"n": 5})
    assert np.asarray(listed(path).shaped([]).inputs["n"]).tolist() == [4, 5]


def test_a_folder_of_arrays(tmp_path: Path) -> None:
    for name, length in (("b", 3), ("a", 2)):
        np.save(tmp_path / f"{name}.npy", np.arange(length))
    found = load_dataset(tmp_path, "labels", "X")
    assert isinstance(found, Dataset)
    assert [row.tolist() for row in found.inputs["X"]] == [[0, 1], [0, 1, 2]]


def test_a_folder_of_other_files_is_sent_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "two.jpg").write_bytes(b"\xff\xd9\x00")
    (tmp_path / "labels.csv").write_text("two.jpg,4\none.jpg,3\n")
    dataset = listed(tmp_path, "labels", "FILE").shaped([TensorSpec("FILE", "BYTES", (1,))])
    assert [row.tolist() for row in dataset.inputs["FILE"]] == [[b"\xff\xd8"], [b"\xff\xd9\x00"]]
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [3, 4]


@pytest.mark.parametrize("ending", ["npy", "jpg"])
def test_hidden_files_of_a_folder_are_no_requests(tmp_path: Path, ending: str) -> None:
    for number in (1, 2):
        np.save(tmp_path / f"{number}.npy", np.full(3, number))
        (tmp_path / f"{number}.npy").rename(tmp_path / f"{number}.{ending}")
    (tmp_path / "labels.csv").write_text(f"2.{ending},7\n1.{ending},3\n")
    for hidden in (".DS_Store", "._1.npy", ".gitignore"):
        (tmp_path / hidden).write_bytes(b"\0\0\0\1Bud1")
    found = load_dataset(tmp_path, "labels", "X")
    assert len(found) == 2
    assert found.labels is not None
    assert found.labels.tolist() == [3, 7]


def test_reads_what_perf_analyzer_takes(tmp_path: Path) -> None:
    """Flat lists, content with a shape, base64, and streams of several requests."""
    raw = base64.b64encode(np.array([9, 10, 11, 12], "<f4").tobytes()).decode()
    source = perf_analyzer(
        tmp_path,
        {
            "data": [
                {"IMAGE": [1, 2, 3, 4]},
                {"IMAGE": {"content": [5, 6, 7, 8], "shape": [2, 2]}},
                [{"IMAGE": {"b64": raw}}, {"IMAGE": {"content": {"b64": raw}, "shape": [2, 2]}}],
            ]
        },
    )
    assert len(source) == 4
    rows = np.asarray(source.shaped([IMAGE]).inputs["IMAGE"])
    assert rows.reshape(4, 4).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [9, 10, 11, 12]]


def test_perf_analyzer_gives_dynamic_axes_their_sizes(tmp_path: Path) -> None:
    long, short = {"content": [1, 2, 3, 4, 5, 6], "shape": [3, 2]}, {"content": [1, 2], "shape": [1, 2]}
    source = perf_analyzer(tmp_path, {"data": [{"X": long}, {"X": short}]})
    rows = source.shaped([TensorSpec("X", "INT32", (-1, 2))]).inputs["X"]
    assert [row.shape for row in rows] == [(3, 2), (1, 2)]


@pytest.mark.parametrize(
    ("lines", "spec", "message"),
    [
        ([{"IMAGE": [[1, 2], [3, 4]]}], TEXT, "line 1: the model has no input 'IMAGE'; it has TEXT"),
        ([{"IMAGE": [1, 2, 3]}], IMAGE, r"line 1: IMAGE: has 3 values, which is no \[2, 2\]"),
        ([{"IMAGE": [[1, 2], [3]]}], IMAGE, "line 1: IMAGE: its lists differ in length"),
        ([{"IMAGE": ["a", "b", "c", "d"]}], IMAGE, "line 1: IMAGE: expected values of FP32, but got"),
        ([{"TEXT": [1]}], TEXT, "line 1: TEXT: expected texts, but got"),
        ([{"X": [300]}], TensorSpec("X", "UINT8", (1,)), r"line 1: X: \[300\] is outside of UINT8"),
        ([{"X": [1.5]}], TensorSpec("X", "INT32", (1,)), "line 1: X: expected values of INT32"),
        ([{"X": [2]}], TensorSpec("X", "BOOL", (1,)), "line 1: X: expected values of BOOL"),
        ([{"X": [1], "Y": [2]}, {"X": [1]}], TensorSpec("Y", "INT32", (1,)), "the model has no input 'X'"),
        ([{"X": [1]}, {"X": [1], "Y": [1]}], TensorSpec("X", "INT32", (1,)), "line 2: has 'Y', unlike those before"),
        ([{"X": [[1, 2, 3], [4, 5, 6]]}], TensorSpec("X", "INT32", (3, 2)), r"has the shape \[2, 3\], and the model"),
    ],
)
def test_what_does_not_fit_the_model_is_named(
    tmp_path: Path, lines: list[object], spec: TensorSpec, message: str
) -> None:
    source = listed(written(tmp_path / "some.jsonl", *lines))
    with pytest.raises(RequestSourceError, match=message):
        source.shaped([spec])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], r"some\.jsonl:1: not JSON"),
        (["[1]"], r"some\.jsonl:1: expected an object, but got '\[1\]'"),
        ([], "no requests; expected a JSON object a line"),
        ([{"labels": 1}], r"some\.jsonl:1: expected a value for each input"),
        ([{"X": 1, "labels": "cat"}], r"some\.jsonl:1: labels: expected a whole number, but got 'cat'"),
        ([{"X": 1, "labels": 1}, {"X": 1}], "line 2: has no 'labels', unlike others"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, lines: list[object], message: str) -> None:
    with pytest.raises(RequestSourceError, match=message):
        load_dataset(written(tmp_path / "some.jsonl", *lines))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r'expected {"data": \[...\]}'),
        ({"data": [3]}, r"data\[0\]: expected an object"),
        ({"data": [[{"X": [1]}, 4]]}, r"data\[0\]\[1\]: expected an object"),
        ({"data": [{"X": 4}]}, r"data\[0\]\.X: expected a list"),
        ({"data": [{"X": {"b64": "%"}}]}, r"data\[0\]\.X: not base64"),
        ({"data": [{"X": {"content": [1], "shape": "big"}}]}, r"data\[0\]\.X: `shape` must be a list of whole numbers"),
    ],
)
def test_malformed_input_data_is_named(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(RequestSourceError, match=message):
        perf_analyzer(tmp_path, data)


def test_bytes_must_be_whole_values(tmp_path: Path) -> None:
    source = perf_analyzer(tmp_path, {"data": [{"IMAGE": {"b64": base64.b64encode(b"12345").decode()}}]})
    with pytest.raises(RequestSourceError, match=r"data\[0\]: IMAGE: 5 bytes are no whole number of values of 4 bytes"):
        source.shaped([IMAGE])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("some.npz", "some.npy", "some.jsonl"):
        with pytest.raises(RequestSourceError, match=f"{name}: no such file"):
            load_dataset(tmp_path / name)
    with pytest.raises(RequestSourceError, match=r"data\.json: no such file"):
        load_perf_analyzer(tmp_path / "data.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestSourceError, match="empty: no files; each that is not hidden would be a request"):
        load_dataset(tmp_path / "empty")


def test_a_folder_is_of_one_kind_and_has_all_its_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(2))
    (tmp_path / "b.txt").write_text("x")
    with pytest.raises(RequestSourceError, match=r"b\.txt: all files of a folder must be \.npy, or none of them"):
        load_dataset(tmp_path)
    (tmp_path / "a.npy").unlink()
    (tmp_path / "labels.csv").write_text("c.txt,1\n")
    with pytest.raises(RequestSourceError, match=r"labels\.csv: has no label for b\.txt"):
        load_dataset(tmp_path)
    (tmp_path / "labels.csv").write_text("b.txt\n")
    with pytest.raises(RequestSourceError, match=r"labels\.csv:1: expected `file,label`"):
        load_dataset(tmp_path)

"""The user's own function: loaded from beside the study, its mistakes told by place and remedy."""

from pathlib import Path

import numpy as np
import pytest

from tuner.accuracy.own_function import OwnFunctionError, load_function
from tuner.accuracy.scoring import Own


def failure(folder: Path, text: str, reference: str = "scores:f") -> str:
    (folder / "scores.py").write_text(text)
    with pytest.raises(OwnFunctionError) as raised:
        load_function(folder, reference)(np.zeros((3, 2)), np.zeros(3))
    return str(raised.value).replace(f"{folder}/", "")


def test_it_gets_the_answers_and_labels_of_the_items_that_were_answered(tmp_path: Path) -> None:
    text = "def near(outputs, labels):\n    return abs(outputs[:, 0] - labels) < 0.5\n"
    (tmp_path / "scores.py").write_text(text)
    own = load_function(tmp_path, "scores:near")
    answers = [np.array([1.0, 9.0]), None, np.array([3.0, 9.0])]
    labels = np.array([1.2, 2.0, 7.0])
    assert Own(own).scores(answers, labels).tolist() == [1.0, 0.0, 0.0]
    assert Own(own, is_error=True).scores(answers, labels).tolist() == [1.0, np.inf, 0.0]


def test_answers_of_different_shapes_come_as_arrays_in_an_array(tmp_path: Path) -> None:
    (tmp_path / "scores.py").write_text("def f(outputs, labels):\n    return [len(one) for one in outputs]\n")
    own = Own(load_function(tmp_path, "scores:f"))
    assert own.scores([np.zeros(2), np.zeros(5)], np.array(["a", "b"])).tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def g(outputs, labels): ...\n", "scores.py has no function 'f'; it has g"),
        ("f = 3\n", "scores.py has no function 'f'; it has none"),
        ("x = 1\ndef f(outputs labels): ...\n", "scores.py:2: cannot be run: SyntaxError: "),
        ("import nothing_like_it\n", "scores.py:1: cannot be run: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "scores.py:1: cannot be run: SystemExit: 3"),
        ("def f(outputs): ...\n", "scores.py: f must take (outputs, labels)"),
        ("def f(o, l):\n    x = 1\n    return x / 0\n", "scores.py:3: f failed: ZeroDivisionError: division by zero"),
        ("def f(o, l):\n    return 'high'\n", "scores.py: f returned str; expected 3 numbers, a score per item"),
        ("def f(o, l):\n    return 0.9\n", "scores.py: f returned an array of shape []; expected 3 numbers"),
        ("def f(o, l):\n    return o\n", "scores.py: f returned an array of shape [3, 2]; expected 3 numbers"),
        ("def f(o, l):\n    return l / 0\n", "scores.py:2: f failed: RuntimeWarning"),
        ("def f(o, l):\n    return [1, 2, float('nan')]\n", "scores.py: f returned nan for item 2; expected 3 numbers"),
    ],
)
def test_what_is_wrong_with_it_is_told_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    assert message in failure(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert failure(tmp_path, "", "other:f") == "other.py: no such file; `other:f` is the function f of other.py there"


def test_what_it_prints_does_not_get_among_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "print('loaded')\ndef f(outputs, labels):\n    print('asked')\n    return labels\n"
    (tmp_path / "scores.py").write_text(text)
    load_function(tmp_path, "scores:f")(np.zeros((3, 2)), np.zeros(3))
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "loaded\nasked\n")

"""The function of the page on accuracy is one that can be used."""

import re
from pathlib import Path

import numpy as np
import pytest

from tuner.accuracy.own_function import OwnFunctionError, load_function

PAGE = (Path(__file__).parents[2] / "docs" / "accuracy.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_it_gives_each_item_the_share_of_its_class(tmp_path: Path) -> None:
    (tmp_path / "scores.py").write_text(block("python"))
    outputs = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    assert load_function(tmp_path, "scores:margin")(outputs, np.array([0, 1])).tolist() == pytest.approx([0.5, 0.1])


def test_the_errors_of_the_page_are_those_that_are_given(tmp_path: Path) -> None:
    shown = [line.split("accuracy.function: ")[1] for line in block("text").splitlines()]
    outputs, labels = np.zeros((600, 10)), np.full(600, 10)
    given = []
    for text in (block("python"), "def margin(outputs, labels):\n    return outputs\n", "def f1(o, l): ...\n"):
        (tmp_path / "scores.py").write_text(text)
        with pytest.raises(OwnFunctionError) as raised:
            load_function(tmp_path, "scores:margin")(outputs, labels)
        given.append(str(raised.value))
    assert [re.sub(r"\.py:\d+", ".py:N", one) for one in given] == [re.sub(r"\.py:\d+", ".py:N", one) for one in shown]

"""Prompts: made up with given lengths, never the same twice, and read from files."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.lengths import Constant, Uniform
from workloads.prompts import MARKED, WORDS, Independent, Synthetic, fresh, lengths_of, load_prompts
from workloads.requests import Prompts, RequestSourceError

LENGTHS = Uniform(1, 40)


def made(count: int = 50, seed: int = 3, ids: bool = False) -> Prompts:
    return Synthetic(Independent(LENGTHS, Constant(9)), count, ids, 100, 299).make(seed)


def test_words_are_known_and_each_is_another() -> None:
    assert len(WORDS) == len(set(WORDS)) > 200
    assert all(word.isalpha() and word.islower() for word in WORDS)


@pytest.mark.parametrize("ids", [False, True])
def test_prompts_have_the_lengths_that_were_drawn_and_ask_for_tokens(ids: bool) -> None:
    prompts = made(ids=ids)
    found = lengths_of(prompts)
    assert len(prompts) == len(found) == 50
    assert found.min() >= 1
    assert found.max() <= 40
    assert len(set(found.tolist())) > 10
    assert prompts.output_tokens.tolist() == [9] * 50


def test_texts_and_ids_of_a_seed_have_the_same_lengths_and_another_seed_has_others() -> None:
    assert np.array_equal(lengths_of(made()), lengths_of(made(ids=True)))
    assert made().texts == made().texts
    assert made(seed=4).texts != made().texts


def test_ids_are_in_their_range() -> None:
    tokens = {token for text in made(ids=True).texts for token in text}
    assert min(tokens) >= 100
    assert max(tokens) <= 299


@pytest.mark.parametrize("ids", [False, True])
@given(first=st.integers(0, 10**13), second=st.integers(0, 10**13))
def test_fresh_prompts_keep_their_lengths_and_begin_as_no_other(ids: bool, first: int, second: int) -> None:
    prompts = made(ids=ids)
    again = fresh(prompts, first)
    assert np.array_equal(lengths_of(again), lengths_of(prompts))
    assert np.array_equal(again.output_tokens, prompts.output_tokens)
    long = [index for index, length in enumerate(lengths_of(prompts)) if length >= MARKED]
    begins = [beginning(again, index) for index in long]
    assert len(set(begins)) == len(long)
    if abs(first - second) < 10_000 and first != second:
        assert not set(begins) & {beginning(fresh(prompts, second), index) for index in long}


def beginning(prompts: Prompts, index: int) -> tuple[object, ...]:
    text = prompts.texts[index]
    return tuple(text.split(" ")[:MARKED] if isinstance(text, str) else text[:MARKED])


def test_neighbouring_measurements_share_no_beginning() -> None:
    prompts = made(200)
    seen = [beginning(fresh(prompts, nonce), index) for nonce in range(30) for index in range(200)]
    marked = [one for one in seen if len(one) == MARKED]
    assert len(set(marked)) == len(marked)


def test_prompts_of_the_users_keep_their_words_behind_the_mark() -> None:
    prompts = Prompts(["why is the sky blue", [7, 8]], np.array([1, 1]), (7, 8))
    again = fresh(prompts, 5)
    assert str(again.texts[0]).endswith(" why is the sky blue")
    assert list(again.texts[1][MARKED:]) == [7, 8]
    assert set(again.texts[1]) <= {7, 8}


# files


def write(folder: Path, *lines: object) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def test_a_file_has_texts_and_ids_with_their_answers_lengths(tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "a b", "output_tokens": 3}, "", {"prompt": [4, 9], "id": 1})
    found = load_prompts(path, 5)
    assert found.texts == ["a b", [4, 9]]
    assert found.output_tokens.tolist() == [3, 5]
    assert found.ids == (4, 9)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":2: not JSON: "),
        ([1], ":2: expected an object, but got '[1]'"),
        ({"prompt": ""}, ":2: expected an object with `prompt`"),
        ({"prompt": [1, "a"]}, ":2: expected an object with `prompt`"),
        ({"prompt": [True]}, ":2: expected an object with `prompt`"),
        ({"prompt": "a", "output_tokens": 0}, ":2: `output_tokens` must be a whole number >= 1, but is 0"),
        ({"prompt": "a"}, ":2: `output_tokens` must be a whole number >= 1, but is None; add it"),
    ],
)
def test_a_line_that_is_no_prompt_is_named_by_its_number(tmp_path: Path, line: object, message: str) -> None:
    path = write(tmp_path, {"prompt": "fine", "output_tokens": 1}, line)
    with pytest.raises(RequestSourceError) as raised:
        load_prompts(path, None)
    assert f"prompts.jsonl{message}" in str(raised.value)


def test_a_file_that_is_not_there_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestSourceError, match=r"nothing\.jsonl: no such file"):
        load_prompts(tmp_path / "nothing.jsonl", 1)
    with pytest.raises(RequestSourceError, match="no prompts; expected a JSON object a line"):
        load_prompts(write(tmp_path, ""), 1)

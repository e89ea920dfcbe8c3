"""Prompts for language models: read from a file, or made up with given lengths. Pure and seeded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from workloads.datasets import json_lines
from workloads.lengths import Lengths
from workloads.requests import Prompts, Requests, RequestSourceError

WORDS: tuple[str, ...] = tuple(
    """
    time year people way day man thing woman life child world school state family student group country problem hand
    part place case week company system program question work government number night point home water room mother
    area money story fact month lot right study book eye job word business issue side kind head house service friend
    father power hour game line end member law car city community name president team minute idea body information
    back parent face others level office door health person art war history party result change morning reason
    research girl guy moment air teacher force education foot boy age policy process music market sense nation plan
    college interest death experience effect use class control care field development role effort rate heart drug
    show leader light voice wife police mind price report decision son view relationship town road arm difference
    value building action season society tax director position player record paper space ground form event official
    matter center couple site project activity star table need court oil situation cost industry figure street image
    phone data picture practice piece land product doctor wall patient worker news test movie north love support
    technology step baby computer type attention film tree source hair window culture chance brother energy period
    course summer plant opportunity term letter condition choice rule daughter south husband floor campaign material
    population call economy hospital church risk fire future
    """.split()  # noqa: SIM905 - a page of quotes is no better
)
"""Common English words; most tokenizers give each of them one token."""
FIRST_ID, LAST_ID = 1000, 9999
"""Token ids that prompts of ids are made of, unless the study names others: most vocabularies have them as words."""
_Token = TypeVar("_Token", str, int)
_FEWEST_IDS = 32
TOO_FEW_IDS = f"prompts of fewer than {_FEWEST_IDS} different token ids cannot be told apart by their beginning"
MARKED = 4
"""Tokens at the start of a prompt that make it one of its kind."""


class PromptLengths(Protocol):
    """Lengths of prompts and of their answers."""

    def draw(
        self, count: int, inputs: np.random.Generator, outputs: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the lengths of `count` prompts and of their answers, int64 [count] each."""
        ...


@dataclass(frozen=True)
class Independent:
    """Answers as long as they are, whatever the prompt."""

    input_tokens: Lengths
    output_tokens: Lengths

    def draw(
        self, count: int, inputs: np.random.Generator, outputs: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw both, each from its own generator."""
        return self.input_tokens.draw(count, inputs), self.output_tokens.draw(count, outputs)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Prompts and answers as long as those of a trace, row by row, from the first again at its end.

    Long prompts keep their long answers: what goes together in the trace stays together.
    """

    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]

    def draw(
        self,
        count: int,
        inputs: np.random.Generator,  # noqa: ARG002 - nothing is random
        outputs: np.random.Generator,  # noqa: ARG002
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows, none of them below 1."""
        return (np.maximum(np.resize(self.input_tokens, count), 1), np.maximum(np.resize(self.output_tokens, count), 1))


@dataclass(frozen=True)
class Synthetic:
    """Prompts of random words or token ids.

    Attributes:
        lengths: of the prompts, and of their answers at most.
        count: how many prompts.
        ids: whether a prompt is a list of token ids, whose length is exact, or a text of that many words.
        first_id: lowest token id.
        last_id: highest token id.
    """

    lengths: PromptLengths
    count: int
    ids: bool = False
    first_id: int = FIRST_ID
    last_id: int = LAST_ID

    def make(self, seed: int) -> Prompts:
        """Return the prompts; lengths, words and answers' lengths have independent streams of the seed."""
        lengths_rng, words_rng, outputs_rng = (
            np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(3)
        )
        lengths, outputs = self.lengths.draw(self.count, lengths_rng, outputs_rng)
        low, high = (self.first_id, self.last_id) if self.ids else (0, len(WORDS) - 1)
        tokens = [words_rng.integers(low, high, int(length), endpoint=True) for length in lengths]
        if self.ids:
            return Prompts([one.tolist() for one in tokens], outputs, (low, high), made_up=True)
        return Prompts([" ".join(WORDS[index] for index in one) for one in tokens], outputs, made_up=True)


def can_be_fresh(requests: Requests) -> bool:
    """Whether there are ids enough to mark each prompt as one of its kind; other requests always can be."""
    ids = requests.ids if isinstance(requests, Prompts) else None
    return ids is None or ids[1] - ids[0] + 1 >= _FEWEST_IDS


def fresh(prompts: Prompts, nonce: int) -> Prompts:
    """Return prompts that were never sent: their first tokens spell a number of their own.

    A server that keeps the state of prompts it knows looks for a common beginning, so a difference there is enough.
    In made-up prompts these MARKED tokens or words take the place of the first ones, so lengths stay; shorter prompts
    are marked as far as they go. Prompts of the user's get them in front.

    Args:
        prompts: what was sent before.
        nonce: a number that no other call had, >= 0.
    """
    numbers = range(nonce * len(prompts), (nonce + 1) * len(prompts))
    low, high = prompts.ids or (FIRST_ID, LAST_ID)
    texts: list[str | Sequence[int]] = []
    for number, text in zip(numbers, prompts.texts, strict=True):
        if isinstance(text, str):
            words = text.split(" ")
            mark = [WORDS[digit] for digit in _digits(number, len(WORDS))]
            texts.append(" ".join(_marked(mark, words, prompts.made_up)))
        else:
            ids = [low + digit for digit in _digits(number, high - low + 1)]
            texts.append(_marked(ids, text, prompts.made_up))
    return replace(prompts, texts=texts)


def _marked(mark: list[_Token], tokens: Sequence[_Token], instead: bool) -> list[_Token]:
    return (mark + list(tokens[MARKED:]))[: max(1, len(tokens))] if instead else mark + list(tokens)


def _digits(number: int, base: int) -> list[int]:
    """Return the last MARKED digits of a number, the lowest first: prompts differ from the first token on."""
    found = []
    for _ in range(MARKED):
        number, digit = divmod(number, base)
        found.append(digit)
    return found


def load_prompts(path: Path, default_output_tokens: int | None) -> Prompts:
    """Read a JSONL file: each line an object with `prompt` (text or token ids) and maybe `output_tokens`.

    Args:
        path: the file.
        default_output_tokens: for lines without `output_tokens`; None: they must have it.

    Raises:
        RequestSourceError: the file cannot be read, or a line is not as expected; with its number.
    """
    read = [_prompt(f"{path}:{number}", data, default_output_tokens) for number, data in json_lines(path)]
    if not read:
        raise RequestSourceError(f"{path}: no prompts; expected a JSON object a line, like " + '{"prompt": "..."}')
    ids = [token for text, _ in read if not isinstance(text, str) for token in text]
    outputs = np.array([tokens for _, tokens in read], np.int64)
    return Prompts([text for text, _ in read], outputs, (min(ids), max(ids)) if ids else None)


def _prompt(place: str, data: Mapping[str, Any], default: int | None) -> tuple[str | list[int], int]:
    text: Any = data.get("prompt")
    if not (isinstance(text, str) and text) and not _are_ids(text):
        raise RequestSourceError(f"{place}: expected an object with `prompt`, a text or a list of token ids")
    tokens = data.get("output_tokens", default)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise RequestSourceError(
            f"{place}: `output_tokens` must be a whole number >= 1, but is {tokens!r}; add it, or give "
            "`default_output_tokens` in the study"
        )
    return text, tokens


def _are_ids(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    )


def lengths_of(prompts: Prompts) -> NDArray[np.int64]:
    """Return the tokens or words of each prompt, int64 [n]."""
    return np.array([len(text.split(" ")) if isinstance(text, str) else len(text) for text in prompts.texts], np.int64)

"""The texts of the language model: names of languages, regions, scripts and currencies, as Babel ships them."""

import numpy as np
from babel import Locale

LANGUAGES = (
    "cs", "da", "de", "en", "es", "et", "fi", "fr", "hr", "hu", "id", "it",
    "lt", "lv", "nl", "pl", "pt", "ro", "sk", "sl", "sv", "sw", "tr", "vi",
)  # fmt: skip
SEED = 7
LONGEST = 400
MEDIAN_NAMES, SIGMA = 3.0, 0.9


def names_of(language: str) -> list[str]:
    locale = Locale(language)
    found = [*locale.languages.values(), *locale.territories.values(), *locale.scripts.values()]
    return sorted({name for name in [*found, *locale.currencies.values()] if len(name) > 2})


def split(rng: np.random.Generator) -> tuple[list[list[str]], list[list[str]]]:
    """The names of each language to train with, and those to test with."""
    train, test = [], []
    for language in LANGUAGES:
        names = list(rng.permutation(names_of(language)))
        test.append(names[: len(names) // 4])
        train.append(names[len(names) // 4 :])
    return train, test


def text(names: list[str], rng: np.random.Generator) -> bytes:
    count = max(1, round(rng.lognormal(np.log(MEDIAN_NAMES), SIGMA)))
    return ", ".join(names[index] for index in rng.integers(0, len(names), count)).encode()[:LONGEST]


def texts(names: list[list[str]], count: int, rng: np.random.Generator) -> tuple[list[bytes], np.ndarray]:
    labels = rng.integers(0, len(LANGUAGES), count)
    return [text(names[label], rng) for label in labels], labels

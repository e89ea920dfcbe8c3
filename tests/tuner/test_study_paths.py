"""Paths of values in a study: keys that have dots stand in quotes, and are read back as they were."""

from hypothesis import given
from hypothesis import strategies as st

from tuner.study.paths import joined, split

ONE_QUOTE = st.text(alphabet="ab.=- '", min_size=1) | st.text(alphabet='ab.=- "', min_size=1)
KEYS = st.lists(ONE_QUOTE, min_size=1, max_size=4)


@given(KEYS, st.text())
def test_joined_keys_are_split_into_themselves(keys: list[str], value: str) -> None:
    assert split(f"{joined(keys)}={value}") == (keys, value)
    assert split(joined(keys)) == (keys, None)


def test_only_what_needs_quotes_has_them() -> None:
    assert joined(("space", "composing", "my.net", "instances")) == 'space.composing."my.net".instances'
    assert joined(("search", "start", 0, "it's")) == "search.start.0.it's"

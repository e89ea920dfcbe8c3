"""Why a search ends, in a word and in words."""

from collections.abc import Mapping
from typing import Literal

SearchEnding = Literal["trials", "time", "space", "patience", "certain"]
SAID: Mapping[SearchEnding, str] = {
    "trials": "all trials of the budget are made",
    "time": "the rest of the time is for the confirmation",
    "space": "every configuration of the space was tried",
    "patience": "the front did not grow any more",
    "certain": "no untried configuration is likely to be better",
}

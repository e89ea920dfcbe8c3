"""A server's cache of whole answers: who has one, and what its statistics say of it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class CacheCounters:
    """Lookups of requests in the cache.

    Attributes:
        hits: that found the answer.
        hits_ns: summed time of these in the server.
        misses: that did not.
        misses_ns: summed time of these in the server, and of keeping the answers once they were computed.
    """

    hits: int = 0
    hits_ns: int = 0
    misses: int = 0
    misses_ns: int = 0

    @property
    def lookups(self) -> int:
        """All of them."""
        return self.hits + self.misses

    def __add__(self, other: "CacheCounters") -> "CacheCounters":
        return CacheCounters(
            self.hits + other.hits,
            self.hits_ns + other.hits_ns,
            self.misses + other.misses,
            self.misses_ns + other.misses_ns,
        )

    def __sub__(self, earlier: "CacheCounters") -> "CacheCounters":
        return CacheCounters(
            self.hits - earlier.hits,
            self.hits_ns - earlier.hits_ns,
            self.misses - earlier.misses,
            self.misses_ns - earlier.misses_ns,
        )


@runtime_checkable
class KeepsAnswers(Protocol):
    """A deployment that knows whether its server keeps answers of it, in a cache that was empty at the start."""

    @property
    def keeps_answers(self) -> bool:
        """Whether it does: a request like one before is then answered from the cache."""
        ...

"""Configurations as people write them: each file of `tests/data/pbtxt`, how it is tuned, and what then changes."""

from dataclasses import dataclass
from pathlib import Path

from targets.base import Config

FOLDER = Path(__file__).parents[1] / "data" / "pbtxt"
ALL: Config = {"max_batch_size": 16, "max_queue_delay": 0.0005, "instances": 2}
_BATCH = ("max_batch_size: 8", "max_batch_size: 16")
_COUNT = ("count: 1", "count: 2")
_DELAY = ("max_queue_delay_microseconds: 100", "max_queue_delay_microseconds: 500")
_NEW_DELAY = "dynamic_batching {\n  max_queue_delay_microseconds: 500\n}\n"
_NEW_COUNT = "instance_group {\n  count: 2\n}\n"


@dataclass(frozen=True)
class Written:
    """A file, by its name without `.pbtxt`.

    Attributes:
        name: of the file.
        changes: what stands in it -> what stands there when it is tuned; nothing else changes.
        behind: what is added behind its end.
        config: what it is tuned to; what the kind of model does not have is left out.
        served: whether the wheel's Triton has what it needs to serve it.
    """

    name: str
    changes: tuple[tuple[str, str], ...]
    behind: str = ""
    config: tuple[str, ...] = tuple(ALL)
    served: bool = True

    @property
    def text(self) -> str:
        """What the file says, with its own line ends."""
        return (FOLDER / f"{self.name}.pbtxt").read_bytes().decode()

    @property
    def tuned(self) -> str:
        """What it has to say when it is tuned."""
        text = self.text
        for before, after in self.changes:
            assert text.count(before) == 1, (self.name, before)
            text = text.replace(before, after)
        return text + self.behind

    @property
    def wanted(self) -> Config:
        """What it is tuned to."""
        return {name: ALL[name] for name in self.config}


FILES = (
    Written("commented", (("size: 8  # was", "size: 16  # was"), ("count: 1  #", "count: 2  #"), _DELAY)),
    Written("ensemble", (("size: 8  # as", "size: 16  # as"),), config=("max_batch_size",)),
    Written("sequence_direct", (("size: 4", "size: 16"), _COUNT), config=("max_batch_size", "instances")),
    Written(
        "sequence_oldest",
        (("size: 4  # slots", "size: 16  # slots"), ("  kind: KIND_CPU\n", "  kind: KIND_CPU\n  count: 2\n")),
        config=("max_batch_size", "instances"),
    ),
    Written(
        "warmup",
        (_BATCH, ("KIND_CPU count: 1", "KIND_CPU count: 2"),
         ("dynamic_batching { }", "dynamic_batching { max_queue_delay_microseconds: 500 }")),
    ),
    Written("accelerators", (("microseconds: 2000", "microseconds: 500"),), behind=_NEW_COUNT, served=False),
    Written(
        "gpus",
        (("size: 32", "size: 16"), ("    count: 1\n", "    count: 2\n"),
         ("dynamic_batching { }", "dynamic_batching { max_queue_delay_microseconds: 500 }")),
        served=False,
    ),
    Written("version_policy", (_BATCH, ("{ kind: KIND_CPU }", "{ kind: KIND_CPU count: 2 }")), behind=_NEW_DELAY),
    Written("parameters", (_BATCH, _COUNT, _DELAY)),
    Written(
        "priorities",
        (_BATCH, _COUNT,
         ("{ max_queue_size: 16 } }\n  ]\n", "{ max_queue_size: 16 } }\n  ]\n  max_queue_delay_microseconds: 500\n")),
    ),
    Written("response_cache", (_BATCH, _COUNT), behind=_NEW_DELAY),
    Written("single_quotes", (_BATCH, _COUNT, _DELAY)),
    Written("dense", (("size:8", "size:16"), ("count:1", "count:2"), ("microseconds:100", "microseconds:500"))),
    Written("angles", (_BATCH, _COUNT, _DELAY)),
    Written("newer_server", (_BATCH, _COUNT, _DELAY), served=False),
    Written(
        "windows",
        (("size: 8  #", "size: 16  #"), ("# no GPU\r\n", "# no GPU\r\n    count: 2\r\n"),
         ("dynamic_batching {\r\n", "dynamic_batching {\r\n  max_queue_delay_microseconds: 500\r\n")),
    ),
    Written("no_newline", (_BATCH,), behind="\n" + _NEW_DELAY + _NEW_COUNT),
    Written("escapes", (_BATCH, _COUNT, _DELAY)),
    Written(
        "two_groups", (_BATCH, ("0x64", "500")), config=("max_batch_size", "max_queue_delay"),
    ),
    Written("repeated", (("size: 010", "size: 16"), _COUNT, _DELAY)),
    Written(
        "decoupled",
        (_BATCH, ("kind: KIND_CPU\n", "kind: KIND_CPU\n\t\tcount: 2\n"),
         ("dynamic_batching {\n", "dynamic_batching {\n  max_queue_delay_microseconds: 500\n")),
    ),
    Written("twice", (_BATCH,), behind=_NEW_DELAY + _NEW_COUNT),
)  # fmt: skip
BY_NAME = {one.name: one for one in FILES}

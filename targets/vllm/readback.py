"""What a vLLM that runs says of its configuration, compared with what was asked for."""

from collections.abc import Mapping

from targets.base import Config
from targets.openai.help import Option, default_is
from targets.vllm import log
from targets.vllm.knobs import NONE, QUANTIZATION, SPECULATIVE, key_of


def mismatches(config: Config, said: str, options: Mapping[str, Option]) -> list[str]:
    """Return every knob that vLLM took otherwise; none where its log does not say what it took.

    `vllm serve` logs the arguments that are not its defaults. What it does not log has to be its default.

    Args:
        config: what was asked for.
        said: the log.
        options: of this version, with their defaults.
    """
    taken = log.arguments(said)
    if taken is None:
        return []
    wrong = []
    for name, value in config.items():
        if name == SPECULATIVE or (name, value) == (QUANTIZATION, NONE):
            continue
        if name in taken:
            if taken[name] != value:
                wrong.append(f"{name}: asked {value}, took {taken[name]}")
        elif not default_is(options[key_of(name)], value):
            wrong.append(f"{name}: asked {value}, took its default {options[key_of(name)].default}")
    return wrong

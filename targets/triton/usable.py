"""Which knobs do something for a study's model, and why the others do not."""

from collections.abc import Sequence
from dataclasses import replace

from targets.base import Knob
from targets.triton import flags, rules
from targets.triton.asking import Base
from targets.triton.knobs import BY_NAME


def with_reasons(knobs: Sequence[Knob], bases: Sequence[Base], gpus: tuple[int, ...] | None) -> list[Knob]:
    """Return knobs, those that fit no variant with the reason.

    Args:
        knobs: of the model and of the server.
        bases: the model and the configuration of each variant, the user's own among them.
        gpus: numbers of those that the server sees; None: it is not known.
    """
    found = []
    for knob in knobs:
        reasons = [
            rules.unusable(BY_NAME[knob.name], config, gpus) or model.keeps(knob.name)
            for model, config in bases
            if knob.name in BY_NAME
        ]
        if knob.rule == flags.NEEDS_GPU and gpus == ():
            reasons = [rules.NO_GPU]
        found.append(replace(knob, unusable=reasons[0]) if reasons and all(reasons) else knob)
    return found

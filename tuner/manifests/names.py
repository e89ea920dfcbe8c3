"""Names as Kubernetes takes them, or the reason why one cannot be used."""

import re

LONGEST = 40
"""Characters of a name that others are made of: a pod's, of at most 63, has the role and numbers behind it."""
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_KEY = re.compile(r"[^-._a-zA-Z0-9]")
_RULE = "lower-case letters, digits and `-`, with a letter or digit at both ends (a label of RFC 1123)"


class ManifestError(Exception):
    """What cannot be rendered; the message says which value, why, and the remedy."""


def name_of(study: str, given: str | None) -> str:
    """Return the name that those of all objects begin with: a DNS label that starts with a letter.

    Args:
        study: name of the study; its capitals, `_` and `.` become what a label has in their place.
        given: another one, that is taken as it is; None: the study's.

    Raises:
        ManifestError: it cannot be made one.
    """
    place = "--name" if given is not None else "study"
    remedy = "" if given is not None else "; give another one with --name"
    made = given if given is not None else re.sub(r"[._]", "-", study.lower()).strip("-")
    shown = study if given is None else given
    if not _LABEL.fullmatch(made):
        raise ManifestError(f"{place}: {shown!r} cannot be a name in Kubernetes: these have {_RULE}{remedy}")
    if given is None and not made[0].isalpha():
        made = f"tune-{made}"
    if not made[0].isalpha():
        raise ManifestError(f"{place}: {shown!r} begins with a digit, and the name of a service may not; put a letter "
                            "in front")  # fmt: skip
    if len(made) > LONGEST:
        raise ManifestError(
            f"{place}: {shown!r} makes a name of {len(made)} characters, and {LONGEST} leave room for what is put "
            f"behind it{remedy or '; give a shorter one'}"
        )
    return made


def a_label(place: str, text: str) -> str:
    """Return a name that has to be a DNS label. Raises ManifestError where it is none."""
    if len(text) > 63 or not _LABEL.fullmatch(text):
        raise ManifestError(f"{place}: {text!r} cannot be a name in Kubernetes: at most 63 {_RULE}")
    return text


def a_subdomain(place: str, text: str) -> str:
    """Return a name that has to be a DNS subdomain: labels, joined by dots. Raises ManifestError where it is none."""
    if len(text) > 253 or not _SUBDOMAIN.fullmatch(text):
        raise ManifestError(f"{place}: {text!r} cannot be a name in Kubernetes: at most 253 {_RULE}, joined by dots")
    return text


def key_of(place: str, taken: set[str]) -> str:
    """Return the key of a ConfigMap for a path: unlike those that are taken, which it joins.

    Args:
        place: the path; what a key may not have becomes `_`, and `/` a dot.
        taken: keys of the same ConfigMap.
    """
    plain = _KEY.sub("_", place.strip("/").replace("/", ".")).lstrip(".")[-240:] or "file"
    key, number = plain, 1
    while key in taken:
        number += 1
        key = f"{plain}-{number}"
    taken.add(key)
    return key

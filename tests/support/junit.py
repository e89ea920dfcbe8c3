"""The schema of JUnit XML that Jenkins and most viewers share, as far as reports use it: elements, order, attributes.

After windyroad's JUnit.xsd (https://github.com/windyroad/JUnit-Schema), which describes what Apache Ant writes: each
element with its required and optional attributes, its children in their order, and how often each may come. All that it
allows is allowed by the schema of Jenkins's xUnit plugin too (junit-10.xsd), which asks for less.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, fromstring

_NUMBER, _COUNT, _ANY = re.compile(r"\d+(\.\d+)?"), re.compile(r"\d+"), re.compile(r".*", re.DOTALL)
_TIME, _NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"), re.compile(r".+", re.DOTALL)


@dataclass(frozen=True)
class Shape:
    """What an element may be.

    Attributes:
        required: attribute -> pattern of its value.
        optional: the same of those that may be missing.
        children: a pattern of the tags of its children, each followed by a space.
    """

    required: Mapping[str, re.Pattern[str]]
    optional: Mapping[str, re.Pattern[str]]
    children: str = ""


SHAPES = {
    "testsuites": Shape({}, {}, r"(testsuite )*"),
    "testsuite": Shape(
        {
            "name": _NAME,
            "package": _ANY,
            "id": _COUNT,
            "timestamp": _TIME,
            "hostname": _NAME,
            "tests": _COUNT,
            "failures": _COUNT,
            "errors": _COUNT,
            "time": _NUMBER,
        },
        {"skipped": _COUNT},
        r"properties (testcase )*system-out system-err ",
    ),
    "properties": Shape({}, {}, r"(property )*"),
    "property": Shape({"name": _NAME, "value": _ANY}, {}),
    "testcase": Shape({"name": _NAME, "classname": _NAME, "time": _NUMBER}, {}, r"((skipped|error|failure) )?"),
    "failure": Shape({"type": _NAME}, {"message": _ANY}),
    "error": Shape({"type": _NAME}, {"message": _ANY}),
    "skipped": Shape({}, {"message": _ANY}),
    "system-out": Shape({}, {}),
    "system-err": Shape({}, {}),
}


def violations(text: str) -> list[str]:
    """Return what of a document is not as the schema has it, and counts that do not fit."""
    root = fromstring(text)
    found = [] if root.tag == "testsuites" else [f"the root is {root.tag}"]
    for element in root.iter():
        found += _of(element)
    return found


def _of(element: Element) -> list[str]:
    shape = SHAPES.get(element.tag)
    if shape is None:
        return [f"no element {element.tag}"]
    known = {**shape.required, **shape.optional}
    found = [f"{element.tag} lacks {name}" for name in shape.required if name not in element.attrib]
    for name, value in element.attrib.items():
        if name not in known or not known[name].fullmatch(value):
            found.append(f"{element.tag}: {name}={value!r}")
    tags = "".join(f"{child.tag} " for child in element)
    if not re.fullmatch(shape.children, tags):
        found.append(f"{element.tag} has {tags}")
    return found + (_counts(element) if element.tag == "testsuite" else [])


def _counts(suite: Element) -> list[str]:
    cases = suite.findall("testcase")
    told = {"tests": len(cases)} | {
        f"{kind}s" if kind != "skipped" else kind: sum(case.find(kind) is not None for case in cases)
        for kind in ("failure", "error", "skipped")
    }
    return [
        f"{name} is {suite.get(name)}, not {count}" for name, count in told.items() if suite.get(name) != f"{count}"
    ]

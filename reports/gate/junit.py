"""What a gate found, as JUnit XML: a suite for each workload, a test case for each of its rules.

The elements are those of the schema that Jenkins, GitLab and most viewers read (windyroad's JUnit.xsd, taken from
Apache Ant). A rule that is inconclusive is an error where the study says that it fails, and skipped where it warns. A
gate that is not valid decided nothing: each of its cases is an error with the reason. One without any rule has a case
for the whole of it, as some readers take an empty file for a mistake. So has, as an error, one that came to no end.
"""

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from reports.gate.rows import Row, rows
from tuner.gate.document import GateResult

_WHOLE = "measurement"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report(result: GateResult) -> str:
    """Return the document."""
    root = Element("testsuites")
    found = rows(result.rules) if result.state != "unfinished" else []
    if not found:
        found.append(_whole(result))
    for number, workload in enumerate(dict.fromkeys(row.workload for row in found)):
        _suite(root, number, workload, [row for row in found if row.workload == workload], result)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(root: Element, number: int, workload: str, found: list[Row], result: GateResult) -> None:
    states = [_state(row, result) for row in found]
    seconds = f"{result.measured_s / max(1, len(result.rules)):.3f}"
    skipped = [_said(row, result) for row, state in zip(found, states, strict=True) if state == "skipped"]
    suite = SubElement(
        root,
        "testsuite",
        {
            "name": _text(f"{result.study}.{workload}"),
            "package": _text(result.study),
            "id": str(number),
            "timestamp": _timestamp(result.new.started),
            "hostname": "localhost",
            "tests": str(len(found)),
            "failures": str(states.count("failure")),
            "errors": str(states.count("error")),
            "skipped": str(states.count("skipped")),
            "time": f"{float(seconds) * len(found):.3f}",
        },
    )
    properties = SubElement(suite, "properties")
    for side, label in (("new", result.new.label), ("old", result.old.label if result.old else "")):
        if label:
            SubElement(properties, "property", {"name": side, "value": _text(label)})
    for row, state in zip(found, states, strict=True):
        named = {"name": _text(row.rule), "classname": _text(f"{result.study}.{workload}"), "time": seconds}
        case = SubElement(suite, "testcase", named)
        if state:
            said, kind = _text(_said(row, result)), "invalid" if result.state == "invalid" else row.state
            attributes = {"message": said} | ({"type": kind} if state != "skipped" else {})
            SubElement(case, state, attributes).text = said
    SubElement(suite, "system-out").text = _text("\n".join([result.message, *skipped]))
    SubElement(suite, "system-err").text = _text("\n".join(result.notes))


def _whole(result: GateResult) -> Row:
    """Return the case of a gate as a whole, which has no rule or came to no end."""
    return Row(next(iter(result.new.workloads), "gate"), _WHOLE, "", "", "", "", "", "", result.state, "")


def _state(row: Row, result: GateResult) -> str:
    if result.state in ("invalid", "unfinished"):
        return "error"
    if row.state == "inconclusive":
        return "skipped" if result.warns else "error"
    return "failure" if row.state == "fail" else ""


def _said(row: Row, result: GateResult) -> str:
    """Say why a case is not a success; what is not valid says nothing of a rule."""
    if result.state == "invalid" or row.rule == _WHOLE:
        return result.message
    change = f"{row.change} {row.interval}, " if row.change else ""
    return f"{row.rule}: {row.old} -> {row.new}, {change}limit {row.limit}: {row.verdict} {row.note}".strip()


def _timestamp(started: str) -> str:
    """Return `2026-01-31 10:20 UTC` as the schema has it: without a zone."""
    day, clock, *_ = started.split()
    return f"{day}T{clock}:00"


def _text(said: str) -> str:
    return _NOT_XML.sub("?", said)

"""What a gate found, as JUnit XML: a suite for each workload, a test case for each of its rules.

The elements are those of the schema that Jenkins, GitLab and most viewers read (windyroad's JUnit.xsd, taken from
Apache Ant). A rule that is inconclusive is an error where the study says that it fails, and skipped where it warns.
"""

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from reports.gate.rows import Row, rows
from tuner.gate.document import GateResult

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report(result: GateResult) -> str:
    """Return the document."""
    root = Element("testsuites")
    found = rows(result.rules) if result.state != "unfinished" else [_ended(result)]
    for number, workload in enumerate(dict.fromkeys(row.workload for row in found)):
        _suite(root, number, workload, [row for row in found if row.workload == workload], result)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(root: Element, number: int, workload: str, found: list[Row], result: GateResult) -> None:
    states = [_state(row, result) for row in found]
    seconds = f"{result.measured_s / max(1, len(result.rules)):.3f}"
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
            said = _text(_said(row))
            attributes = {"message": said, "type": row.state} if state != "skipped" else {}
            SubElement(case, state, attributes).text = said if state != "skipped" else None
    SubElement(suite, "system-out").text = _text(result.message)
    SubElement(suite, "system-err").text = _text("\n".join(result.notes))


def _ended(result: GateResult) -> Row:
    """Return the one case of a gate that came to no end."""
    return Row("gate", "gate", "", "", "", "", "", "", result.state, result.message)


def _state(row: Row, result: GateResult) -> str:
    if result.state in ("invalid", "unfinished"):
        return "error"
    if row.state == "inconclusive":
        return "skipped" if result.warns else "error"
    return "failure" if row.state == "fail" else ""


def _said(row: Row) -> str:
    if row.state == "unfinished":
        return row.note
    change = f"{row.change} {row.interval}, " if row.change else ""
    return f"{row.rule}: {row.old} -> {row.new}, {change}limit {row.limit}: {row.verdict} {row.note}".strip()


def _timestamp(started: str) -> str:
    """Return `2026-01-31 10:20 UTC` as the schema has it: without a zone."""
    day, clock, *_ = started.split()
    return f"{day}T{clock}:00"


def _text(said: str) -> str:
    return _NOT_XML.sub("?", said)

"""Every example in the documentation is run, and every key, metric, knob, option and exit code is documented."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reports import html, tables
from targets import registry
from targets.base import Context, TargetError
from targets.common import named_choices
from targets.options import Section, TargetOptions
from targets.simulated import config as queue_config
from targets.simulated.target import SimulatedTarget
from targets.triton import config as model_config
from targets.triton import ensemble
from targets.triton.flags import KNOBS as FLAGS
from targets.triton.knobs import CATALOGUE
from targets.triton.repository import UserModel
from targets.triton.target import TritonTarget
from tests.support.pages import APART, DOCS, FOLLOWED, Block, blocks
from tuner import cli, metrics, recommendation, records, results, run_info, usage
from tuner.catalog import BOUNDED, METRICS, STREAMED, USED
from tuner.cli import frame
from tuner.gate import concluding, document, hosts
from tuner.nesting import flat
from tuner.slo import Slo
from tuner.space import LOAD_NAMES, make_space
from tuner.study import accuracy, arrivals, gating, lengths, locustfile, traffic
from tuner.study.load import Study, load_study
from tuner.study.source import StudyError
from tuner.study.spec import StudySpec
from tuner.telemetry import nvml, series
from tuner.wiring import prepare
from workloads.datasets import load_npz
from workloads.units import parse_duration, parse_fraction

ROOT = Path(__file__).parent.parent
DIGITS = ROOT / "studies" / "digits.yaml"
TEMPLATE = ROOT / "studies" / "templates" / "triton.yaml"
GUIDE = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [*GUIDE, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
OTHERS = [page for page in PAGES if page not in {DOCS / f"{name}.md" for name in FOLLOWED}]
"""Pages that no test follows from block to block."""
QUEUE = queue_config.QueueConfig(fixed_ms=1.0, each_ms=1.0)
OPTIONAL = (
    "server",
    "http_port",
    "grpc_port",
    "variants",
    "fp32",
    "int8",
    "labels",
    "output",
    "precision",
    "rate",
    "accuracy_drop",
)
OPTIONAL += ("tensors", "outputs", "cuda_device", "streaming", "queue_timeout", "parameters", "cache_size", "also")
"""Keys that stand commented out in the starter study."""
SERVERLESS = ("schema", "knobs", "init", "doctor")
"""Commands that need neither a server nor a run; the examples of these are run."""


@dataclass(frozen=True)
class Example:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def examples(pages: Sequence[Path], *languages: str) -> list[Example]:
    """Return the fenced blocks of the given languages."""
    found = []
    for page in pages:
        text = page.read_text()
        for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Example(page, line, match[1], match[2]))
    return [one for one in found if one.language in languages]


def section(page: str, heading: str) -> str:
    """Return what stands under a heading of a page, up to the next one."""
    found = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {heading}"
    return found[1]


def table(text: str, *columns: str) -> list[list[str]]:
    """Return the rows of every table in a text that has these first columns."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[: len(columns)] == list(columns):
            inside = True
        elif inside and not line.startswith("|--"):
            rows.append(cells)
    assert rows, f"no table with the columns {columns}"
    return rows


def codes(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# -- study files --


@dataclass(frozen=True)
class Key:
    """A key of a study: its path, with `NAME` for a name that the user chooses, and where the code declares it."""

    path: str
    name: str
    model: type[Section]
    page: str = "study-file.md"

    def __str__(self) -> str:
        return f"{self.path} of {self.model.__name__}"

    @property
    def field(self) -> FieldInfo:
        return self.model.model_fields[self.name]

    def allowed(self) -> list[str]:
        """Return the words that the key takes, those of all its places together; [] where it takes any."""
        same = [key.field.annotation for key in (*KEYS, *OWN_KEYS) if (key.path, key.page) == (self.path, self.page)]
        return [word for one in same for word in words(one)]

    def type_name(self) -> str:
        """Return the reference's word for the key's JSON type."""
        whole = self.model.model_json_schema()
        whole = whole if "properties" in whole else whole["$defs"][self.model.__name__]  # a section with itself inside
        schema = whole["properties"][self.name]
        if "oneOf" in schema or any("oneOf" in part for part in schema.get("anyOf", [])):
            return "time" if self.name == "think_time" else "length"
        one = next((part for part in schema.get("anyOf", []) if part.get("type") != "null"), schema)
        quantities = (
            ("ms|", "duration"),
            (r"\$\s", "price"),
            ("%", "percentage"),
            ("/", "rate"),
            ("(-", "CPU list"),
            (")?B", "size"),
            ("?J", "energy"),
        )
        if word := next((word for mark, word in quantities if mark in one.get("pattern", "")), None):
            return word
        if one.get("format") == "path":
            return "path"
        return {"string": "text", "array": "list", "object": "mapping"}.get(one["type"], one["type"])


def keys_of(model: type[Section], prefix: str = "") -> Iterator[Key]:
    """Yield every key that holds a value, or a word in place of a section."""
    for name, field in model.model_fields.items():
        inner = list(sections(field.annotation))
        if not inner or words(field.annotation):
            yield Key(f"{prefix}{name}", name, model)
        place = f"{prefix}{name}.NAME." if get_origin(field.annotation) is dict else f"{prefix}{name}."
        for section in inner:
            yield from keys_of(section, place)


def words(annotation: Any) -> list[str]:
    """Return the words that a type allows, on their own or beside something else."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType, Annotated) else ()
    return [word for part in parts for word in words(part)]


def sections(annotation: Any) -> Iterator[type[Section]]:
    """Yield the sections in a type: itself, the values of a mapping, the members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    elif get_origin(annotation) in (dict, Union, types.UnionType, Annotated):
        for inner in get_args(annotation):
            yield from sections(inner)


def own_keys(kind: str) -> Iterator[Key]:
    """Yield the keys of a kind of target that not every kind has."""
    for key in keys_of(registry.options_of(kind), "target."):
        if key.name not in TargetOptions.model_fields:
            yield replace(key, page=f"{kind}.md")


def paged_keys(page: str, place: str, models: Sequence[type[Section]]) -> Iterator[Key]:
    """Yield the keys of sections that have a page of their own; those of distributions stand where these are."""
    for model in models:
        for name, field in model.model_fields.items():
            inner = [one for one in sections(field.annotation) if one not in (*LENGTHS, *TIMES)]
            if not inner:
                yield Key(f"{place}.{name}", name, model, page)
            for section in inner:
                yield from (replace(key, page=page) for key in keys_of(section, f"{place}.{name}."))


PROMPTS = (traffic.PromptsSpec, traffic.SyntheticSpec)
SOURCES = (traffic.DatasetSpec, traffic.PerfAnalyzerSpec, traffic.TensorsSpec)
LENGTHS = (
    lengths.UniformSpec,
    lengths.NormalSpec,
    lengths.LogNormalSpec,
    lengths.ZipfSpec,
    lengths.HistogramSpec,
)
TIMES = (arrivals.ExponentialTimeSpec, arrivals.UniformTimeSpec, arrivals.LogNormalTimeSpec)
PROCESSES = [one for one in sections(arrivals.Arrival) if one is not arrivals.StateSpec]
PAGED = {
    *PROMPTS,
    *SOURCES,
    *LENGTHS,
    *TIMES,
    *PROCESSES,
    arrivals.StateSpec,
    traffic.TokenIdsSpec,
    traffic.PromptLengthsSpec,
    *sections(accuracy.AccuracySpec),
    gating.GateSpec,
    gating.GateRules,
    locustfile.LocustSpec,
    locustfile.NamedSpec,
}
KEYS = [key for key in keys_of(StudySpec) if key.model not in PAGED and not re.search(r"\.mix\.|NAME\.slo\.", key.path)]
OWN_KEYS = [
    *(key for kind in registry.names() for key in own_keys(kind)),
    *paged_keys("prompts.md", "requests", PROMPTS),
    *paged_keys("prompts.md", "LENGTH", LENGTHS),
    *paged_keys("workloads.md", "arrival", PROCESSES),
    *paged_keys("workloads.md", "STATE", [arrivals.StateSpec]),
    *paged_keys("workloads.md", "TIME", TIMES),
    *paged_keys("workloads.md", "requests", SOURCES),
    *(key for key in paged_keys("gate.md", "gate", [gating.GateSpec]) if ".workloads." not in key.path),
    *(
        replace(key, page="locustfile.md")
        for key in keys_of(locustfile.LocustSpec, "workloads.NAME.")
        if ".slo." not in key.path
    ),
    *(Key(f"CLASS.{name}", name, traffic.ClassSpec, "workloads.md") for name in ("weight", "timeout", "priority")),
]


def merged(fragment: str) -> dict[str, Any]:
    """Put a fragment over the digits study.

    Its top-level keys replace the study's. After a first line `# under PATH` they go there instead. Variants of a
    fragment are the values of `precision`.
    """
    study: dict[str, Any] = yaml.safe_load(DIGITS.read_text())
    place = re.match(r"# under ([\w.]+)\n", fragment)
    target = study
    for key in place[1].split(".") if place else []:
        target = target[key]
    changed = yaml.safe_load(fragment)
    target |= changed
    if "variants" in changed:
        study["space"]["precision"] = list(changed["variants"])
    return study


def load_text(text: str, folder: Path) -> Study:
    path = folder / "digits.yaml"
    path.write_text(text)
    return load_study(path)


def check_with_target(study: Study) -> None:
    """Check what only the target can tell, as far as it needs no files."""
    spec = study.spec
    for name, overlay in getattr(spec.target, "variants", {}).items():
        if spec.target.kind == "simulated":
            queue_config.overlaid(QUEUE, overlay, name)
        else:
            model_config.check_variant(name, overlay)
    variants = getattr(spec.target, "variants", {})
    knobs = named_choices(registry.knobs(spec.target.kind), "precision", variants)
    for name in spec.space.get("composing", {}):
        model = UserModel(name, Path(name), "max_batch_size: 8", model_config.ModelConfig(max_batch_size=8))
        knobs += ensemble.knobs_of(ensemble.Part(model, model.config), None)
    for model, one in getattr(spec.target, "models", {}).items():
        of_model = named_choices(registry.knobs(spec.target.kind), "precision", one.variants)
        knobs += [replace(knob, name=f"{model}.{knob.name}", place=("models", model, knob.name)) for knob in of_model]
    make_space(flat(spec.space, knobs, study.source), knobs, study.source, spec.constraints)


@pytest.mark.parametrize("example", examples(GUIDE, "yaml"), ids=str)
def test_a_study_in_the_documentation_is_valid(example: Example, tmp_path: Path) -> None:
    whole = "study" in yaml.safe_load(example.text)
    text = example.text if whole else yaml.safe_dump(merged(example.text), sort_keys=False)
    check_with_target(load_text(text, tmp_path))


def test_the_complete_example_has_every_key_of_a_study() -> None:
    blocks = [yaml.safe_load(one.text) for one in examples([ROOT / "docs" / "study-file.md"], "yaml")]
    (study,) = [block for block in blocks if "study" in block]
    present = set(key_names(study))
    missing = {key.name for key in KEYS} - present
    assert missing <= set(BOUNDED), "only the bounds that work alike may be left out"


def key_names(data: object) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield str(key)
            yield from key_names(value)


def test_the_study_in_the_readme_is_the_one_that_its_command_runs() -> None:
    (excerpt,) = examples([ROOT / "README.md"], "yaml")
    study = yaml.safe_load(DIGITS.read_text())
    for key, value in yaml.safe_load(excerpt.text).items():
        assert study[key] == value


def test_the_starter_study_is_valid(tmp_path: Path) -> None:
    check_with_target(load_text(TEMPLATE.read_text(), tmp_path))


def test_the_study_file_page_links_the_keys_of_every_kind() -> None:
    links = re.findall(r"\]\((\w+)\.md#keys", section("docs/study-file.md", "`target`: the server"))
    assert sorted(links) == sorted(registry.names())


def test_the_starter_study_spells_out_the_defaults() -> None:
    given = load_study(TEMPLATE).spec
    for name in ("search", "measure", "confirm", "generator", "isolation", "objectives"):
        assert getattr(given, name) == StudySpec.model_fields[name].get_default()


def test_the_starter_study_names_every_key() -> None:
    text = TEMPLATE.read_text()
    keys = [*KEYS, *(key for key in OWN_KEYS if key.page == "triton.md")]
    assert not [key.path for key in keys if key.name not in STREAMED and not re.search(rf"\b{key.name}\b", text)]


def test_the_alternatives_in_the_starter_study_are_valid(tmp_path: Path) -> None:
    text = TEMPLATE.read_text()
    arrivals = re.findall(r"# or: (\{.*?\})", text)
    assert len(arrivals) == 2
    for arrival in arrivals:
        study = yaml.safe_load(text)
        study["workloads"]["steady"]["arrival"] = yaml.safe_load(arrival)
        check_with_target(load_text(yaml.safe_dump(study), tmp_path))


def test_the_starter_study_is_valid_with_every_optional_key_taken_in(tmp_path: Path) -> None:
    switched_on, count = re.subn(
        rf"^( +)# (( +)?(?:{'|'.join(OPTIONAL)}):)",
        r"\1\2",
        TEMPLATE.read_text(),
        flags=re.MULTILINE,
    )
    assert count == len(OPTIONAL)
    study = load_text(switched_on, tmp_path)
    check_with_target(study)
    assert study.spec.target.http_port is not None
    assert study.spec.target.grpc_port is not None
    assert study.spec.slo.accuracy_drop is not None
    assert set(study.spec.target.variants) == {"fp32", "int8"}


def test_the_numpy_lines_of_the_starter_study_make_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^#   (import numpy.*|\w+ = np\..*|np\.savez.*)$", TEMPLATE.read_text(), re.MULTILINE)
    assert len(lines) == 3
    exec("\n".join(lines), {})
    (path,) = {workload.requests.path for workload in load_study(TEMPLATE).spec.workloads.values()}
    assert len(load_npz(tmp_path / path)) == 200


# -- the reference of the study file --


def documented_keys(page: str) -> dict[str, list[str]]:
    text = (ROOT / "docs" / page).read_text()
    return {codes(row[0])[0]: row for row in table(text, "key", "type", "default", "meaning")}


def test_the_reference_names_exactly_the_keys_of_a_study() -> None:
    assert set(documented_keys("study-file.md")) == {key.path for key in KEYS}


@pytest.mark.parametrize("kind", registry.names())
def test_the_page_of_a_kind_of_target_names_exactly_its_keys(kind: str) -> None:
    assert set(documented_keys(f"{kind}.md")) == {key.path for key in OWN_KEYS if key.page == f"{kind}.md"}


@pytest.mark.parametrize("page", ["prompts.md", "workloads.md", "gate.md", "locustfile.md"])
def test_the_page_of_a_part_of_a_study_names_exactly_its_keys(page: str) -> None:
    assert set(documented_keys(page)) == {key.path for key in OWN_KEYS if key.page == page}


def test_every_arrival_process_has_an_example() -> None:
    shown = [yaml.safe_load(one.text) for one in examples([ROOT / "docs" / "workloads.md"], "yaml")]
    processes = {one["arrival"]["process"] for one in shown if "arrival" in one}
    assert processes == {word for model in PROCESSES for word in words(model.model_fields["process"].annotation)}


def test_every_picture_of_the_documentation_is_there() -> None:
    for page in PAGES:
        for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / name).is_file(), f"{page.name}: {name}"


@pytest.mark.parametrize("key", [*KEYS, *OWN_KEYS], ids=str)
def test_the_reference_gives_a_keys_type_and_default(key: Key) -> None:
    _, kind, default, meaning = documented_keys(key.page)[key.path]
    allowed = key.allowed()
    assert codes(kind) == allowed if allowed else kind == key.type_name()
    assert default_matches(default, kind, key.field), f"the default is {key.field.default!r}"
    assert meaning


def default_matches(cell: str, kind: str, field: FieldInfo) -> bool:
    if field.is_required():
        return cell == "required"
    default = field.get_default()
    if default is None:
        return cell == "none"
    (text,) = codes(cell)
    read = {"duration": parse_duration, "time": parse_duration, "percentage": parse_fraction}.get(kind, yaml.safe_load)
    return bool(read(text) == default)


# -- metrics, results, records --


def test_every_metric_is_documented_by_its_name_and_key() -> None:
    rows = {
        (row[0], *codes(row[1])) for row in table(section("docs/results.md", "Metrics"), "metric", "key", "meaning")
    }
    assert rows == {(metric.name, metric.key) for metric in METRICS.values()}


def result_models(model: type[BaseModel] = results.Result) -> dict[str, type[BaseModel]]:
    """Return every model that a result is made of, by name."""
    found = {model.__name__: model}
    for field in model.model_fields.values():
        for inner in data_models(field.annotation):
            if inner.__name__ not in found:
                found |= result_models(inner)
    return found


def data_models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, results.Data):
        yield annotation
    else:
        for inner in get_args(annotation):
            yield from data_models(inner)


@pytest.mark.parametrize("name", result_models())
def test_every_field_of_a_result_is_documented(name: str) -> None:
    described = [codes(row[0])[0] for row in table(section("docs/results.md", name), "field", "meaning")]
    assert described == [field.alias or key for key, field in result_models()[name].model_fields.items()]


def test_every_column_of_the_records_is_documented() -> None:
    described = [codes(row[0])[0] for row in table(section("docs/results.md", "Records"), "column", "meaning")]
    assert described == [name for name, _, _ in records.FIELDS]


def test_the_size_of_a_row_is_told_as_it_is() -> None:
    page = (ROOT / "docs" / "load-engine.md").read_text(encoding="utf-8")
    assert f"one row of {records.ROW.itemsize} bytes" in page


def test_every_field_of_the_events_is_documented() -> None:
    described = [codes(row[0])[0] for row in table(section("docs/results.md", "Records"), "field", "meaning")]
    assert described == [name for name, _, _ in records.EVENT_FIELDS]


@cache
def small_result() -> results.Result:
    """A result of one trial with one point that has every metric."""
    one = results.Estimate(value=1.0, low=0.5, high=2.0, n=100)
    stages = ("queue", "compute_input", "compute_infer", "compute_output")
    point = results.Point(
        workload="steady",
        load=results.Load(mode="closed", level=4),
        warmup_s=0.3,
        window_s=1.4,
        metrics=dict.fromkeys((metric.key for metric in METRICS.values()), one),
        outcomes={"ok": 100},
        violations={"p99": -0.5},
        server=results.Server(
            window_s=1.4,
            requests=100,
            failures=0,
            executions=50,
            mean_s=dict.fromkeys(stages, 0.001),
            batch_sizes=[],
        ),
        telemetry=usage.Telemetry(cpu_cores=1.0, rss_bytes=1),
        generator=results.Generator(issue_delay_p50_s=0.0, issue_delay_p99_s=0.0, cpu_share=0.1),
        validity=results.Validity(valid=True),
        records="records/trial0000-steady-4.npz",
    )
    trial = results.Trial(
        number=0,
        config={"max_queue_delay": 0.001},
        state="complete",
        points=[point],
        apply_s=1.0,
        wall_s=3.0,
        host="gpu1",
    )
    return results.Result(
        state="done",
        study=run_info.StudyInfo(
            name="digits",
            path="digits.yaml",
            text="",
            fingerprint="",
            overrides=[],
            seed=0,
            slo={"p99": 0.01},
            objectives=["maximize throughput"],
            workloads=["steady"],
        ),
        environment={},
        knobs=[results.KnobInfo(name="max_queue_delay", unit="s", applied="reload", doc="", values=[0.001])],
        trials=[trial],
        front=[results.FrontPoint(trial=0, point=0, meets_slo=True, membership=1.0, on_front=True)],
        baseline=None,
        validity=results.Validity(valid=True),
        timing=run_info.Timing(measured_s=1.0, overhead_s=1.0, wall_s=2.0),
    )


@pytest.mark.parametrize(
    ("make", "not_in_it"), [(tables.trials_csv, {"membership", "on_front"}), (tables.front_csv, set())]
)
def test_every_column_of_the_csv_files_is_documented(make: Any, not_in_it: set[str], tmp_path: Path) -> None:
    (tmp_path / "made.csv").write_text(make(small_result()))
    columns = set(pd.read_csv(tmp_path / "made.csv").columns)
    text = section("docs/results.md", "trials.csv and front.csv")
    described = {name for row in table(text, "column", "meaning") for name in codes(row[0])}
    of_others = {"max_queue_delay_s", *(metric.key for metric in METRICS.values())}
    assert described - not_in_it == columns - of_others


@pytest.mark.parametrize("example", examples([ROOT / "docs" / "results.md"], "json"), ids=str)
def test_an_estimate_in_the_documentation_is_one(example: Example) -> None:
    estimate = results.Estimate.model_validate(json.loads(example.text))
    assert estimate.low <= estimate.value <= estimate.high


def test_the_python_example_computes_the_p99_of_stored_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = examples([ROOT / "docs" / "results.md"], "python")
    columns = {name: np.zeros(1000, kind) for name, kind, _ in records.FIELDS}
    columns["intended_ns"] += np.arange(1000) * 1_000_000
    columns["done_ns"] += columns["intended_ns"] + np.arange(1, 1001) * 1_000
    columns["outcome"][:5] = 1
    columns["phase"] += records.WINDOW
    stored = records.Records(columns, [(0, 1_000_000_000)])
    (name,) = re.findall(r'"(runs/.*?\.npz)"', example.text)
    (tmp_path / name).parent.mkdir(parents=True)
    records.save_records(stored, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    computed: dict[str, Any] = {}
    exec(example.text, computed)
    expected = metrics.summarise(stored, Slo({}))[METRICS["p99"].key].value
    assert computed["p99_s"] == expected


@pytest.mark.parametrize(("column", "fields"), [("array", series.FIELDS), ("array of a GPU", nvml.FIELDS)])
def test_every_array_of_the_samples_is_documented_with_its_unit(
    column: str, fields: Sequence[tuple[str, str, str]]
) -> None:
    rows = table(section("docs/telemetry.md", "The samples"), column, "unit", "meaning")
    assert [(codes(row[0])[0], row[1]) for row in rows] == [(name, unit) for name, unit, _ in fields]


def test_every_throttle_reason_and_every_metric_of_use_has_its_meaning() -> None:
    reasons = table(section("docs/telemetry.md", "Throttling"), "reason", "why")
    assert [codes(row[0])[0] for row in reasons] == list(nvml.REASONS)
    asked = table(section("docs/telemetry.md", "As objectives and bounds"), "name", "unit", "what it is")
    assert [codes(row[0])[0] for row in asked] == list(USED)


def test_the_python_example_puts_cpu_beside_latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = examples([ROOT / "docs" / "telemetry.md"], "python")
    columns = {name: np.zeros(4, kind) for name, kind, _ in records.FIELDS}
    columns["intended_ns"] += np.array([0, 50, 120, 130]) * 1_000_000
    columns["done_ns"] += columns["intended_ns"] + np.array([10, 30, 20, 40]) * 1_000_000
    sampled = series.Series(
        np.array([0, 50, 100, 200], np.int64) * 1_000_000, {"server_cpu_s": np.array([1.0, np.nan, 1.1, 1.3])}, ()
    )
    found, beside = re.findall(r'"(runs/.*?\.npz)"', example.text)
    assert beside == series.series_path(found)
    (tmp_path / found).parent.mkdir(parents=True)
    records.save_records(records.Records(columns, [(0, 200_000_000)]), tmp_path / found)
    series.save_series(sampled, tmp_path / beside)
    monkeypatch.chdir(tmp_path)
    computed: dict[str, Any] = {}
    exec(example.text, computed)
    assert computed["cores"] == pytest.approx([1.0, 2.0])
    assert computed["means_s"] == pytest.approx([0.02, 0.03])


# -- Triton --


def test_every_knob_is_documented() -> None:
    described = [codes(row[0])[0] for row in table(section("docs/triton.md", "Knobs"), "knob", "type")]
    assert described == [knob.name for knob in TritonTarget.all_knobs()]
    page = (ROOT / "docs" / "triton.md").read_text()
    assert all(f"`{name}`" in page for name in LOAD_NAMES)


def test_the_number_of_tritons_knobs_is_told_as_it_is() -> None:
    readme, changes = ((ROOT / name).read_text() for name in ("README.md", "CHANGELOG.md"))
    told = re.findall(r"^\| \[NVIDIA Triton\].* (\d+) knobs \|$", readme, re.MULTILINE)
    assert told == [str(len(TritonTarget.all_knobs()))]
    of_each = re.findall(r"Triton: (\d+) knobs of config\.pbtxt .*? and (\d+) flags", changes, re.DOTALL)
    assert of_each == [(str(len(CATALOGUE)), str(len(FLAGS)))], "`precision` is no field of config.pbtxt"


def test_the_diff_in_the_documentation_is_what_an_export_changes(tmp_path: Path) -> None:
    (example,) = examples(GUIDE, "diff")
    study = load_study(DIGITS)
    target = registry.create(study.spec.target, Context(DIGITS.parent, tmp_path / "log.txt"))
    exported = target.export({**target.user_config(), "precision": "int8"})
    assert html.config_diff(exported.originals, exported.files) == example.text


@pytest.mark.parametrize(
    ("page", "before", "after"),
    [
        ("study-file.md", "max_batch_size: {", "max_batch_sizes: {"),
        ("study-file.md", "p99: 10 ms", "p99: 10"),
        ("triton.md", "max_batch_size: {", "max_batch_sizes: {"),
        ("triton.md", "model: digits", "model: digit"),
        ("triton.md", "int8: {parameters: {model_file: model.int8.onnx}}", "int8: {parameters: model.int8.onnx}"),
    ],
)
def test_an_error_in_the_documentation_is_the_one_that_is_given(
    page: str, before: str, after: str, tmp_path: Path
) -> None:
    shutil.copytree(DIGITS.parent / "digits" / "models", tmp_path / "digits" / "models")
    shutil.copy(DIGITS.parent / "digits" / "test.npz", tmp_path / "digits")
    text = DIGITS.read_text()
    assert before in text
    with pytest.raises((StudyError, TargetError)) as raised:
        prepare(load_text(text.replace(before, after), tmp_path), tmp_path / "log.txt")
    shown = "".join(one.text for one in examples([ROOT / "docs" / page], "text")).splitlines()
    given = str(raised.value).replace(f"{tmp_path}/", "")
    assert unnumbered(given) in map(unnumbered, shown)


def unnumbered(message: str) -> str:
    """Return an error without its line: editing the study moves it."""
    return re.sub(r"\.yaml:\d+:", ".yaml:", message)


# -- the simulated server --


@pytest.fixture
def simulated_study(tmp_path: Path) -> Path:
    """The study that the page of the simulated server writes, with its model and its requests."""
    page = [ROOT / "docs" / "simulated.md"]
    (queue,), (study,) = examples(page, "json"), examples(page, "yaml")
    (program,) = [words for one in examples(page, "sh") if (words := shlex.split(one.text))[:2] == ["python", "-c"]]
    (tmp_path / "models" / "queue").mkdir(parents=True)
    (tmp_path / "models" / "queue" / "queue.json").write_text(queue.text)
    subprocess.run([sys.executable, *program[1:]], cwd=tmp_path, check=True)
    path = tmp_path / "study.yaml"
    path.write_text(study.text)
    return path


def test_the_study_of_the_simulated_server_is_ready_to_run(simulated_study: Path, tmp_path: Path) -> None:
    prepared = prepare(load_study(simulated_study), tmp_path / "log.txt")
    assert prepared.target.user_config()["precision"] == "fp32"
    assert [workload.classes[0].dataset.labels is not None for workload in prepared.workloads] == [True, True]


def test_every_knob_and_key_of_the_simulated_server_is_documented() -> None:
    described = [codes(row[0])[0] for row in table(section("docs/simulated.md", "Knobs"), "knob", "type")]
    assert described == [knob.name for knob in SimulatedTarget.all_knobs()]
    rows = table(section("docs/simulated.md", "queue.json"), "key", "value", "if absent")
    absent = {codes(row[0])[0]: row[2] for row in rows}
    fields = queue_config.QueueConfig.model_fields
    assert absent == {name: "an error" if one.is_required() else str(one.get_default()) for name, one in fields.items()}


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("models/queue/queue.json", "max_batch_size", "max_batch"),
        ("models/queue/queue.json", "4.0", '"4 ms"'),
        ("study.yaml", "each_ms: 0.3", "each_ms: -1"),
        ("study.yaml", "kind: simulated", "kind: simulated\n  protocol: grpc"),
    ],
)
def test_an_error_of_the_simulated_server_in_the_documentation_is_the_one_that_is_given(
    file: str, before: str, after: str, simulated_study: Path, tmp_path: Path
) -> None:
    text = (tmp_path / file).read_text()
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after))
    with pytest.raises((StudyError, TargetError)) as raised:
        prepare(load_study(simulated_study), tmp_path / "log.txt")
    (shown,) = examples([ROOT / "docs" / "simulated.md"], "text")
    assert str(raised.value).replace(f"{tmp_path}/", "") in shown.text.splitlines()


# -- commands --


def command_lines(pages: Sequence[Path]) -> list[tuple[str, tuple[str, ...]]]:
    """Return where each `tune ...` of the shell examples stands, and its arguments."""
    found = []
    for example in examples(pages, "sh", "console"):
        for line in example.text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            words = words[: words.index(">")] if ">" in words else words
            for command in " ".join(map(shlex.quote, words)).split(" '&&' "):
                name, *arguments = shlex.split(command) or [""]
                if name.rpartition("/")[2] == "tune":
                    found.append((str(example), tuple(arguments)))
    return found


COMMAND_LINES = command_lines(PAGES)


@pytest.mark.parametrize(
    ("place", "arguments"), COMMAND_LINES, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_a_command_line_in_the_documentation_is_accepted(place: str, arguments: tuple[str, ...]) -> None:
    group: Any = typer.main.get_command(cli.app)
    root = group.make_context("tune", list(arguments))
    name, command, rest = group.resolve_command(root, [*root._protected_args, *root.args])
    parsed = command.make_context(name, rest, parent=root)
    assert not parsed.args or name == "gate", place
    if name == "gate":
        inner, command, rest = command.resolve_command(parsed, [*parsed._protected_args, *parsed.args])
        assert not command.make_context(inner, rest, parent=parsed).args, place


def test_the_page_of_the_gate_names_every_fact_and_every_field_of_a_baseline() -> None:
    page = (ROOT / "docs" / "gate.md").read_text()
    assert [codes(row[0])[0] for row in table(page, "fact", "what has to be the same")] == list(hosts.FACTS)
    kept = [document.Measurement, document.Measured, document.Restart]
    fields = {field.alias or name for one in kept for name, field in one.model_fields.items()}
    assert not [name for name in fields if f"`{name}`" not in section("docs/gate.md", "The file")]


def run_tune(arguments: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    tune = Path(sys.executable).parent / "tune"
    return subprocess.run([tune, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    "arguments",
    sorted({one for _, one in command_lines(OTHERS) if one[0] in SERVERLESS and "--url" not in one}),
    ids=" ".join,
)
def test_a_command_in_the_documentation_that_needs_no_server_succeeds(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    ended = run_tune(arguments, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


@pytest.mark.parametrize("command", SERVERLESS)
def test_the_examples_show_every_command_that_needs_no_server(command: str) -> None:
    assert any(arguments[0] == command for _, arguments in COMMAND_LINES)


def test_the_help_names_every_command(tmp_path: Path) -> None:
    ended = run_tune(["--help"], tmp_path)
    assert ended.returncode == 0
    group: Any = typer.main.get_command(cli.app)
    assert all(f" {name} " in ended.stdout for name in group.commands)


def test_init_writes_the_starter_study(tmp_path: Path) -> None:
    assert run_tune(["init"], tmp_path).returncode == 0
    assert (tmp_path / "study.yaml").read_text() == TEMPLATE.read_text()


@pytest.mark.parametrize("kind", ["mlserver", "vllm-cpu"])
def test_a_study_that_init_writes_is_valid(kind: str, tmp_path: Path) -> None:
    assert run_tune(["init", kind], tmp_path).returncode == 0
    prepare(load_study(tmp_path / f"{kind}.yaml"), tmp_path / "log.txt")


def test_init_digits_writes_a_study_that_is_ready_to_run(tmp_path: Path) -> None:
    assert run_tune(["init", "digits"], tmp_path).returncode == 0
    prepared = prepare(load_study(tmp_path / "digits.yaml"), tmp_path / "log.txt")
    assert len(prepared.workloads) == 2


def test_every_option_is_documented() -> None:
    group: Any = typer.main.get_command(cli.app)
    loaded = group.loaded()
    loaded |= {f"gate {name}": command for name, command in loaded["gate"].commands.items()}
    for name, command in loaded.items():
        options = {option for one in command.params for option in one.opts if option.startswith("-")}
        if options:
            page = ROOT / "docs" / "commands" / f"{name.split()[0]}.md"
            rows = table(page.read_text(), f"option of `{name}`", "meaning")
            described = {code.split(" ")[0] for row in rows for code in codes(row[0])}
            assert described == options, f"tune {name}"


def test_every_command_has_a_page_that_the_overview_lists() -> None:
    group: Any = typer.main.get_command(cli.app)
    pages = {page.stem for page in (ROOT / "docs" / "commands").glob("*.md")}
    listed = re.findall(r"\]\(commands/(\w+)\.md\)", section("docs/command-line.md", "Commands"))
    assert pages == set(group.commands)
    assert sorted(listed) == sorted(pages)


@pytest.mark.parametrize("page", ["README.md", "docs/command-line.md"])
def test_the_exit_codes_are_documented(page: str) -> None:
    assert frame.NOT_VALID == recommendation.UNDECIDED
    assert [int(row[0]) for row in table((ROOT / page).read_text(), "exit code", "meaning")] == [
        recommendation.DONE,
        concluding.REGRESSION,
        frame.BAD_USAGE,
        frame.TARGET_UNUSABLE,
        recommendation.SLO_MISSED,
        recommendation.UNDECIDED,
        frame.OUR_BUG,
        frame.INTERRUPTED,
    ]


# -- pages --


def shell_blocks() -> Iterator[tuple[Path, Block]]:
    """Yield every shell block of the guide with its page."""
    for page in GUIDE:
        yield from ((page, block) for block in blocks(page) if block.language == "sh")


def called(value: object) -> str:
    """Return how a test of a page and a block is called."""
    return str(value.line) if isinstance(value, Block) else getattr(value, "stem", "")


def needs_nothing(block: Block) -> bool:
    """Return whether a block of a page that is not followed has only commands that a test above runs."""
    lines = [shlex.split(line, comments=True) for line in block.text.splitlines()]
    return all(words[0] == "tune" and words[1] in SERVERLESS and "--url" not in words for words in lines)


@pytest.mark.parametrize(("page", "block"), list(shell_blocks()), ids=called)
def test_a_test_runs_a_shell_block_or_the_page_says_that_none_does(page: Path, block: Block) -> None:
    where = f"{page.relative_to(ROOT)}:{block.line}"
    after = " ".join(page.read_text().partition(f"```sh\n{block.text}```\n")[2].split())
    if block.not_run:
        said = re.match(r"\((?=[^)]*\btests\b)(?=[^)]*\bnot run\b)", after)
        assert said, f"{where}: below it has to stand `(The tests do not run this: WHY.)`, but there is {after[:80]}"
    elif block.run_by:
        named = (ROOT / block.run_by).read_text()
        assert str(page.relative_to(ROOT)) in named, f"{where}: {block.run_by} does not name the page"
    else:
        assert page not in OTHERS or needs_nothing(block), (
            f"{where}: no test runs it; follow the page in tests/e2e/test_pages.py and name it in FOLLOWED, or mark "
            "the block with `not run` or `run by`, see tests/support/pages.py"
        )


def test_no_shell_block_of_a_page_is_passed_over() -> None:
    fence = re.compile(r"^[ >]*```(?:sh|bash|shell|console)\b", re.MULTILINE)
    assert [page for page in GUIDE for _ in fence.findall(page.read_text())] == [page for page, _ in shell_blocks()], (
        "a block is indented, or in another language than `sh`"
    )


def test_every_page_that_is_followed_is_there_and_has_commands() -> None:
    with_commands = {str(page.relative_to(DOCS).with_suffix("")) for page, _ in shell_blocks() if page.parent != ROOT}
    assert with_commands >= FOLLOWED
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "e2e").glob("*.py"))
    assert not [page for page in APART if f'"{Path(page).name}.md"' not in tests]


@pytest.mark.parametrize("name", sorted(FOLLOWED))
def test_a_page_tells_the_reader_the_name_of_every_file(name: str) -> None:
    page = DOCS / f"{name}.md"
    text = page.read_text()
    for block in blocks(page):
        before = text.partition(f"<!-- file: {block.file} -->")[0].rstrip().rpartition("\n\n")[2]
        assert not block.file or f"`{block.file}`" in before


@pytest.mark.parametrize("purpose", ["tune", "test"])
def test_the_readme_marks_the_command_of_each_purpose(purpose: str) -> None:
    text = (ROOT / "README.md").read_text()
    (command,) = re.findall(rf"^<!-- command: {purpose} -->\n```sh\n(.*)\n```$", text, re.MULTILINE)
    (extras,) = re.findall(r"pip install -e '\.\[([\w,]+)\]'", command)
    assert set(extras.split(",")) <= set(metadata("paretune").get_all("Provides-Extra") or [])


def links() -> list[tuple[Path, str]]:
    """Return the relative links of every page."""
    found = []
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        found += [(page, link) for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]
    return found


@pytest.mark.parametrize(("page", "link"), links(), ids=lambda value: getattr(value, "name", value))
def test_a_link_points_to_something(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    assert target.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
        assert anchor in [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", [*PAGES, TEMPLATE], ids=lambda page: page.name)
def test_a_page_names_no_place_on_somebodys_machine(page: Path) -> None:
    assert not re.findall(r"(?<![\w.:/<])/(?:home|root|work|tmp|opt|usr|Users)/\S*", page.read_text())

"""Whole files, tuned: what was tuned changes where it stands, and every other byte stays."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.base import Context, TargetError
from targets.triton import pbtxt
from targets.triton.config import ModelConfig, applied, knob_values, parse
from targets.triton.flags import FILE
from targets.triton.options import TritonOptions
from targets.triton.target import TritonTarget
from tests.support.pbtxt_files import BY_NAME, FILES, FOLDER, Written

SHARED = pytest.mark.parametrize("written", FILES, ids=lambda one: one.name)


def read(text: str) -> ModelConfig:
    return parse(text, Path("config.pbtxt"))


def test_every_file_is_among_them() -> None:
    assert sorted(one.name for one in FILES) == sorted(path.stem for path in FOLDER.glob("*.pbtxt"))


@SHARED
def test_only_what_was_tuned_changes_byte_for_byte(written: Written) -> None:
    wanted = applied(read(written.text), written.wanted)
    assert pbtxt.rewrite(written.text, read(written.text), wanted) == written.tuned


@SHARED
def test_what_was_written_is_read_back_as_it_was_meant(written: Written) -> None:
    before, after = read(written.text), read(written.tuned)
    assert after == applied(before, written.wanted)
    assert {**knob_values(before), **written.wanted} == knob_values(after)


@SHARED
def test_the_way_back_changes_the_same_places(written: Written) -> None:
    own = knob_values(read(written.text))
    back = {name: own[name] for name in written.wanted if name in own}
    again = pbtxt.rewrite(written.tuned, read(written.tuned), applied(read(written.tuned), back))
    assert len(again.splitlines()) == len(written.tuned.splitlines())
    assert pbtxt.rewrite(again, read(again), read(written.tuned)) == written.tuned


@SHARED
def test_an_export_reads_and_writes_the_files_own_bytes(written: Written, tmp_path: Path) -> None:
    folder = tmp_path / "models" / (read(written.text).name or written.name)
    folder.mkdir(parents=True)
    (folder / "config.pbtxt").write_bytes(written.text.encode())
    for step in read(written.text).ensemble_scheduling.step:
        (tmp_path / "models" / step.model_name).mkdir()  # without a config.pbtxt Triton completes it
    asked = {"protocol": "grpc", "streaming": True} if written.name == "decoupled" else {}
    options = TritonOptions.model_validate({"model": folder.name, "repository": "models", **asked})
    target = TritonTarget(options, Context(tmp_path, tmp_path / "log.txt"))
    export = target.export({**target.user_config(), **written.wanted})
    path = Path(folder.name) / "config.pbtxt"
    assert export.files[path] == written.tuned
    assert export.originals[path] == written.text
    assert set(export.files) - {path} <= {FILE}, "and the flags that the file needs"
    assert export.files.get(FILE) == export.originals.get(FILE)


@pytest.mark.parametrize("name", ["sequence_direct", "sequence_oldest", "ensemble"])
def test_a_queue_delay_is_not_set_in_place_of_another_scheduler(name: str) -> None:
    with pytest.raises(TargetError, match=r"has (sequence_batching|ensemble_scheduling), and .* exclude one another"):
        applied(read(BY_NAME[name].text), {"max_queue_delay": 0.001})


def test_what_only_a_newer_server_knows_is_named_and_kept() -> None:
    text = BY_NAME["newer_server"].text
    found, unknown = pbtxt.read(text, ModelConfig())
    assert set(unknown) == {"prefill_offload", "quantile_hint", "brand_new", "numa_affinity", "adaptive"}
    assert knob_values(found) == {"max_batch_size": 8, "instances": 1, "max_queue_delay": 0.0001}
    tuned = pbtxt.rewrite(text, found, applied(found, {"instances": 5}))
    assert pbtxt.read(tuned, ModelConfig())[1] == unknown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 8\nmax_batch_sise: 9\n", r"config\.pbtxt:2: .*no field named \"max_batch_sise\""),
        ("instance_group [ { cuont: 1 } ]\n", r"config\.pbtxt:1: .*no field named \"cuont\""),
        ("input [ { name: 'X' } { name: 'Z' } ]\n", r"config\.pbtxt:1: .*Expected \",\""),
        ("newer { a: 1\nmax_batch_size: 8\n", r"config\.pbtxt"),
        ("newer:", r"config\.pbtxt"),
        ("}", r"config\.pbtxt"),
    ],
    ids=["a slip", "a slip inside", "a list without commas", "an open bracket", "no value", "a bracket alone"],
)
def test_what_is_no_configuration_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        read(text)


# Lists.


@pytest.mark.parametrize(
    ("text", "sizes", "expected"),
    [
        ("[ 4,  # half\n    8 ]  # full", [2, 8], "[ 2,  # half\n    8 ]  # full"),
        ("[ 4,  # half\n    8 ]  # full", [4, 8, 16], "[ 4,  # half\n    8, 16 ]  # full"),
        ("[ 4, 8 ]  # full", [4], "[ 4 ]  # full"),
        ("[ 4, 8 ]  # full", [], None),
        ("[ ]", [4], "[ 4 ]"),
    ],
)
def test_a_list_of_numbers_is_edited_where_they_stand(text: str, sizes: list[int], expected: str | None) -> None:
    whole = "dynamic_batching {{\n  preferred_batch_size: {}\n  preserve_ordering: true\n}}\n"
    before = whole.format(text)
    wanted = read(before)
    del wanted.dynamic_batching.preferred_batch_size[:]
    wanted.dynamic_batching.preferred_batch_size.extend(sizes)
    changed = pbtxt.rewrite(before, read(before), wanted)
    assert read(changed) == wanted
    if expected is not None:
        assert changed == whole.format(expected)


# Property: whatever stands around them, the tuned fields alone change.

BLANKS = st.sampled_from([" ", "  ", "\n", "\t", " # max_batch_size: 1 {\n", "\r\n", "\n\n# ] }\n"])
OTHERS = st.sampled_from(
    [
        'name: "a"',
        "platform: 'b # c'",
        'parameters { key: "k" value { string_value: "instance_group { count: 9 }" } }',
        'model_warmup [ { name: "w" count: 4 batch_size: 2 } ]',
        "input: [ < name: 'X' dims: [ 1, - 1 ] > ]",
        'brand_new: [ { max_batch_size: 7 }, { x: "dynamic_batching" } ]',
        "optimization { priority: PRIORITY_MAX }",
    ]
)
KNOBS = st.fixed_dictionaries(
    {
        "max_batch_size": st.integers(1, 4096),
        "instances": st.integers(1, 64),
        "max_queue_delay": st.integers(1, 10**6).map(lambda us: us / 1e6),
    }
)
TUNED = (
    "max_batch_size:{blank}{size}{gap}instance_group{open}{{count{blank}:{count}}}{close}{gap}"
    "dynamic_batching{{{gap}max_queue_delay_microseconds:{blank}{delay}{gap}}}"
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_stands_around_them_the_tuned_fields_alone_change(data: st.DataObject) -> None:
    draw = data.draw
    others = draw(st.lists(OTHERS, unique_by=lambda text: text[:4], max_size=4))
    blank, gap = draw(BLANKS), draw(BLANKS)
    bracket = draw(st.sampled_from([("", ""), ("[", "]"), (": [ ", " ]")]))
    around = [draw(BLANKS).join(["", *others[:2], ""]), draw(BLANKS).join(["", *others[2:], ""])]

    def text(config: dict[str, int | float]) -> str:
        tuned = TUNED.format(
            blank=blank, gap=gap, open=bracket[0], close=bracket[1], size=config["max_batch_size"],
            count=config["instances"], delay=round(config["max_queue_delay"] * 1e6),
        )  # fmt: skip
        return tuned.join(around)

    before, after = draw(KNOBS), draw(KNOBS)
    wanted = applied(read(text(before)), after)
    assert pbtxt.rewrite(text(before), read(text(before)), wanted) == text(after)


def test_a_case_that_says_too_little_fails() -> None:
    spoiled = replace(BY_NAME["commented"], changes=BY_NAME["commented"].changes[:2])
    assert pbtxt.rewrite(spoiled.text, read(spoiled.text), applied(read(spoiled.text), spoiled.wanted)) != spoiled.tuned

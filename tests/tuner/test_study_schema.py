"""The JSON Schema of studies has the keys of every kind of target."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from targets import registry
from tuner.study.schema import study_schema

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found = study_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.fixture
def study() -> dict[str, Any]:
    return dict(yaml.safe_load((STUDIES / "digits.yaml").read_text()))


def test_every_kind_has_its_keys_and_no_others(schema: dict[str, Any]) -> None:
    for kind in registry.names():
        own = schema["$defs"][f"target {kind}"]
        assert own["properties"]["kind"]["const"] == kind
        assert set(own["properties"]) == set(registry.options_of(kind).model_fields)
        assert own["additionalProperties"] is False


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studies_are_valid(path: Path, schema: dict[str, Any]) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)


@pytest.mark.parametrize("change", [{"modl": "x"}, {"kind": "tritn"}, {"model": 3}])
def test_a_target_that_is_wrong_is_found(change: dict[str, Any], schema: dict[str, Any], study: dict[str, Any]) -> None:
    study["target"] |= change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(study, schema)


def test_a_bound_on_a_metric_of_the_servers_own_is_taken(schema: dict[str, Any], study: dict[str, Any]) -> None:
    study["slo"]["queue_depth"] = 5
    jsonschema.validate(study, schema)

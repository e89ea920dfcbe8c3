"""The JSON Schema of study files, for editors: with the keys of every kind of target that is installed."""

from typing import Any

from targets import registry
from targets.base import TargetError
from tuner.study.spec import StudySpec


def study_schema() -> dict[str, Any]:
    """Return the schema; a kind of target that cannot be imported here is left out."""
    schema = StudySpec.model_json_schema()
    definitions = schema["$defs"]
    kinds = []
    for kind in registry.names():
        try:
            own = registry.options_of(kind).model_json_schema()
        except TargetError:
            continue
        definitions |= own.pop("$defs", {})
        own["properties"]["kind"] = {"const": kind, "description": own["properties"]["kind"].get("description", "")}
        own["required"] = sorted({"kind", *own.get("required", ())})
        definitions[f"target {kind}"] = own
        kinds.append({"$ref": f"#/$defs/target {kind}".replace(" ", "%20")})
    del definitions["TargetOptions"]
    schema["properties"]["target"] = {"description": "the server that is tuned", "oneOf": kinds}
    return schema

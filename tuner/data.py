"""The base of everything that is stored as plain data."""

from pydantic import BaseModel, ConfigDict


class Data(BaseModel):
    """Immutable stored data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

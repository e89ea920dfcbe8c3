"""Names that a study gives."""

from typing import Annotated

from pydantic import StringConstraints

WorkloadName = Annotated[str, StringConstraints(pattern=r"^[\w-]+$")]

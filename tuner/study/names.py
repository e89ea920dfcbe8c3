"""Names that a study gives."""

from typing import Annotated

from pydantic import StringConstraints

WorkloadName = Annotated[str, StringConstraints(pattern=r"^[\w-]+$")]
PartName = Annotated[str, StringConstraints(pattern=r"^[\w-]+(\.[\w-]+)?$")]
"""A workload, or a class of its requests as `WORKLOAD.CLASS`."""

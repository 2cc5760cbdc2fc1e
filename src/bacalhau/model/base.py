"""How every record looks: frozen, keyword-only, Bacalhau's PascalCase on the wire."""

from typing import dataclass_transform

import msgspec

_ACRONYMS = {"id": "ID", "cpu": "CPU", "gpu": "GPU", "gpus": "GPUs", "sha256": "SHA256", "os": "OS"}


def pascal(name: str) -> str:
    """The wire key of a field: `job_id` -> `JobID`, `exit_code` -> `ExitCode`."""
    return "".join(_ACRONYMS.get(word, word.capitalize()) for word in name.split("_"))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Record(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=pascal, gc=False
):
    """The base of every model class.

    Frozen is shallow: a dict inside a record is data that nobody may change.
    Records form trees, never circles, so the cycle collector need not look at them
    (`gc=False`): with 30,000 live jobs that halves the time to read them at start.
    Change a record with `evolve(record, field=value)`.
    """


evolve = msgspec.structs.replace

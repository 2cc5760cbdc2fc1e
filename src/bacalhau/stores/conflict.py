"""The one way in which a store refuses a row."""

from bacalhau.model.errors import Conflict


def conflict(table: str, row_id: str, stored: int) -> Conflict:
    """Somebody else wrote that row first: it is at revision `stored` (0: not there)."""
    return Conflict(
        f"{table} '{row_id}' is not as expected: it is at revision {stored}",
        hint="read it again and decide anew",
        details={"table": table, "id": row_id, "revision": str(stored)},
    )

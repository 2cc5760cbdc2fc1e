"""May this principal do this? The only place that answers it."""

from collections.abc import Iterable

from bacalhau.model.policy import Action, Principal, Resource

CAPABILITIES = frozenset(
    {"*"}
    | {f"{action}:*" for action in Action}
    | {f"{action}:{resource}" for action in Action for resource in Resource}
)
"""Every word that a configured capability may be."""


def may(principal: Principal, action: Action, resource: Resource) -> str:
    """'' when the principal may do this, else the reason why not."""
    wanted = f"{action}:{resource}"
    if not principal.actions.isdisjoint(("*", f"{action}:*", wanted)):
        return ""
    return f"'{principal.name}' does not have the capability '{wanted}'"


def unknown(actions: Iterable[str]) -> tuple[str, ...]:
    """Those of the words that are no capability."""
    return tuple(word for word in actions if word not in CAPABILITIES)

"""What `touchstone doctor` says of the sandbox where candidates run on the nodes of a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox import Surveyed
    from server.config import SandboxConfig


async def on_ray(config: SandboxConfig, address: str) -> dict[str, Any]:
    """Every node, busy or not; the tier is that of the weakest, and there is a problem where none may have a worker."""
    from sandbox import SandboxUnavailable, survey
    from server.build import staff_of

    try:
        nodes = await survey(staff_of(config, address))
    except SandboxUnavailable as error:
        return {"nodes": [], "how_to_fix": list(error.how_to_fix), "problem": str(error)}
    fit = [node.tier for node in nodes if node.tier is not None]
    weakest = max(fit, key=lambda tier: tier.name, default=None)
    reasons = [node.reason for node in nodes if node.reason is not None]
    fixes = [fix for node in nodes for fix in (node.how_to_fix if node.tier is None else node.tier.how_to_fix)]
    return {
        "tier": None if weakest is None else weakest.name,
        "facts": {} if weakest is None else dict(weakest.facts),
        "stronger_refused": [] if weakest is None else list(weakest.stronger_refused),
        "nodes": list(map(_told, nodes)),
        "how_to_fix": list(dict.fromkeys(fixes)),
        "problem": "; ".join(reasons) if weakest is None else None,
    }


def _told(node: Surveyed) -> dict[str, Any]:
    return {"host": node.host, "tier": None if node.tier is None else node.tier.name, "problem": node.reason}

"""What a person types to take an action back, or why that cannot be done."""

from __future__ import annotations

import re

from ops.state import Action, ActionKind

_REPLICAS = re.compile(r"--replicas=(\d+)")
_RATIO = re.compile(r"([\w./-]*admission-ratio)=\S+ --overwrite")
_ONCE = {
    ActionKind.REPLACE_POD: "a removed pod cannot come back",
    ActionKind.RESTART_POD: "a restart cannot be taken back",
}


def undo_command(action: Action) -> str:
    """The command that takes an action back; empty where none is known."""
    if action.undo.startswith("kubectl "):
        return action.undo
    region, name = action.target.region, action.target.name
    match action.kind:
        case ActionKind.ROLLBACK:
            back = action.undo.removesuffix(" again")
            return f"kubectl --context {region} rollout undo deployment/{name}  # {back}"
        case ActionKind.SCALE_OUT:
            added = int(float(action.params["add"]))
            return _REPLICAS.sub(lambda m: f"--replicas={int(m[1]) - added}", action.command)
        case ActionKind.SHIFT_TRAFFIC:
            head = action.command.partition("#")[0].strip()
            to_region = action.params["to_region"]
            return f"{head}  # weight of the backends of {to_region}: 0" if head else ""
        case ActionKind.LIMIT_ADMISSION:
            return _RATIO.sub(r"\1-", action.command)
    return ""


def no_undo(action: Action) -> str:
    """ "No undo: a removed pod cannot come back."; empty for what can be taken back."""
    why = _ONCE.get(action.kind)
    return f"No undo: {why}." if why else ""

"""What of a body changes the price, held against the tenant's rules: allowed, refused, or set by us. Pure."""

from typing import Final

import msgspec

from tollbook.core.settings import FieldRule, Tenant
from tollbook.gateway.refusal import Refusal
from tollbook.providers.body import Splice, read_value, splice
from tollbook.providers.contract import Adapter, Call

_TOOLS: Final = ("tools", "toolConfig")


def judge(tenant: Tenant, adapter: Adapter, call: Call) -> Call:
    """The call as it may go on: the same, or one whose body has the values that the tenant's rules force.

    A changed body is scanned again, so that what goes to the vendor is what was judged. Raises Refusal 403.
    """
    if tenant.deny_tools:
        _judge_tools(tenant.deny_tools, call)
    changes = []
    for name, rule in tenant.fields.get(adapter.format, {}).items():
        change = _judge_field(name, rule, adapter, call)
        if change is not None:
            changes.append(change)
    if not changes:
        return call
    body = splice(call.body, changes)
    return msgspec.structs.replace(call, body=body, members=adapter.scan(call.headers, body))


def _judge_field(name: str, rule: FieldRule, adapter: Adapter, call: Call) -> Splice | None:
    raw = call.members.values.get(name)
    if rule.force is not None:
        return _force(name, msgspec.json.encode(rule.force), adapter, call)
    if raw is None or raw == b"null":
        return None
    if rule.refuse:
        raise Refusal(403, "field_not_allowed", f'member "{name}" may not be set with this key')
    value = read_value(raw)
    if value not in rule.allow:
        allowed = ", ".join(rule.allow)
        raise Refusal(403, "field_not_allowed", f'member "{name}" may only be one of: {allowed}')
    return None


def _force(name: str, told: bytes, adapter: Adapter, call: Call) -> Splice | None:
    """The change that sets a member; only where the operation has it."""
    span = call.members.spans.get(name)
    if not call.body.lstrip().startswith(b"{"):
        if span is not None:
            raise Refusal(403, "field_not_allowed", f'field "{name}" of a form may not be set with this key')
        return None
    if span is not None:
        return None if call.members.values[name] == told else Splice(*span, told)
    if name not in adapter.model_fields:
        return None
    end = max(end for _, end in call.members.spans.values())
    return Splice(end, end, b"," + msgspec.json.encode(name) + b":" + told)


def _judge_tools(denied: tuple[str, ...], call: Call) -> None:
    for member in _TOOLS:
        value = read_value(call.members.values.get(member))
        if isinstance(value, dict):
            value = value.get("tools")
        for tool in value if isinstance(value, list) else ():
            for kind in _kinds(tool):
                if any(kind == name or kind.startswith(f"{name}_") for name in denied):
                    raise Refusal(403, "tool_not_allowed", f"tool {kind[:64]!r} may not be used with this key")


def _kinds(tool: object) -> list[str]:
    """What a tool is called: its `type`, or, where tools are told apart by their one member (Gemini), that."""
    if not isinstance(tool, dict):
        return []
    kind = tool.get("type")
    return [kind] if isinstance(kind, str) else [name for name in tool if isinstance(name, str)]

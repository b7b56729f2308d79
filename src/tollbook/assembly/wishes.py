"""What an act would do, as far as the duties ask: whom it concerns, from when, how much it moves."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tollbook.assembly.registering import RegistryKeeper
from tollbook.core.clock import Clock, now
from tollbook.registry import decisions
from tollbook.registry.duties import Wish
from tollbook.registry.identities import Office

Document = dict[str, Any]
Measure = Callable[[Document], Mapping[str, str] | None]
"""What an act with these arguments would move, decimal text per currency; None when that is not known in full."""


class Wishes:
    """Looks at arguments before anything is done with them. Raises BadInput and NotFound as the act would."""

    def __init__(
        self,
        registry: RegistryKeeper,
        office: Office,
        measures: Mapping[str, Measure],
        tenant_of_case: Callable[[str, Document], str | None],
        clock: Clock = now,
    ) -> None:
        self._registry: Final = registry
        self._office: Final = office
        self._measures: Final = measures
        self._tenant_of_case: Final = tenant_of_case
        self._clock: Final = clock

    def of(self, act: str, arguments: Document) -> Wish:
        """The wish that an act with these arguments is."""
        measure = self._measures.get(act)
        return Wish(
            act=act,
            tenant=self._tenant(act, arguments),
            subject=self._subject(act, arguments),
            effective=_whole(arguments.get("effective")),
            amounts=measure(arguments) if measure is not None else {},
        )

    def _tenant(self, act: str, arguments: Document) -> str | None:
        name, tenant = _text(arguments.get("name")), _text(arguments.get("tenant"))
        if act in ("key.rotate", "key.revoke", "key.transfer") and name is not None:
            return decisions.key_named(self._registry.registry, name, tenant).tenant
        if act.startswith("case.") and act != "case.open":
            return self._tenant_of_case(act, arguments)
        if act.startswith("registry.") and name is not None:
            return self._tenant_of_subject(arguments, name)
        return tenant

    def _tenant_of_subject(self, arguments: Document, name: str) -> str | None:
        if arguments.get("kind") == "tenant":
            return name
        if arguments.get("kind") != "workload":
            return None
        facts = arguments.get("facts")
        parent = _text(facts.get("parent")) if isinstance(facts, dict) else None
        if "/" in name:
            return name.partition("/")[0]
        if any(one.endswith(f"/{name}") for one in self._registry.registry.names("workload")):
            return decisions.workload_named(self._registry.registry, name).partition("/")[0]
        return parent

    def _subject(self, act: str, arguments: Document) -> str | None:
        """Whom an act is about. The first credential of one without any role is about nobody yet."""
        name = _text(arguments.get("name"))
        if not act.startswith("identity.") or name is None:
            return None
        known = self._office.identities.get(name)
        if act == "identity.credential" and known is not None and known.method is None and not known.grants:
            return None
        return name


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None

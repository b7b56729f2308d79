"""What a vendor keeps for its accounts: responses, files, batches."""

from collections.abc import Iterable
from typing import Any


class Refusal(Exception):
    """A request that is answered with an error status; `message` None is the vendor's usual words for it."""

    def __init__(self, status: int, message: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(status, message)
        self.status, self.message, self.retry_after = status, message, retry_after


class Undone(Exception):
    """A line of a batch that is not done: `expired` or `cancelled`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Shelf:
    """Objects by account, kind and id. No account sees what another one keeps."""

    def __init__(self) -> None:
        self._things: dict[tuple[str, str], dict[str, Any]] = {}

    def put(self, account: str, kind: str, name: str, thing: Any) -> None:
        self._things.setdefault((account, kind), {})[name] = thing

    def get(self, account: str, kind: str, name: str) -> Any:
        """An object of the account. Raises Refusal (404) when it has none of that name."""
        try:
            return self._things[account, kind][name]
        except KeyError:
            raise Refusal(404, f"No such {kind}: '{name[:128]}'") from None

    def remove(self, account: str, kind: str, name: str) -> Any:
        """Take an object away and return it. Raises Refusal (404) when there is none."""
        thing = self.get(account, kind, name)
        del self._things[account, kind][name]
        return thing

    def all(self, account: str, kind: str) -> list[Any]:
        """The account's objects of a kind, the latest first."""
        return list(self._things.get((account, kind), {}).values())[::-1]

    def names(self, account: str, kind: str) -> Iterable[str]:
        """The names of the account's objects of a kind."""
        return self._things.get((account, kind), {}).keys()

    def clear(self) -> None:
        self._things.clear()

"""Which rules apply to a request: installed ones and its own, counted and drawn."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence

from msgspec import Struct

from tollbook.simulator.rule import Rule, When


class Scene(Struct, frozen=True):
    """What rules look at. `scope` is the same for all attempts of one request; `body` is a checksum of its bytes."""

    vendor: str
    path: str
    model: str
    key: str
    account: str
    stream: bool
    attempt: int
    scope: str
    body: int


class Rulebook:
    """The rules of one simulator and how often each has been used.

    A draw depends on the seed, the rule and the body, not on the order in which different requests arrive.
    """

    def __init__(self, seed: int, rules: Sequence[Rule] = ()) -> None:
        self._seed = seed
        self._initial = tuple(rules)
        self._rules = self._initial
        self._used: Counter[Hashable] = Counter()
        self._drawn: Counter[Hashable] = Counter()

    @property
    def rules(self) -> tuple[Rule, ...]:
        return self._rules

    def install(self, rules: Sequence[Rule]) -> None:
        """Replace all installed rules; the counts start again."""
        self._used.clear()
        self._drawn.clear()
        self._rules = tuple(rules)

    def reset(self) -> None:
        """Back to the rules the simulator started with."""
        self.install(self._initial)

    def choose(self, scene: Scene, own: Sequence[Rule]) -> dict[str, Rule]:
        """The rules that act on a request, by fault; of two for one fault the first counts."""
        chosen: dict[str, Rule] = {}
        for number, rule in enumerate(self._rules):
            if rule.do != "refuse" and _matches(rule.when, scene) and self._acts(number, rule, scene):
                chosen.setdefault(rule.do, rule)
        for number, rule in enumerate(own):
            if _matches(rule.when, scene) and self._acts((scene.scope, number), rule, scene):
                chosen.setdefault(rule.do, rule)
        return chosen

    def refuses(self, connection: int) -> bool:
        """Whether the connection of this number is reset at once."""
        return any(
            rule.do == "refuse" and self._draws(number, rule, connection) and self._spends(number, rule)
            for number, rule in enumerate(self._rules)
        )

    def _acts(self, name: Hashable, rule: Rule, scene: Scene) -> bool:
        return self._draws(name, rule, scene.body) and self._spends(name, rule)

    def _draws(self, name: Hashable, rule: Rule, body: int) -> bool:
        if rule.probability is None:
            return True
        seen = (rule.do, name if isinstance(name, int) else "own", body)
        self._drawn[seen] += 1
        text = f"{self._seed}/{seen}/{self._drawn[seen]}"
        number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
        return number < rule.probability * 2**32

    def _spends(self, name: Hashable, rule: Rule) -> bool:
        if rule.times is None:
            return True
        self._used[name] += 1
        return self._used[name] <= rule.times


def _matches(when: When, scene: Scene) -> bool:
    attempts = (when.attempt,) if isinstance(when.attempt, int) else when.attempt
    return (
        when.vendor in (None, scene.vendor)
        and when.path in (None, scene.path)
        and when.model in (None, scene.model)
        and when.key in (None, scene.key, scene.account)
        and when.stream in (None, scene.stream)
        and (attempts is None or scene.attempt in attempts)
    )

"""Moves, backdated or not: as-was stays as it was, and transfers carry over exactly what belongs elsewhere now."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_story import START, Story, book_root

from tollbook.assembly.transferring import Transferring
from tollbook.cli.screen import money
from tollbook.core.money import format_amount, parse_amount
from tollbook.journal.registration import Added, Moved, RegistryChanged, TransferPosted
from tollbook.ledger.loader import Loader
from tollbook.ledger.report import report
from tollbook.ledger.tieout import check_transfers
from tollbook.ledger.transfers import transfers, uses_of_key
from tollbook.registry.organisation import AS_OF, AS_WAS, RESTATED, Organisation, from_rows
from tollbook.registry.registry import Registry

BOOK = "book-20261123T164000Z-00000009"
PLACES = ("tenant", "unit", "entity", "cost_centre")


class Company:
    """A book told as a story, its registry, its ledger; and transfers as the scribe posts them."""

    def __init__(self, directory: Path) -> None:
        self.root = directory
        book_root(directory)
        self.story = Story()
        self.registry = Registry()
        self.batches: list[Any] = []
        self.loader = Loader(directory)
        self.transferring = Transferring(self, lambda: self.loader.lake)  # type: ignore[arg-type]

    def close(self) -> None:
        self.loader.close()

    def change(self, *changes: Any, effective: int | None = None) -> str:
        entry = RegistryChanged(changes=list(changes), actor="a", effective=effective)
        line = self.story.put("registry.changed", entry, BOOK)
        self.registry.add(entry, line.recorded, line.digest)
        return line.digest

    def post(self, posted: TransferPosted) -> dict[str, Any]:
        line = self.story.put("transfer.posted", posted, BOOK)
        self.registry.transfer(posted)
        return {"digest": line.digest}

    def use(self, tenant: str = "acme", workload: str | None = "search", key: str = "k", **settlement: Any) -> None:
        opened = self.story.open(tenant=tenant, workload=workload, key=key)
        self.story.settle(opened, **settlement)

    def heads(self) -> int:
        """Everything told becomes a position of the ledger; what then wants a transfer gets it, in the next one."""
        self.load()
        self.transferring.post()
        if self.story.pending:
            self.load()
        return self.loader.position

    def load(self) -> None:
        """What was told becomes one position."""
        self.batches.append(self.story.heads())
        self.loader.load(self.batches[-1:])

    def report(self, by: str, org: str = AS_WAS, at: int = 0, as_of: int | None = None) -> dict[str, Any]:
        return report(
            self.root, by.split(","), as_of=as_of, org=org, organise=lambda rows: Organisation(from_rows(rows), org, at)
        )

    def sums(self, org: str, at: int = 0) -> dict[tuple[Any, ...], dict[str, int]]:
        """Requests, attempts and amounts by place."""
        found: dict[tuple[Any, ...], dict[str, int]] = {}
        for row in self.report(",".join(PLACES), org, at)["rows"]:
            place = found.setdefault(tuple(row["dimensions"][name] for name in PLACES), {})
            for name, value in figures(row).items():
                place[name] = place.get(name, 0) + value
        return found

    def with_transfers(self) -> dict[tuple[Any, ...], dict[str, int]]:
        """As-was, and what was carried over on top of it."""
        found = self.sums(AS_WAS)
        for one in transfers(self.root)["transfers"]:
            for leg in one["legs"]:
                values = {"requests": leg["requests"], "attempts": leg["attempts"]}
                if leg["expected"] is not None:
                    values[leg["currency"]] = parse_amount(leg["expected"])
                for side, sign in (("from", -1), ("to", 1)):
                    place = found.setdefault(tuple(leg[side][name] for name in PLACES), {})
                    for name, value in values.items():
                        place[name] = place.get(name, 0) + sign * value
        return {place: kept for place, told in found.items() if (kept := {k: v for k, v in told.items() if v})}


def figures(row: dict[str, Any]) -> dict[str, int]:
    amounts = {currency: parse_amount(amount) for currency, amount in row["amounts"].items()}
    told = {"requests": row["requests"], "attempts": row["attempts"], **amounts}
    return {name: value for name, value in told.items() if value}


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    made = Company(tmp_path)
    made.change(
        Added(kind="entity", name="gmbh", cost_centre="1000"),
        Added(kind="entity", name="inc", cost_centre="9000"),
        Added(kind="unit", name="research", parent="gmbh"),
        Added(kind="unit", name="sales", parent="inc", cost_centre="2000"),
        Added(kind="tenant", name="acme", parent="research"),
        Added(kind="tenant", name="globex", parent="sales"),
        *(Added(kind="workload", name=f"{tenant}/search", parent=tenant) for tenant in ("acme", "globex")),
    )
    made.heads()
    yield made
    made.close()


def test_a_backdated_move_leaves_as_was_alone_and_is_carried_over(company: Company) -> None:
    """Told on the twentieth, from the first on: the report of before is the same to the byte, as-was of today has the
    same rows, both sides tie out, and usage after the move goes to the new place by itself."""
    company.use()
    middle = company.story.now
    company.use()
    company.use("globex")
    position = company.heads()
    before = json.dumps(company.report("unit,entity,cost_centre", as_of=position))
    rows = company.report("unit,tenant")["rows"]
    company.change(Moved(kind="workload", name="acme/search", parent="globex"), effective=middle)
    company.heads()
    assert json.dumps(company.report("unit,entity,cost_centre", as_of=position)) == before
    assert company.report("unit,tenant")["rows"] == rows
    ((one,),) = [posted["legs"] for posted in transfers(company.root)["transfers"]]
    assert (one["from"]["tenant"], one["to"]["tenant"], one["requests"]) == ("acme", "globex", 1)
    assert (one["from"]["cost_centre"], one["to"]["cost_centre"]) == ("1000", "2000")
    company.use()
    company.heads()
    tenants = {row["dimensions"]["tenant"]: row["requests"] for row in company.report("tenant")["rows"]}
    assert tenants == {"acme": 2, "globex": 2}
    restated = {row["dimensions"]["tenant"]: row["requests"] for row in company.report("tenant", RESTATED)["rows"]}
    assert restated == {"acme": 1, "globex": 3}
    assert company.with_transfers() == company.sums(RESTATED)


def test_history_in_the_structure_of_a_date(company: Company) -> None:
    """`as-of` puts all usage, also that of before, where it would belong on that date."""
    company.use()
    company.heads()
    early = company.story.now
    company.change(Moved(kind="tenant", name="acme", parent="sales"))
    company.heads()
    units = {row["dimensions"]["unit"]: row["requests"] for row in company.report("unit", AS_OF, early)["rows"]}
    assert units == {"research": 1}
    later = {
        row["dimensions"]["unit"]: row["requests"] for row in company.report("unit", AS_OF, company.story.now)["rows"]
    }
    assert later == {"sales": 1}
    assert {row["dimensions"]["unit"] for row in company.report("unit")["rows"]} == {"research"}


@pytest.mark.parametrize("seed", range(5))
def test_any_moves_tie_out(company: Company, seed: int) -> None:
    """Usage and moves in any order, backdated at will, of workloads, tenants, units and cost centres: as-was with all
    transfers is what is held now; every transfer adds up to nothing; nothing is lost on the way."""
    chance = random.Random(seed)
    count = 0
    for _ in range(60):
        act = chance.choice(["use", "use", "use", "late", "unpriced", "move", "heads"])
        tenant = chance.choice(["acme", "globex"])
        if act in ("use", "unpriced"):
            rating = (
                company.story.rating(None)
                if act == "unpriced"
                else company.story.rating(f"0.{chance.randrange(1, 10**6):06}", currency=chance.choice(["USD", "EUR"]))
            )
            company.use(tenant, chance.choice(["search", None]), rating=rating)
            count += 1
        elif act == "late":
            company.story.close(tenant=tenant, workload="search")
            count += 1
        elif act == "move":
            at = chance.randrange(START, company.story.now + 5_000) if chance.random() < 0.7 else None
            company.change(chance.choice(moves(chance)), effective=at)
        else:
            company.heads()
    company.heads()
    assert company.with_transfers() == company.sums(RESTATED)
    document = transfers(company.root)
    assert set(document["provenance"]["control_totals"]["sum"].values()) <= {"0"}
    for org in (AS_WAS, RESTATED):
        assert company.report("tenant,unit", org)["total"]["requests"] == count


def moves(chance: random.Random) -> list[Moved]:
    tenants, units, entities = ["acme", "globex"], ["research", "sales"], ["gmbh", "inc"]
    return [
        Moved(kind="workload", name=f"{chance.choice(tenants)}/search", parent=chance.choice(tenants)),
        Moved(kind="tenant", name=chance.choice(tenants), parent=chance.choice(units)),
        Moved(kind="unit", name=chance.choice(units), parent=chance.choice(entities)),
        Moved(kind="tenant", name=chance.choice(tenants), cost_centre=str(chance.randrange(3))),
    ]


def test_a_transfer_is_posted_once_and_also_after_a_restart(company: Company) -> None:
    """Who takes over reads from the journal what still wants its transfer."""
    company.use()
    company.heads()
    digest = company.change(Moved(kind="tenant", name="acme", parent="sales"), effective=START)
    company.load()
    successor = Transferring(company, lambda: company.loader.lake)  # type: ignore[arg-type]
    assert [known.digest for known in successor.waiting] == [digest]
    successor.post()
    company.transferring.post()
    assert successor.waiting == [] == company.transferring.waiting
    company.heads()
    assert len(transfers(company.root)["transfers"]) == 1


def test_a_transfer_waits_for_the_ledger(company: Company) -> None:
    """Before the change is folded nobody can say what was on record."""
    company.change(Moved(kind="tenant", name="acme", parent="sales"), effective=START)
    company.transferring.post()
    assert len(company.transferring.waiting) == 1


def test_what_a_suspected_key_cost_goes_to_a_cost_centre_once(company: Company) -> None:
    """From an instant on, without what was carried already; and a later move does not take it along."""
    company.use(key="good")
    company.use(key="bad")
    since = company.story.now
    company.use(key="bad", workload=None, model_served="gpt-4o-2024")
    company.use(key="bad")
    company.heads()
    told = uses_of_key(company.root, "acme", "bad", since)
    assert (told["after"]["requests"], told["before"]["requests"]) == (2, 1)
    assert {one["name"]: one["new"] for one in told["models"]} == {"gpt-4o-2024": True, "gpt-4o-mini-2024": False}
    assert len(told["requests"]) == 2 and told["left_out"] == 0
    wanted = {"name": "acme/bad", "since": since, "cost_centre": "6666"}
    suspect = company.transferring.acts["key.transfer"]
    company.registry.keys["acme", "bad"] = key_of("bad")
    (leg,) = suspect(wanted, "auditor")["legs"]
    assert (leg["from"]["tenant"], leg["to"]["cost_centre"], leg["requests"]) == ("acme", "6666", 2)
    company.heads()
    assert suspect(wanted, "auditor")["legs"] == []
    company.change(Moved(kind="tenant", name="acme", parent="sales"), effective=START)
    company.heads()
    legs = transfers(company.root)["transfers"][-1]["legs"]
    assert [leg["requests"] for leg in legs] == [2]
    sums = company.with_transfers()
    assert sums[None, None, None, "6666"]["requests"] == 2
    assert sums["acme", "sales", "inc", "2000"]["requests"] == 2
    assert ("acme", "research", "gmbh", "1000") not in sums


def key_of(name: str) -> Any:
    from tollbook.journal.registration import KeySecret
    from tollbook.registry.registry import KeptSecret, Key

    secret = KeptSecret(KeySecret(hash=name), START)
    return Key(
        tenant="acme", name=name, owner=None, workloads=(), models=(), created=START, expires=None, secrets=(secret,)
    )


def test_amounts_are_exact_and_told_as_amounts(company: Company) -> None:
    """Twelve digits, both sides; what has no price is a leg without an amount, not one of nothing."""
    company.use(rating=company.story.rating("0.000000000001"))
    company.use(rating=company.story.rating(None))
    company.heads()
    company.change(Moved(kind="tenant", name="acme", cost_centre="7"), effective=START)
    company.heads()
    (posted,) = transfers(company.root)["transfers"]
    legs = {leg["expected"]: leg["attempts"] for leg in posted["legs"]}
    assert sum(legs.values()) == 2 and format_amount(1) in legs
    assert str(money(format_amount(1))) == "< $0.01"


def test_a_ledger_made_anew_is_the_same(company: Company, tmp_path: Path) -> None:
    """The tables of the registry and of transfers are functions of the journal, as all others."""
    from tollbook.ledger.digests import table_digests

    company.use()
    company.heads()
    company.change(Moved(kind="tenant", name="acme", parent="sales"), effective=START)
    company.heads()
    digests = table_digests(company.loader.lake)
    assert digests["registry"].rows == 9 and digests["transfers"].rows == 2
    book_root(tmp_path / "anew")
    with Loader(tmp_path / "anew") as anew:
        anew.load(company.batches)
        assert table_digests(anew.lake) == digests


def test_a_transfer_whose_sides_differ_is_found(company: Company) -> None:
    """Both sides of each transfer add up to nothing; one amount changed, or one side gone, names the entry."""
    company.use()
    middle = company.story.now
    company.use()
    company.heads()
    company.change(Moved(kind="workload", name="acme/search", parent="globex"), effective=middle)
    company.heads()
    (posted,) = transfers(company.root)["transfers"]
    assert check_transfers(company.root) == (1, [])
    for spoil in (
        "UPDATE transfers SET amount_expected = amount_expected + 0.000000000001 WHERE side = 'to'",
        "DELETE FROM transfers WHERE side = 'from'",
    ):
        company.loader.lake._connection.execute(spoil)
        assert check_transfers(company.root) == (1, [posted["digest"]])

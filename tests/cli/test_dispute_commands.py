"""Disputes as people type them: opened, looked into, resolved; each held against its schema and the books."""

import json
from pathlib import Path
from typing import Any

import pytest
from evidence_house import fill
from planting import sow
from planting import told as told_amount
from starlette.testclient import TestClient
from test_commands import check, run
from test_duty_commands import PASSWORDS, House

from tollbook.assembly import service
from tollbook.assembly.desk import application
from tollbook.assembly.exhibits import export, of_case
from tollbook.assembly.operator import Operator
from tollbook.core.faults import BadInput, JournalUnavailable
from tollbook.disputes.reference import reference
from tollbook.evidence.check import check as check_bundle
from tollbook.journal.heads import book_lines
from tollbook.journal.recording import BookLane
from tollbook.journal.verify import verify

CLAIM = "Bob says that we never sent this"


class Book:
    """A book that nobody serves, with requests of acme and beta; commands on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        service.init(root)
        self.ids = fill(root, acme=4, beta=2)
        for tenant in ("acme", "beta"):
            assert run("tenant", "add", tenant, "--book", str(root)).code == 0

    def told(self, *words: str) -> dict[str, Any]:
        """The JSON form of a command, held against its schema."""
        ran = run(*words, "--book", str(self.root), "--json")
        assert ran.code == 0, ran.err
        document = ran.document()
        check("-".join(words[:2]) if words[0] in ("dispute", "evidence") else words[0], document)
        return document

    def refused(self, *words: str) -> str:
        ran = run(*words, "--book", str(self.root))
        assert ran.code in (1, 2), ran.out
        return ran.err

    def diagnosed(self, case: str, verdict: str = "upheld", amount: str = "0.000125") -> None:
        found = {"case": case, "verdict": verdict, "amount": amount, "currency": "USD"}
        service.ask_book(self.root, "case.diagnose", {"case": case, "diagnosis": found})


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "book")


def test_a_case_from_the_claim_to_the_credit(book: Book) -> None:
    """Open, assign, comment, diagnose, credit: it balances, trace and report show it, words are not in the chain."""
    acme = book.ids["acme"][0]
    opened = book.told("dispute", "open", acme, "--claim", CLAIM, "--by", "Carol of acme", "--expected-amount", "0")
    case = opened["case"]
    assert (opened["request"], opened["state"], opened["tenant"]) == (acme, "open", "acme")
    assert book.told("dispute", "assign", case, "lee")["assignee"] == "lee"
    book.told("dispute", "comment", case.lower(), "asked the vendor")
    assert "cannot be resolved" in book.refused("dispute", "resolve", case, "--as", "none", "--reason", "r")
    book.diagnosed(case)
    done = book.told("dispute", "resolve", case, "--as", "credit", "--amount", "0.0001", "--reason", "our fault")
    assert [entry["kind"] for entry in done["entries"]] == ["adjustment.posted", "case.moved"]
    (adjustment,) = done["adjustments"]
    assert {leg["account"]: leg["amount"] for leg in adjustment["legs"]} == {
        "recharge": "-0.0001",
        "absorbed": "0.0001",
    }
    run("rebuild", "--book", str(book.root))
    traced = book.told("trace", acme)
    assert [one["amount"] for one in traced["adjustments"]] == ["-0.0001", "0.0001"]
    assert "adjustment.posted" in [entry["kind"] for entry in traced["entries"]]
    (line,) = book.told("report", "--by", "tenant")["adjustments"]
    assert (line["tenant"], line["case"], line["amount"]) == ("acme", case, "-0.0001")
    assert "corrected, not in the sums: acme" in run("report", "--by", "tenant", "--book", str(book.root)).out
    screen = run("dispute", "show", case, "--book", str(book.root)).out
    assert CLAIM in screen and "asked the vendor" in screen and "Carol of acme" in screen
    chain = b"".join(line.bytes for line in book_lines(book.root))
    assert b"Bob" not in chain and b"Carol" not in chain and b"asked" not in chain
    assert case in run("dispute", "list", "--book", str(book.root)).out
    assert len(book.told("dispute", "list", "--state", "resolved")["cases"]) == 1
    assert verify(book.root).findings == []


def test_what_was_erased_is_gone_from_a_case(book: Book) -> None:
    """Words of a case are values of the directory like any other: erased, they show a mark."""
    case = book.told("dispute", "open", book.ids["acme"][0], "--claim", CLAIM)["case"]
    assert run("erase", "--tenant", "acme", "--user", CLAIM, "--basis", "r", "--book", str(book.root)).code == 0
    assert CLAIM not in run("dispute", "show", case, "--book", str(book.root)).out
    assert "erased-" in run("dispute", "show", case, "--book", str(book.root)).out


def test_no_more_is_credited_than_was_charged(book: Book) -> None:
    """The limit holds over all cases about a request, and over all its resolutions."""
    acme = book.ids["acme"][0]
    first = book.told("dispute", "open", acme, "--claim", "c")["case"]
    second = book.told("dispute", "open", acme, "--claim", "c")["case"]
    for case in (first, second):
        book.diagnosed(case)
    credit = ("--as", "credit", "--reason", "r", "--amount")
    assert "more than the 0.000125 USD" in book.refused("dispute", "resolve", first, *credit, "0.000126")
    for wrong in ("0", "-1", "x", "1e3", "0.0000000000001", "NaN"):
        assert "--amount" in book.refused("dispute", "resolve", first, *credit, wrong)
    assert "more than the 0 EUR" in book.refused("dispute", "resolve", first, *credit, "0.0001", "--currency", "EUR")
    book.told("dispute", "resolve", first, *credit, "0.0001")
    assert "more than the 0.000025 USD" in book.refused("dispute", "resolve", second, *credit, "0.0001")
    book.told("dispute", "reopen", first, "--reason", "again")
    book.diagnosed(first)
    assert "more than the 0.000025 USD" in book.refused("dispute", "resolve", first, *credit, "0.0001")
    assert "leave --amount" in book.refused(
        "dispute", "resolve", first, "--as", "none", "--reason", "r", "--amount", "1"
    )
    assert "--as" in book.refused("dispute", "resolve", first, "--as", "gift", "--reason", "r")


def test_what_goes_to_another_tenant_is_two_entries_that_balance(book: Book) -> None:
    """Each speaks of one tenant only, so that its evidence does not tell of the other."""
    acme = book.ids["acme"][0]
    case = book.told("dispute", "open", acme, "--claim", "c", "--expected-tenant", "beta")["case"]
    book.diagnosed(case)
    move = ("dispute", "resolve", case, "--as", "reattribute", "--amount", "0.000125", "--reason", "shared key")
    assert "--to names" in book.refused(*move)
    assert "no tenant" in book.refused(*move, "--to", "nobody")
    assert "charged for it already" in book.refused(*move, "--to", "acme")
    book.told(*move, "--to", "beta")
    posted = [json.loads(line.bytes) for line in book_lines(book.root) if line.kind == "adjustment.posted"]
    assert [one["act"] for one in posted] == ["reattribute_to", "reattribute_from"]
    for one in posted:
        assert sum(float(leg["amount"]) for leg in one["legs"]) == 0
    assert "acme" not in json.dumps(posted[0]) and "beta" not in json.dumps(posted[1])
    run("rebuild", "--book", str(book.root))
    found = book.told("report", "--by", "tenant")["adjustments"]
    assert {one["tenant"]: one["amount"] for one in found} == {"acme": "-0.000125", "beta": "0.000125"}


def test_a_case_by_a_tenants_own_records(book: Book, tmp_path: Path) -> None:
    """Each row of a CSV is matched, or it is said why not; rows of another tenant do not enter."""
    path = tmp_path / "own.csv"
    first, second = book.ids["acme"][:2]
    rows = [
        "request_id,when",
        f"{first},today",
        "0199e0c5-0000-7000-8000-ffffffffffff,x",
        f"{second},y",
        f"{first},z",
        ",x",
    ]
    path.write_text("\n".join(rows) + "\n")
    opened = book.told("dispute", "open", "--csv", str(path), "--claim", "c", "--tenant", "acme")
    assert opened["requests"] == [first, second] and opened["rows"] == 5 and opened["request"] is None
    assert [one["row"] for one in opened["missed"]] == [2, 4, 5]
    path.write_text(f"request_id\n{first}\n{book.ids['beta'][0]}\n")
    assert "2 tenants" in book.refused("dispute", "open", "--csv", str(path), "--claim", "c")
    for text, told in (
        ("when\nx\n", "no column"),
        ("request_id\nx\n", "none of its 1 rows"),
        ('request_id\n"a\n', "line"),
    ):
        path.write_text(text)
        assert told in book.refused("dispute", "open", "--csv", str(path), "--claim", "c")


def test_a_case_by_other_ids_and_refusals(book: Book) -> None:
    """By trace id; what names nothing, two things or no claim is refused in words."""
    acme = book.ids["acme"][0]
    trace_id = acme.replace("-", "")
    assert book.told("dispute", "open", trace_id, "--claim", "c")["requests"] == [acme]
    assert "no request is known" in book.refused("dispute", "open", "req_unknown", "--claim", "c")
    assert "what is claimed" in book.refused("dispute", "open", acme)
    assert "one id, or --csv" in book.refused("dispute", "open", "--claim", "c")
    assert "holds no request" in book.refused("dispute", "open", acme, "--claim", "c", "--tenant", "beta")
    assert "heard or typed wrong" in book.refused("dispute", "show", "C-0001-X")
    assert "there is no case C-0009" in book.refused("dispute", "show", reference(9))


def test_a_tenant_opens_and_sees_its_own_cases_only(book: Book) -> None:
    """Through the API: another's request and case are the same 404 as none; our names and words stay ours."""
    client = TestClient(application(book.root, Operator(lambda vault: None)))
    acme, beta = ({"x-tollbook-tenant": name, "x-tollbook-key": f"{name}-prod"} for name in ("acme", "beta"))
    body = {"requests": [book.ids["acme"][0]], "claim": CLAIM, "expected": {"amount": "0"}}
    made = client.post("/tollbook/v1/disputes", json=body, headers=acme)
    assert made.status_code == 201 and made.json()["claim"] == CLAIM
    case = made.json()["case"]
    service.ask_book(book.root, "case.comment", {"case": case, "text": "they always complain"})
    seen = client.get(f"/tollbook/v1/disputes/{case}", headers=acme)
    assert seen.status_code == 200 and "complain" not in seen.text and "local:" not in seen.text
    assert len(client.get("/tollbook/v1/disputes", headers=acme).json()["disputes"]) == 1
    assert client.get("/tollbook/v1/disputes", headers=beta).json()["disputes"] == []
    assert client.get(f"/tollbook/v1/disputes/{case}", headers=beta).status_code == 404
    assert client.post("/tollbook/v1/disputes", json=body, headers=beta).status_code == 404
    narrow = {**acme, "x-tollbook-key": "narrow", "x-tollbook-workloads": "search"}
    assert client.get(f"/tollbook/v1/disputes/{case}", headers=narrow).status_code == 404
    assert client.post("/tollbook/v1/disputes", json=body, headers=narrow).status_code == 404
    for wrong in (
        {},
        {**body, "claim": ""},
        {**body, "requests": []},
        {**body, "requests": ["x"]},
        {**body, "actor": "me"},
    ):
        assert client.post("/tollbook/v1/disputes", json=wrong, headers=acme).status_code == 400
    assert client.post("/tollbook/v1/disputes", content=b"[" * 10_000, headers=acme).status_code == 400
    (entry,) = [json.loads(line.bytes) for line in book_lines(book.root) if line.kind == "case.opened"]
    assert entry["key"] == "acme-prod" and entry["actor"] == "tenant acme by key acme-prod"


def test_credits_follow_the_duties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small credit is one person's act; many small ones are not; and nobody credits his own tenant alone."""
    house = House(tmp_path, monkeypatch)
    ids = fill(house.root, amount="60", acme=4)["acme"]
    for command in ("tenant add acme", "identity add kim", "identity add lee", "identity add ann --tenant acme"):
        assert house.type("root", command).code == 0
    for name, password in PASSWORDS.items():
        house.told("root", f"identity password {name} --stdin", password)
    for name in ("kim", "ann"):
        house.told("root", f"identity grant {name} finance")
    house.told("root", "identity grant lee admin")
    for name in PASSWORDS:
        house.log_in(name)
    cases = []
    for one in ids:
        case = house.told("kim", f"dispute open {one} --claim c")["case"]
        monkeypatch.setenv("XDG_CONFIG_HOME", str(house.directory / "kim"))
        found = {"case": case, "verdict": "upheld", "amount": "60", "currency": "USD"}
        service.ask_book(house.root, "case.diagnose", {"case": case, "diagnosis": found})
        cases.append(case)
    credit = "dispute resolve {} --as credit --amount 60 --reason r"
    assert house.type("kim", credit.format(cases[0])).code == 0
    name = house.proposed("kim", credit.format(cases[1]))
    assert "own act" in house.type("kim", f"proposal approve {name}").err
    assert "belongs" in house.type("ann", f"proposal approve {name}").err
    house.told("lee", f"proposal approve {name}")
    assert "belongs" in house.type("ann", credit.format(cases[2])).err
    posted = [line for line in book_lines(house.root) if line.kind == "adjustment.posted"]
    assert len(posted) == 2 and b"approved by lee" in posted[1].bytes
    with pytest.raises(BadInput, match="no diagnosis"):
        service.ask_book(house.root, "case.diagnose", {"case": cases[2], "diagnosis": {"verdict": "guilty"}})


def test_diagnosed_resolved_exported_and_verified(tmp_path: Path) -> None:
    """The whole way of one dispute; the bundle carries case, verdict and correction, and nothing of others."""
    root = tmp_path / "book"
    service.init(root)
    planted = {one.kind: one for one in sow(root, 7, 1)}
    for tenant in ("acme", "beta"):
        assert run("tenant", "add", tenant, "--book", str(root)).code == 0
    one = planted["retry billed twice"]

    def tell(*words: str) -> dict[str, Any]:
        ran = run(*words, "--book", str(root), "--json")
        assert ran.code == 0, ran.err
        check("-".join(words[:2]), ran.document())
        return ran.document()

    case = tell("dispute", "open", one.requests[0], "--claim", CLAIM, "--by", "Carol")["case"]
    found = tell("dispute", "diagnose", case)
    assert (found["verdict"], found["amount_usd"], found["state"]) == ("upheld", told_amount(one.wrong), "diagnosed")
    screen = run("dispute", "diagnose", case, "--book", str(root)).out
    assert "upheld" in screen and "should not have been charged" in screen
    move = ("--as", "reattribute", "--to", "beta", "--amount", found["amount_usd"], "--reason", "their retry")
    tell("dispute", "resolve", case, *move)
    run("rebuild", "--book", str(root))
    out, html = tmp_path / "case.tollbook", tmp_path / "case.html"
    exported = tell("evidence", "export", case, "-o", str(out), "--html", str(html))
    assert exported["case"] == case and exported["lines"]["told"] == 3
    ran = run("verify", str(out), "--json")
    assert ran.code == 0, ran.out
    check("verify-bundle", ran.document())
    data = out.read_text()
    assert "beta" not in data and CLAIM in data and "reattribute_from" in data and "reattribute_to" not in data
    assert "Verdict: upheld" in html.read_text() and CLAIM in html.read_text()
    assert CLAIM not in withheld(root, case, tmp_path / "w")
    assert verify(root).findings == []


def withheld(root: Path, case: str, out: Path) -> str:
    assert run("evidence", "export", case, "-o", str(out), "--withhold-personal", "--book", str(root)).code == 0
    assert run("verify", str(out)).code == 0
    return out.read_text()


def test_a_diagnosis_that_was_changed_in_a_bundle_is_found(tmp_path: Path) -> None:
    """Signed anew by the operator: the verdict is not the one whose digest stands in the book."""
    root = tmp_path / "book"
    service.init(root)
    one = next(one for one in sow(root, 7, 1) if one.kind == "retry billed twice")
    case = run("dispute", "open", one.requests[0], "--claim", "c", "--book", str(root), "--json").document()["case"]
    run("dispute", "diagnose", case, "--book", str(root))
    exhibit = of_case(root, case, withhold=False)
    name, document = exhibit.told[1]
    told = (exhibit.told[0], (name, {**document, "verdict": "rejected"}))
    (finding,) = check_bundle(export(root, exhibit._replace(told=told)).data).findings
    assert finding.code == "told_wrong"


@pytest.mark.parametrize(("how", "survive"), [("credit", 1), ("reattribute", 1), ("reattribute", 2)])
def test_a_resolution_that_was_broken_off_is_finished(
    book: Book, monkeypatch: pytest.MonkeyPatch, how: str, survive: int
) -> None:
    """The writer is killed after some of its entries: the next one writes the rest, once, and all of it balances."""
    case = book.told("dispute", "open", book.ids["acme"][0], "--claim", "c")["case"]
    book.diagnosed(case)
    append, written = BookLane.append, 0

    def killed(lane: BookLane, kind: str, payload: Any) -> tuple[int, str]:
        nonlocal written
        if kind in ("adjustment.posted", "case.moved"):
            if written == survive:
                raise JournalUnavailable("killed")
            written += 1
        return append(lane, kind, payload)

    to = () if how == "credit" else ("--to", "beta")
    words = ("dispute", "resolve", case, "--as", how, "--amount", "0.0001", "--reason", "r", *to)
    with monkeypatch.context() as patch:
        patch.setattr(BookLane, "append", killed)
        assert "killed" in run(*words, "--book", str(book.root)).err
    for _ in range(2):
        assert book.told("dispute", "comment", case, "looked again")["state"] == "resolved"
    acts = [json.loads(line.bytes)["act"] for line in book_lines(book.root) if line.kind == "adjustment.posted"]
    assert acts == (["credit"] if how == "credit" else ["reattribute_to", "reattribute_from"])
    assert "is resolved" in book.refused(*words)
    run("rebuild", "--book", str(book.root))
    sums = {one["tenant"]: one["amount"] for one in book.told("report", "--by", "tenant")["adjustments"]}
    assert sums == {"acme": "-0.0001"} | ({} if how == "credit" else {"beta": "0.0001"})
    assert verify(book.root).findings == []

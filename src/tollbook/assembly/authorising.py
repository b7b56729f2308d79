"""The one place where it is decided whether an act is done: who asks, what the duties say, who else must agree.

Everything that people ask of the book's writer comes through here. In a book without an administrator acts are done as
they are asked for, by the owner of its files, whom nobody authenticated; from the first administrator on, the duties
hold. A proposal's words are kept in `proposals/` until it is decided: they may name a person, so the chain has their
salted digest only.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from tollbook.assembly.acts import Act, Deed, Proof
from tollbook.assembly.identifying import IdentityKeeper, shown
from tollbook.assembly.logins import Logins
from tollbook.assembly.registering import wish
from tollbook.assembly.wishes import Wishes
from tollbook.core.clock import SECOND, Clock, format_instant, now
from tollbook.core.faults import BadInput, Fault, JournalUnavailable, NotFound, Tampered
from tollbook.journal.authority import ActAuthorised, Authority, ProposalCarried, ProposalDecided, ProposalMade
from tollbook.journal.files import write_whole
from tollbook.journal.heads import book_lines
from tollbook.journal.recording import BookLane
from tollbook.journal.signature import SALT_BYTES, check, content_of, statement
from tollbook.registry.duties import DAY, Duty, NotAllowed, Proposed, Wish, check_approver, duties, needs_second
from tollbook.registry.identities import Identity, Office, Proposal

Document = dict[str, Any]

SIGNED_SECONDS: Final = 300
"""How old a signature may be."""


class Asker(NamedTuple):
    """Who asks: the words for the actor of entries, the identity if one logged in, and by which method."""

    actor: str
    identity: Identity | None = None
    method: str | None = None

    @property
    def name(self) -> str | None:
        return None if self.identity is None else self.identity.name


class Login(Struct, frozen=True, kw_only=True):
    """A wish for a session: by password, by a service's token, or by a signature of `session.open` over the name."""

    name: str | None = None
    password: str | None = None
    token: str | None = None


class Named(Struct, frozen=True, kw_only=True):
    """A wish about a proposal."""

    proposal: str
    reason: str | None = None


class _Content(Struct, frozen=True):
    """What is proposed: the file in `proposals/`."""

    act: str
    arguments: Document
    salt: str


class _Actor(Struct, frozen=True):
    """The member that every act's entry has."""

    actor: str | None = None


class Authorising:
    """Does acts, or refuses them, or keeps them as proposals. One after the other."""

    def __init__(
        self,
        root: Path,
        book: str,
        lane: BookLane,
        deeds: Mapping[str, Deed],
        identities: IdentityKeeper,
        wishes: Wishes,
        office: Office,
        logins: Logins,
        clock: Clock = now,
    ) -> None:
        self._root: Final = root
        self._book: Final = book
        self._lane: Final = lane
        self._deeds: Final = {**deeds, **identities.acts}
        self._identities: Final = identities
        self._wishes: Final = wishes
        self._office: Final = office
        self._logins: Final = logins
        self._clock: Final = clock
        self._own: Final[dict[str, Callable[[Act, str], Any]]] = {
            "session.open": self._open_session,
            "session.close": self._close_session,
            "session.whoami": self._whoami,
            "office.read": lambda act, peer: told(self._office, self._clock()),
            "proposal.show": lambda act, peer: self._show(act),
            "proposal.approve": self._approve,
            "proposal.reject": self._reject,
            "proposal.withdraw": self._withdraw,
            "proposal.emergency": self._emergency,
        }

    @property
    def acts(self) -> list[str]:
        """The acts that the duties are asked about."""
        return list(self._deeds)

    @property
    def enforced(self) -> bool:
        """Whether the duties hold: as soon as there is an administrator."""
        at = self._clock()
        return any(
            one.is_active(at) and "admin" in one.roles(at, None) and one.method is not None
            for one in self._office.identities.values()
        )

    def do(self, act: Act, peer: str) -> Any:
        """What comes of an act that `peer` asks for, by the kernel's word, with what else it shows.

        Raises Proposed when somebody else must approve it first, NotAllowed, BadInput, NotFound.
        """
        own = self._own.get(act.act)
        if own is not None:
            return own(act, peer)
        deed, duty = self._deeds.get(act.act), duties().duties.get(act.act)
        if deed is None or duty is None:
            raise BadInput(f"the book's writer does not know how to {act.act!r}; it can: {', '.join(self._deeds)}")
        asker = self._who(act.proof, peer)
        if asker.identity is None and (duty.local or not self.enforced):
            return deed(act.arguments, asker.actor)
        salt, authority = self._authority(act, act.arguments, asker)
        wanted = self._wishes.of(act.act, act.arguments)
        why = self._why_second(duty, wanted, asker)
        if why is not None:
            self._propose(act, salt, authority, wanted, why)
        self._authorise(authority, wanted)
        return deed(act.arguments, asker.actor)

    # --- who asks

    def _who(self, proof: Proof | None, peer: str) -> Asker:
        """By the session shown, else the owner of the book's files."""
        if proof is None:
            return Asker(peer)
        session = self._logins.session(proof.session)
        if session is None:
            raise NotAllowed("the login has ended: tollbook login NAME, or tollbook logout to act without one")
        one = self._office.identities.get(session.name)
        if one is None or not one.is_active(self._clock()) or one.method != session.method:
            raise NotAllowed(f"{session.name} may log in no more, or in another way: tollbook logout")
        return Asker(f"{one.name}, by {session.method}", one, session.method)

    def _authority(self, act: Act, arguments: object, asker: Asker) -> tuple[bytes, Authority]:
        """What the entry says of who asked; checked where a personal key signs."""
        proof = act.proof
        salt = secrets.token_bytes(SALT_BYTES)
        if proof is not None and proof.salt is not None:
            salt = _hex(proof.salt)
        content = content_of(salt, arguments)
        plain = Authority(actor=asker.actor, act=act.act, content=content, name=asker.name, method=asker.method)
        if asker.identity is None or asker.method != "key":
            return salt, plain
        at, key = self._clock(), asker.identity.key_at(self._clock())
        if proof is None or proof.signature is None or proof.at is None or key is None:
            raise NotAllowed(f"{asker.name} signs each act with a personal key, and this one is not signed")
        if abs(at - proof.at) > SIGNED_SECONDS * SECOND or content in self._office.contents:
            raise NotAllowed("the signature is too old, or was used before; ask again")
        try:
            check(key, proof.signature, statement(self._book, act.act, content, proof.at))
        except Tampered as fault:
            raise NotAllowed(f"{fault}: another key, or other words than were signed") from None
        return salt, msgspec.structs.replace(plain, at=proof.at, key=key, signature=proof.signature)

    def _open_session(self, act: Act, peer: str) -> Document:
        """Log in. Raises BadInput in the same words whatever was wrong."""
        wanted = wish(act.arguments, Login)
        if wanted.token is not None:
            found = self._identities.of_token(wanted.token)
            if found is None:
                raise BadInput("the token is not one that works here")
            one = found
        else:
            one = self._prove(act, wanted)
        assert one.method is not None
        token, session = self._logins.open(one.name, one.method)
        return {"session": token, "until": format_instant(session.until), "identity": shown(one)}

    def _prove(self, act: Act, wanted: Login) -> Identity:
        name = wanted.name or ""
        known = self._office.identities.get(name)
        active = known is not None and known.is_active(self._clock())
        if act.proof is not None and known is not None and active and known.method == "key":
            self._authority(act, act.arguments, Asker(name, known, "key"))
            return known
        self._logins.check_password(name, wanted.password or "")
        if known is None or not active or known.method != "password":
            raise BadInput("the name or the password is wrong")
        return known

    def _close_session(self, act: Act, peer: str) -> Document:
        if act.proof is not None:
            self._logins.close(act.proof.session)
        return {"closed": act.proof is not None}

    def _whoami(self, act: Act, peer: str) -> Document:
        asker = self._who(act.proof, peer)
        identity = None if asker.identity is None else shown(asker.identity)
        return {"actor": asker.actor, "identity": identity, "duties_enforced": self.enforced}

    # --- alone, or by two

    def _why_second(self, duty: Duty, wanted: Wish, asker: Asker) -> str | None:
        """Why somebody else must approve it; None when nobody must."""
        if asker.identity is None:
            return "nobody is logged in, and this book has administrators"
        return needs_second(duty, wanted, asker.identity, self._office.alone, self._clock())

    def _authorise(self, authority: Authority, wanted: Wish) -> None:
        moved: list[tuple[str | None, str | None]] = [*(wanted.amounts or {}).items()]
        for currency, amount in moved or [(None, None)]:
            self._write(
                "act.authorised",
                ActAuthorised(authority=authority, tenant=wanted.tenant, amount=amount, currency=currency),
            )

    def _propose(self, act: Act, salt: bytes, authority: Authority, wanted: Wish, why: str) -> None:
        """Keep it, and tell who asked that it waits. Raises Proposed, always."""
        if any(act.arguments.get(member) is not None for member in ("secret", "password")):
            raise NotAllowed(f"{why}; and what holds a secret cannot wait to be approved: have the secret made here")
        name = f"P-{len(self._office.proposals) + 1}"
        self._path(name).parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(self._path(name), msgspec.json.encode(_Content(act.act, act.arguments, salt.hex())))
        amount = next(iter(wanted.amounts.items()), None) if wanted.amounts else None
        expires = self._clock() + duties().approval_days * DAY
        self._write(
            "proposal.made",
            ProposalMade(
                proposal=name,
                authority=authority,
                expires=expires,
                tenant=wanted.tenant,
                amount=None if amount is None else amount[1],
                currency=None if amount is None else amount[0],
            ),
        )
        raise Proposed(
            f"not done yet: {why}. It is proposal {name}, until {format_instant(expires)}; "
            f"somebody else who may approves it: tollbook proposal approve {name}"
        )

    # --- proposals

    def _approve(self, act: Act, peer: str) -> Any:
        wanted = wish(act.arguments, Named)
        known, asker = self._named(wanted.proposal), self._who(act.proof, peer)
        state = known.state(self._clock())
        if state not in ("open", "approved", "emergency", "overdue"):
            raise BadInput(f"proposal {wanted.proposal} is {state}: there is nothing to approve")
        if asker.identity is None:
            raise NotAllowed("who approves must be logged in: tollbook login NAME")
        proposed = known.made.authority
        content = None if state in ("emergency", "overdue") else self._content(known)
        about = self._about(known, content)
        check_approver(duties().duties[proposed.act], about, proposed.name, asker.identity, self._clock())
        if known.decision != "approved":
            self._decide(act, asker, known, "approved", wanted.reason)
        if content is None:
            return {"proposal": wanted.proposal, "result": None}
        return self._carry(known, content, f"{proposed.actor}, approved by {asker.actor} [{wanted.proposal}]")

    def _emergency(self, act: Act, peer: str) -> Any:
        """Carry out without waiting: marked, and to be approved afterwards."""
        wanted = wish(act.arguments, Named)
        known, asker = self._named(wanted.proposal), self._who(act.proof, peer)
        if known.state(self._clock()) != "open":
            raise BadInput(f"proposal {wanted.proposal} is {known.state(self._clock())}: it cannot be carried out now")
        if not (wanted.reason or "").strip():
            raise BadInput("an emergency needs a reason: --reason")
        proposed = known.made.authority
        if (asker.name, asker.name or asker.actor) != (proposed.name, proposed.name or proposed.actor):
            raise NotAllowed(f"only who proposed it carries it out as an emergency: {proposed.actor}")
        content = self._content(known)
        self._decide(act, asker, known, "emergency", wanted.reason)
        return self._carry(known, content, f"{asker.actor}, in an emergency [{wanted.proposal}]")

    def _reject(self, act: Act, peer: str) -> Document:
        wanted = wish(act.arguments, Named)
        known, asker = self._named(wanted.proposal), self._who(act.proof, peer)
        if asker.identity is None:
            raise NotAllowed("who rejects must be logged in: tollbook login NAME")
        proposed = known.made.authority
        check_approver(duties().duties[proposed.act], self._about(known, None), None, asker.identity, self._clock())
        return self._end(act, asker, known, "rejected", wanted.reason)

    def _withdraw(self, act: Act, peer: str) -> Document:
        wanted = wish(act.arguments, Named)
        known, asker = self._named(wanted.proposal), self._who(act.proof, peer)
        if (asker.name or asker.actor) != (known.made.authority.name or known.made.authority.actor):
            raise NotAllowed(f"only who proposed it withdraws it: {known.made.authority.actor}")
        return self._end(act, asker, known, "withdrawn", wanted.reason)

    def _end(self, act: Act, asker: Asker, known: Proposal, decision: str, reason: str | None) -> Document:
        state = known.state(self._clock())
        allowed = ("open", "emergency", "overdue") if decision == "rejected" else ("open",)
        if state not in allowed:
            raise BadInput(f"proposal {known.made.proposal} is {state}: it cannot be {decision}")
        if decision == "rejected" and not (reason or "").strip():
            raise BadInput("a rejection needs a reason: --reason")
        self._decide(act, asker, known, decision, reason)
        self._path(known.made.proposal).unlink(missing_ok=True)
        return {"proposal": known.made.proposal, "result": None}

    def _decide(self, act: Act, asker: Asker, known: Proposal, decision: str, reason: str | None) -> None:
        _, authority = self._authority(act, act.arguments, asker)
        expires = self._clock() + duties().emergency_days * DAY if decision == "emergency" else None
        self._write(
            "proposal.decided",
            ProposalDecided(
                proposal=known.made.proposal, decision=decision, authority=authority, reason=reason, expires=expires
            ),
        )

    def _carry(self, known: Proposal, content: _Content, actor: str) -> Document:
        """Do what was approved, once, whatever broke off in between."""
        name = known.made.proposal
        result = None
        try:
            if not self._was_done(known):
                result = self._deeds[content.act](content.arguments, actor)
        except JournalUnavailable:
            raise
        except Fault as fault:
            self._write("proposal.carried", ProposalCarried(proposal=name, fault=fault.code))
            self._path(name).unlink(missing_ok=True)
            raise
        self._write("proposal.carried", ProposalCarried(proposal=name))
        self._path(name).unlink(missing_ok=True)
        return {"proposal": name, "result": result}

    def _was_done(self, known: Proposal) -> bool:
        """Whether the act's entry is there: who approved before was interrupted after it."""
        if known.decision != "approved":
            return False
        mark, decoder = f" [{known.made.proposal}]", msgspec.json.Decoder(_Actor)
        return any(
            mark.encode() in line.bytes and (decoder.decode(line.bytes).actor or "").endswith(mark)
            for line in book_lines(self._root)
        )

    def _named(self, name: str) -> Proposal:
        known = self._office.proposals.get(name)
        if known is None:
            raise NotFound(f"no proposal is called {name!r}; look: tollbook proposal list")
        return known

    def _content(self, known: Proposal) -> _Content:
        """What exactly was proposed. Raises BadInput when it is not there, or is not that."""
        name, told = known.made.proposal, known.made.authority
        try:
            content = msgspec.json.decode(self._path(name).read_bytes(), type=_Content)
            same = content_of(_hex(content.salt), content.arguments) == told.content and content.act == told.act
        except (OSError, msgspec.MsgspecError):
            same = False
        if not same:
            raise BadInput(f"{self._path(name)} is not what was proposed, or is gone: propose it again")
        return content

    def _about(self, known: Proposal, content: _Content | None) -> Wish:
        """What a proposal is about; where its words are gone, what the entry says of it."""
        if content is not None:
            return self._wishes.of(content.act, content.arguments)
        return Wish(known.made.authority.act, known.made.tenant, None, None, None)

    def _show(self, act: Act) -> Document:
        known = self._named(wish(act.arguments, Named).proposal)
        shown_words: Document | None = None
        if known.state(self._clock()) in ("open", "approved"):
            shown_words = self._content(known).arguments
        return {**shown_proposal(known, self._clock()), "arguments": shown_words}

    def _path(self, name: str) -> Path:
        return self._root / "proposals" / f"{name}.json"

    def _write(self, kind: str, entry: Struct) -> None:
        self._lane.append(kind, entry)
        self._office.take(kind, entry, self._lane.recorded)


def told(office: Office, at: int) -> Document:
    """Every identity and every proposal, as commands print them."""
    return {
        "identities": [shown(one) for one in office.identities.values()],
        "proposals": [shown_proposal(one, at) for one in office.proposals.values()],
    }


def shown_proposal(known: Proposal, at: int) -> Document:
    """A proposal as commands print it."""
    made = known.made
    return {
        "proposal": made.proposal,
        "act": made.authority.act,
        "title": duties().duties[made.authority.act].title,
        "state": known.state(at),
        "emergency": known.emergency,
        "tenant": made.tenant,
        "amount": made.amount,
        "currency": made.currency,
        "proposed_by": made.authority.actor,
        "proposed_at": format_instant(known.recorded),
        "expires_at": format_instant(known.expires),
        "decided_by": None if known.decider is None else known.decider.actor,
        "decided_at": None if known.decided is None else format_instant(known.decided),
        "reason": known.reason,
        "fault": known.fault,
    }


def _hex(text: str) -> bytes:
    try:
        salt = bytes.fromhex(text)
    except ValueError:
        salt = b""
    if len(salt) != SALT_BYTES:
        raise BadInput(f"a salt is {SALT_BYTES} bytes, in hexadecimal")
    return salt

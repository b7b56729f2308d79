"""What can go wrong, as a tree. Each fault has a code that never changes.

Fault
├── BadInput            a file, argument or body is wrong: names the input, the place and what to do
│   └── BadConfiguration
├── JournalUnavailable  the journal cannot be written (disk full, I/O error)
├── BookLocked          another process holds what this one needs
├── NotFound            no such request, book, lane
├── NotAllowed          the duties do not allow it to who asked (tollbook.registry.duties)
├── Proposed            not done: somebody else must approve it first (tollbook.registry.duties)
└── BrokenPromise       history does not verify, or figures do not tie out
    └── Tampered        a lane was changed, cut or removed; carries where
"""

from typing import ClassVar


class Fault(Exception):
    """A failure that we can name; `code` is stable, the message is for people."""

    code: ClassVar[str] = "fault"


class BadInput(Fault):
    code = "bad_input"


class BadConfiguration(BadInput):
    code = "bad_configuration"


class JournalUnavailable(Fault):
    code = "journal_unavailable"


class BookLocked(Fault):
    code = "book_locked"


class NotFound(Fault):
    code = "not_found"


class BrokenPromise(Fault):
    code = "broken_promise"


class Tampered(BrokenPromise):
    code = "tampered"

"""The one place where rooms are joined: the supervisor, and what it starts (worker, scribe, desk)."""

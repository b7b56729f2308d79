"""The one place where a secret is shown."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tollbook.cli import screen


def show_secret(document: dict[str, Any]) -> RenderableType:
    """A key that was just made, with its secret."""
    workloads = ", ".join(map(screen.escape, document["workloads"])) or "all workloads"
    head = Text(f"key {screen.escape(document['key'])} of tenant {screen.escape(document['tenant'])}, for {workloads}")
    if document["expires_at"] is not None:
        head.append(f", until {screen.instant(document['expires_at'])}")
    lines: list[Text] = [head]
    if document["access_key_id"] is not None:
        lines.append(Text(f"access key id  {screen.escape(document['access_key_id'])}"))
    lines += [
        Text.assemble("secret  ", (screen.escape(document["secret"]), "bold")),
        Text("This secret is shown once and kept nowhere: put it where its clients read it.", style="yellow"),
        Text("Every worker knows it within 5 seconds.", style="dim"),
    ]
    return Group(*lines)

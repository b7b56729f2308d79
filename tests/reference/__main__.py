"""Writes the generated pages of docs/reference anew: `make reference`."""

import importlib
import sys
from typing import Final

from tests.reference.pages import PAGES, REFERENCE

ENDINGS: Final = REFERENCE.parents[1] / "tests" / "gateway"


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make())
    sys.path.insert(0, str(ENDINGS))  # where tests of the road find their helpers, too
    endings = importlib.import_module("endings")
    endings.PAGE.write_text(endings.page())


if __name__ == "__main__":
    main()

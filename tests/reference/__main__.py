"""Writes the generated pages of docs/reference anew: `make reference`."""

from tests.reference.pages import PAGES, REFERENCE


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make())


if __name__ == "__main__":
    main()

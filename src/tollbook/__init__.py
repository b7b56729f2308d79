"""tollbook: a multi-tenant LLM gateway with a book of record beside it.

from tollbook import rate        # a vendor's usage object in, an itemised exact charge out
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tollbook.quote import Quote, QuotedCharge, rate

__version__ = version("tollbook")
__all__ = ["Quote", "QuotedCharge", "__version__", "rate"]


def __getattr__(name: str) -> Any:
    """`rate` and what it gives, loaded when first asked for: most processes need the version alone."""
    if name in __all__:
        from tollbook import quote

        return getattr(quote, name)
    raise AttributeError(f"module 'tollbook' has no attribute {name!r}")

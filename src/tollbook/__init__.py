"""tollbook: a multi-tenant LLM gateway with a book of record beside it."""

from importlib.metadata import version

__version__ = version("tollbook")

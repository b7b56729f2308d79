"""`python -m tollbook`: the command line."""

from tollbook.cli.main import run

run()

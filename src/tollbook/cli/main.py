"""The command `tollbook`."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from tollbook import __version__
from tollbook.cli import (
    alerts,
    audit,
    backup,
    charging,
    claims,
    conformance,
    demo,
    dispute,
    doctor,
    erase,
    evidence,
    exits,
    explain,
    find,
    identity,
    ingest,
    init,
    key,
    limit,
    login,
    open_items,
    organisation,
    price,
    prices,
    proposal,
    rebuild,
    reconcile,
    replay,
    report,
    restore,
    route,
    serve,
    signing_key,
    simulate,
    statement,
    top,
    trace,
    transfer,
    verify,
)
from tollbook.cli.screen import console, escape
from tollbook.core.faults import Fault

app = typer.Typer(
    name="tollbook",
    help="An LLM gateway with a book of record: what each request cost, who caused it, and how we know.",
    epilog="Exit codes: 0 fine, 1 findings, 2 usage, 3 broken promise.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"tollbook {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """An LLM gateway with a book of record: what each request cost, who caused it, and how we know."""


for name, command in (
    ("init", init.init),
    ("serve", serve.serve),
    ("trace", trace.trace),
    ("find", find.find),
    ("explain", explain.explain),
    ("price", price.price),
    ("report", report.report),
    ("open-items", open_items.open_items),
    ("reconcile", reconcile.reconcile),
    ("alerts", alerts.alerts),
    ("claims", claims.claims),
    ("erase", erase.erase),
    ("login", login.login),
    ("logout", login.logout),
    ("whoami", login.whoami),
    ("verify", verify.verify),
    ("rebuild", rebuild.rebuild),
    ("backup", backup.backup),
    ("restore", restore.restore),
    ("top", top.top),
    ("doctor", doctor.doctor),
    ("simulate", simulate.simulate),
    ("replay", replay.replay),
    ("demo", demo.demo),
    ("conformance", conformance.conformance),
):
    app.command(name)(command)
for kind in organisation.PARENTS:
    app.add_typer(organisation.noun(kind), name=kind)
app.add_typer(key.app, name="key")
app.add_typer(limit.app, name="limit")
app.add_typer(identity.app, name="identity")
app.add_typer(proposal.app, name="proposal")
app.add_typer(transfer.app, name="transfer")
app.add_typer(audit.app, name="audit")
app.add_typer(dispute.app, name="dispute")
app.add_typer(evidence.app, name="evidence")
app.add_typer(statement.app, name="statement")
app.add_typer(prices.app, name="prices")
app.add_typer(ingest.app, name="ingest")
app.add_typer(charging.app, name="charging")
app.add_typer(route.app, name="route")
app.add_typer(signing_key.app, name="signing-key")


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line (`sys.argv` by default) and leave with its exit code.

    A fault is told in words, without a traceback. What any command writes, its owner alone can read.
    """
    os.umask(0o077)
    try:
        app(arguments)
    except Fault as fault:
        message = "\n".join(escape(line, 2000) for line in str(fault).splitlines())
        console(stderr=True).print(f"tollbook: {message}", style="red", soft_wrap=True)
        sys.exit(exits.code_of(fault))
    sys.exit(exits.FINE)

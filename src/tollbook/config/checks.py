"""What no single setting can tell: names refer to what exists, a route has one wire format, secrets stay safe."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from tollbook.config.reader import Place, Reader, unknown
from tollbook.core.settings import Settings, Tenant, Vendor


def check(settings: Settings, reader: Reader) -> None:
    """Note every problem between settings. Names count as known where they were written, even with a broken body."""
    known = {section: reader.names.get((section,), set()) for section in ("vendors", "models", "tenants")}
    _check_gateway(settings, reader)
    for name, vendor in settings.vendors.items():
        _check_vendor(vendor, ("vendors", name), known["tenants"], reader)
    for name in settings.models:
        _check_model(settings, name, known["vendors"], reader)
    for name, tenant in settings.tenants.items():
        _check_tenant(tenant, ("tenants", name), known["models"], reader)
    _check_ingest(settings, known["tenants"], reader)
    _check_secrets(settings, reader)
    _check_access_keys(settings, reader)


def _check_gateway(settings: Settings, reader: Reader) -> None:
    port = int(settings.gateway.listen.rpartition(":")[2])
    if port > 65_535:
        reader.problem(("gateway", "listen"), f"found port {port}; allowed: a port from 0 to 65535")
    if settings.journal.sync == "off" and not settings.journal.allow_unsafe:
        reader.problem(
            ("journal", "sync"),
            "found 'off', which loses entries when power fails; allowed: periodic, before_forward, "
            "or off together with allow_unsafe: true",
        )
    if settings.estimates.tokenizer == "bpe" and find_spec("bpe_openai") is None:
        reader.problem(
            ("estimates", "tokenizer"),
            "found 'bpe', which needs bpe-openai; install tollbook[tokenizers] or say bytes",
        )


def _check_ingest(settings: Settings, tenants: Iterable[str], reader: Reader) -> None:
    if settings.ingest is None:
        return
    port = int(settings.ingest.http.rpartition(":")[2])
    if port > 65_535:
        reader.problem(("ingest", "http"), f"found port {port}; allowed: a port from 0 to 65535")
    _check_unique([key.name for key in settings.ingest.keys], ("ingest", "keys"), reader)
    for index, key in enumerate(settings.ingest.keys):
        _check_known("tenant", [key.tenant], tenants, ("ingest", "keys", index, "tenant"), reader)


_WITH_REPORTS: Final = ("openai", "anthropic")


def _check_vendor(vendor: Vendor, place: Place, tenants: Iterable[str], reader: Reader) -> None:
    problem = _problem_of_url(vendor.base_url)
    if problem:
        reader.problem((*place, "base_url"), problem)
    if vendor.statements is not None:
        problem = _problem_of_url(vendor.statements.url) if vendor.statements.url is not None else None
        if problem:
            reader.problem((*place, "statements", "url"), problem)
        if vendor.format not in _WITH_REPORTS:
            told = f"vendors of format {vendor.format} have no reports to pull; import their files"
            reader.problem((*place, "statements"), told)
    _check_unique([key.name for key in vendor.keys], (*place, "keys"), reader)
    for index, key in enumerate(vendor.keys):
        _check_known("tenant", key.tenants, tenants, (*place, "keys", index, "tenants"), reader)


def _problem_of_url(text: str) -> str | None:
    """Why a vendor may not be reached at an address; None when it may. A secret is never sent in clear."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as fault:
        return f"found {text!r}: {fault}; allowed: an address such as https://api.example.com/v1"
    if url.username or url.password:
        return "holds a user or password; put the credential under keys"
    if not url.hostname or url.scheme not in ("https", "http") or url.query or url.fragment or port == 0:
        return f"found {text!r}; allowed: an address such as https://api.example.com/v1, without query or fragment"
    if url.scheme == "http" and not is_loopback(url):
        return f"found {text!r}; allowed: https, since the key would travel in clear (http only to this machine)"
    return None


def is_loopback(url: SplitResult) -> bool:
    """Whether an address is this machine's own by its very text."""
    host = url.hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _check_model(settings: Settings, name: str, vendors: set[str], reader: Reader) -> None:
    model = settings.models[name]
    if model.hedge is not None and (len(model.targets) < 2 or model.retry.attempts < 2):
        reader.problem(
            ("models", name, "hedge"),
            "has no second attempt to make; allowed: with two targets and retry.attempts of 2",
        )
    place: Place = ("models", name, "targets")
    _check_unique([f"{target.vendor}/{target.model}" for target in model.targets], place, reader)
    formats: dict[str, str] = {}
    for index, target in enumerate(model.targets):
        vendor = settings.vendors.get(target.vendor)
        if target.vendor not in vendors:
            reader.problem((*place, index, "vendor"), unknown("vendor", target.vendor, vendors))
        elif vendor is not None:
            formats.setdefault(vendor.format, target.vendor)
    if len(formats) > 1:
        found = ", ".join(f"{vendor} ({kind})" for kind, vendor in formats.items())
        reader.problem(place, f"found targets of several wire formats: {found}; bodies are not translated, keep to one")


def _check_tenant(tenant: Tenant, place: Place, models: Iterable[str], reader: Reader) -> None:
    _check_known("model", tenant.models, models, (*place, "models"), reader)
    for kind, rules in tenant.fields.items():
        for member, rule in rules.items():
            if bool(rule.allow) + (rule.force is not None) + rule.refuse != 1:
                message = "says not what it should; allowed: exactly one of allow, force, refuse: true"
                reader.problem((*place, "fields", kind, member), message)
    limits = tenant.limits
    for section, named, there in (
        ("workloads", limits.workloads, tenant.workloads),
        ("keys", limits.keys, [key.name for key in tenant.keys]),
        ("models", limits.models, models),
    ):
        for name in sorted(named.keys() - set(there)):
            what = section.removesuffix("s")
            reader.problem((*place, "limits", section, name), unknown(what, name, set(there)))
    _check_known("model", tenant.deny_models, models, (*place, "deny_models"), reader)
    _check_unique([key.name for key in tenant.keys], (*place, "keys"), reader)
    for index, key in enumerate(tenant.keys):
        _check_known("workload", key.workloads, tenant.workloads, (*place, "keys", index, "workloads"), reader)


def _check_secrets(settings: Settings, reader: Reader) -> None:
    """Two tenant keys with one secret would leave open who is charged."""
    seen: dict[str, str] = {}
    for name, tenant in settings.tenants.items():
        for index, key in enumerate(tenant.keys):
            other = seen.setdefault(key.secret, f"tenants.{name}.keys[{index}]")
            if other != f"tenants.{name}.keys[{index}]":
                place: Place = ("tenants", name, "keys", index, "secret")
                reader.problem(place, f"the same secret as {other}; give each key its own")


def _check_access_keys(settings: Settings, reader: Reader) -> None:
    """Two tenant keys with one access key id would leave open who is charged."""
    seen: set[str] = set()
    for name, tenant in settings.tenants.items():
        for index, key in enumerate(tenant.keys):
            if key.access_key_id is not None and key.access_key_id in seen:
                place: Place = ("tenants", name, "keys", index, "access_key_id")
                reader.problem(place, f"the id {key.access_key_id} is used twice; give each key its own")
            seen |= {key.access_key_id} if key.access_key_id is not None else set()


def _check_known(what: str, names: Sequence[str], known: Iterable[str], place: Place, reader: Reader) -> None:
    names_known = set(known)
    for index, name in enumerate(names):
        if name not in names_known:
            reader.problem((*place, index), unknown(what, name, names_known))


def _check_unique(names: Sequence[str], place: Place, reader: Reader) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            reader.problem((*place, index), f"the name {name} is used twice; keep one")

"""TLS on both sides of the road: what we prove ourselves with to clients, and whom we trust among vendors."""

import ssl

from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """What the listener serves with: TLS 1.2 and later.

    Raises BadConfiguration when the files cannot be read or do not fit each other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    except (OSError, ValueError) as fault:
        raise BadConfiguration(f"gateway.tls: {tls.certificate} and {tls.key} cannot be used: {fault}") from None
    return context


def client_context(ca_file: str | None) -> ssl.SSLContext:
    """What vendors are called with: their certificates are checked against `ca_file`, or what the system trusts."""
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context

"""Configurations that make a gateway use the suite's vendor."""

from importlib.resources import files
from typing import Final

from tollbook.core.faults import BadInput

GATEWAYS: Final = ("tollbook", "litellm", "envoy")


def configuration(gateway: str, listen: str, vendor_listen: str) -> str:
    """The text for a gateway that is to listen at `listen`, before the vendor at `vendor_listen` (both host:port).

    Raises BadInput for a gateway that we do not know, or an address that is none.
    """
    if gateway not in GATEWAYS:
        raise BadInput(f"--print-config: found {gateway!r}; allowed: {', '.join(GATEWAYS)}")
    words = {"vendor": f"http://{vendor_listen}", "gateway": listen, "vendor_listen": vendor_listen}
    for name, address in (("gateway", listen), ("vendor", vendor_listen)):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise BadInput(f"found {address!r}; allowed: host:port, such as 127.0.0.1:8080")
        words |= {f"{name}_host": host.strip("[]"), f"{name}_port": port}
    text = files("tollbook.conformance").joinpath("configs", f"{gateway}.yaml").read_text(encoding="utf-8")
    for name, value in words.items():
        text = text.replace(f"{{{name}}}", value)
    return text

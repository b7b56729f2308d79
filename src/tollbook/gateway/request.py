"""A request that has been admitted: everything about it that does not change while it is answered."""

from msgspec import Struct

from tollbook.core.settings import Model
from tollbook.gateway.admission import Caller, Dimensions
from tollbook.gateway.routing import Plan
from tollbook.journal.entry import Request
from tollbook.providers.contract import Adapter, Call


class Admitted(Struct, frozen=True):
    """`facts` is what the journal says of it, `encoded` the same as JSON; `call` what its adapter sees, `passed`
    the lines of its head that go to the vendor.

    `model` is None for operations that ask for none. These, and requests that name vendor objects, bring their `plan`.
    """

    facts: Request
    encoded: bytes
    caller: Caller
    dimensions: Dimensions
    adapter: Adapter
    model: Model | None
    call: Call
    passed: bytes
    arrived: int
    keep_alive: bool
    plan: Plan | None = None

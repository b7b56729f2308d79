"""A request that has been admitted: everything about it that does not change while it is answered."""

from msgspec import Struct

from tollbook.core.settings import Model
from tollbook.gateway.admission import Caller, Dimensions
from tollbook.journal.entry import Request
from tollbook.providers.body import Members
from tollbook.providers.contract import Adapter


class Admitted(Struct, frozen=True):
    """`facts` is what the journal says of it, `encoded` the same as JSON; `members` the scanned body."""

    facts: Request
    encoded: bytes
    caller: Caller
    dimensions: Dimensions
    adapter: Adapter
    model: Model
    body: bytes
    members: Members
    headers: list[tuple[bytes, bytes]]
    arrived: int
    keep_alive: bool

"""Where connections come in: hands each request to the road in force, which may be replaced between two requests."""

from typing import Final

from tollbook.gateway.connection import ClientConnection, Exchange
from tollbook.gateway.message import ClientRequest
from tollbook.gateway.road import Road


class Entrance:
    """Stays while roads come and go. What was admitted by a road ends by it; what comes next goes by the next one."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self.connections: Final[set[ClientConnection]] = set()

    @property
    def body_limit(self) -> int:
        return self.road.body_limit

    def handle(self, connection: ClientConnection, request: ClientRequest) -> Exchange | None:
        return self.road.handle(connection, request)

    def malformed(self, connection: ClientConnection, status: int, code: str, message: str) -> None:
        self.road.malformed(connection, status, code, message)

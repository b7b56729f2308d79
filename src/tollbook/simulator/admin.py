"""The simulator's own endpoints: look into the books, install rules, start over. Meant for tests on one machine."""

from collections.abc import Callable
from typing import Final

import msgspec

from tollbook.core.faults import BadInput
from tollbook.simulator.books import Books
from tollbook.simulator.call import Call
from tollbook.simulator.delivery import json_reply
from tollbook.simulator.reply import Reply
from tollbook.simulator.rule import read_rules
from tollbook.simulator.rulebook import Rulebook

ADMIN_PATH: Final = "/simulator"


def administer(call: Call, rulebook: Rulebook, books: Books, reset: Callable[[], None]) -> Reply:
    """Answer a request to one of the endpoints; 404 names them."""
    match call.method, call.path.removeprefix(ADMIN_PATH):
        case "GET", "/books":
            return _reply(call, 200, {"received": books.received, "billed": books.billed, "ended": books.ended})
        case "GET", "/rules":
            return _reply(call, 200, {"rules": rulebook.rules})
        case "POST", "/rules":
            return _install(call, rulebook)
        case "POST", "/reset":
            reset()
            return _reply(call, 200, {"rules": rulebook.rules})
    known = "GET /simulator/books, GET or POST /simulator/rules, POST /simulator/reset"
    return _reply(call, 404, {"error": f"no {call.method} {call.path}; known: {known}"})


def _install(call: Call, rulebook: Rulebook) -> Reply:
    try:
        rules = read_rules(msgspec.json.decode(call.body), "POST /simulator/rules")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _reply(call, 400, {"error": f"POST /simulator/rules: not JSON: {error}"})
    except BadInput as error:
        return _reply(call, 400, {"error": str(error)})
    rulebook.install(rules)
    return _reply(call, 200, {"rules": rulebook.rules})


def _reply(call: Call, status: int, value: object) -> Reply:
    return json_reply(status, msgspec.json.encode(value), keep_alive=call.keep_alive)

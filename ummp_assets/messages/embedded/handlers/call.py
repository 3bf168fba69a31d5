"""What a handler is given, and how all handlers tell that something was refused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError

if TYPE_CHECKING:
    from ummp_assets.messages.embedded.broker import Broker

__all__ = ["NODE_ID", "Call", "Fields", "code_of", "completed"]

P = ParamSpec("P")
NODE_ID = 1

Fields = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request on its way through the broker.

    Attributes
    ----------
    request:
        The decoded body; its attributes are the schema's fields in snake case.
    address:
        Host and port at which the client reached the broker, which is what it is told to go on using.
    """

    broker: "Broker"
    request: Any
    version: int
    client_id: str
    client_host: str
    address: tuple[str, int]


def code_of(action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> ErrorCode:
    """Call `action`; the code of the error with which it refuses, or NONE."""
    try:
        action(*args, **kwargs)
    except RequestError as refusal:
        return refusal.code
    return ErrorCode.NONE


def completed(answer: Fields, action: Callable[P, Fields | None], *args: P.args, **kwargs: P.kwargs) -> Fields:
    """`answer` with the fields that `action` returns, or with the error with which it refuses.

    The refusal's text is given only where `answer` has the field `error_message`: not every response has it.
    """
    try:
        return answer | {"error_code": ErrorCode.NONE} | (action(*args, **kwargs) or {})
    except RequestError as refusal:
        has_message = "error_message" in answer
        return answer | {"error_code": refusal.code} | ({"error_message": refusal.message} if has_message else {})

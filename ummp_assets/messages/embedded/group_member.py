"""A member of a consumer group, and what it asks for when it joins."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError

__all__ = ["JoinRequest", "Joined", "Member", "MemberIdRequired", "Synced"]


@dataclass(frozen=True)
class JoinRequest:
    """What JoinGroup says.

    Attributes
    ----------
    member_id:
        Empty for a client that never joined.
    instance_id:
        Set by static members, who keep their place when they come back (KIP-345).
    protocols:
        Assignment strategies, the preferred one first, with the member's metadata for each.
    needs_member_id:
        Whether a client without an id must come back with the one it is given (KIP-394).
    can_skip_assignment:
        Whether a returning static leader can be told not to assign again (KIP-814).
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_seconds: float
    rebalance_timeout_seconds: float
    protocol_type: str
    protocols: Mapping[str, bytes]
    needs_member_id: bool
    can_skip_assignment: bool


@dataclass
class Member:
    """A member; times are those of the event loop's clock, in seconds."""

    id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_seconds: float
    rebalance_timeout_seconds: float
    protocols: Mapping[str, bytes]
    assignment: bytes = b""
    session_ends: float = 0.0
    joining: "asyncio.Future[Joined] | None" = field(default=None, repr=False)
    syncing: "asyncio.Future[Synced] | None" = field(default=None, repr=False)

    @classmethod
    def of(cls, request: JoinRequest, member_id: str) -> "Member":
        return cls(
            id=member_id,
            instance_id=request.instance_id,
            client_id=request.client_id,
            client_host=request.client_host,
            session_timeout_seconds=request.session_timeout_seconds,
            rebalance_timeout_seconds=request.rebalance_timeout_seconds,
            protocols=request.protocols,
        )

    @property
    def is_waiting(self) -> bool:
        """Whether a request of the member waits for the others, which counts as a sign of life."""
        return self.joining is not None or self.syncing is not None

    def touch(self, now: float) -> None:
        self.session_ends = now + self.session_timeout_seconds

    def dismiss(self, code: ErrorCode) -> None:
        """Answer what the member waits for with an error."""
        for waiting in (self.joining, self.syncing):
            if waiting is not None and not waiting.done():
                waiting.set_exception(RequestError(code))
        self.joining = self.syncing = None


@dataclass(frozen=True)
class Joined:
    """The answer to JoinGroup; `members` is filled for the leader only."""

    generation: int
    protocol_type: str
    protocol: str
    leader: str
    member_id: str
    members: tuple[Member, ...]
    skip_assignment: bool = False


@dataclass(frozen=True)
class Synced:
    """The answer to SyncGroup."""

    protocol_type: str
    protocol: str
    assignment: bytes


class MemberIdRequired(RequestError):
    """The client must join again with `member_id`."""

    def __init__(self, member_id: str) -> None:
        self.member_id = member_id
        super().__init__(ErrorCode.MEMBER_ID_REQUIRED)

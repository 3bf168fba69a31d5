"""One consumer group of the classic protocol: who is in it, and the rebalances that agree on who reads what.

    Empty -> PreparingRebalance -> CompletingRebalance -> Stable -> PreparingRebalance -> ...

States, checks and their order follow Apache Kafka's ClassicGroup and GroupMetadataManager (KIP-62, KIP-345, KIP-394,
KIP-814).
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.group_member import Joined, JoinRequest, Member, MemberIdRequired, Synced

__all__ = ["Group", "GroupState"]

# Kafka waits 3 s before a new group's first rebalance so that a fleet joins in one; clients of one machine that are
# started together arrive within a fraction of that. The delay also outlasts kafka-python's first look for the topic's
# partitions (0.17 s): at 0.05 s it often joined knowing none, joined again, and in 1 of 40 starts hung there.
_INITIAL_DELAY_SECONDS = 0.3
_MIN_REBALANCE_SECONDS = 1.0


class GroupState(StrEnum):
    """The names that DescribeGroups shows."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


class Group:
    """A consumer group; must be used inside a running event loop.

    Attributes
    ----------
    generation:
        Number of the last completed rebalance.
    protocol:
        The assignment strategy that all members of the generation know; empty between generations.
    """

    def __init__(self, group_id: str) -> None:
        self.id = group_id
        self.state = GroupState.EMPTY
        self.generation = 0
        self.protocol_type = ""
        self.protocol = ""
        self.leader = ""
        self.members: dict[str, Member] = {}
        self._promised_ids: dict[str, float] = {}  # member id given to a client -> when it must have come back
        self._phase_ends = 0.0
        self._join_not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # -- requests

    async def join(self, request: JoinRequest) -> Joined:
        """Take part in the next generation, or learn about the present one where nothing changed.

        Raises
        ------
        RequestError
            INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID or MEMBER_ID_REQUIRED.
        """
        self._check_protocols(request)
        returning = self._find_static(request.instance_id)
        if not request.member_id and returning is not None:
            return await self._replace_static(returning, request)
        if not request.member_id and request.needs_member_id and request.instance_id is None:
            raise MemberIdRequired(self._promise_id(request))
        if not request.member_id or request.member_id in self._promised_ids:
            return await self._join_new(request)
        member = self._check_member(request.member_id, request.instance_id)
        is_unchanged = dict(member.protocols) == dict(request.protocols)
        is_settled = self.state is GroupState.COMPLETING or (
            self.state is GroupState.STABLE and member.id != self.leader
        )
        if is_settled and is_unchanged:
            return self._joined(member)
        member.protocols = request.protocols
        member.session_timeout_seconds = request.session_timeout_seconds
        member.rebalance_timeout_seconds = request.rebalance_timeout_seconds
        return await self._wait_for_generation(member)

    async def sync(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        protocol: tuple[str | None, str | None],
        assignments: Mapping[str, bytes],
    ) -> Synced:
        """Learn the assignment; the leader brings everybody's in `assignments`.

        Raises
        ------
        RequestError
            UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL or
            REBALANCE_IN_PROGRESS.
        """
        member = self.check_generation(member_id, instance_id, generation)
        for given, agreed in zip(protocol, (self.protocol_type, self.protocol), strict=True):
            if given is not None and given != agreed:
                raise RequestError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if self.state is GroupState.PREPARING:
            raise RequestError(ErrorCode.REBALANCE_IN_PROGRESS)
        if self.state is GroupState.COMPLETING:
            if member.id != self.leader:
                member.syncing = asyncio.get_running_loop().create_future()
                return await member.syncing
            self._assign(assignments)
        return self._synced(member)

    def heartbeat(self, member_id: str, instance_id: str | None, generation: int) -> None:
        """Keep the member alive; raises REBALANCE_IN_PROGRESS where it must join again, and as `sync` does."""
        member = self.check_generation(member_id, instance_id, generation)
        self.heard_from(member)
        if self.state is GroupState.PREPARING:
            raise RequestError(ErrorCode.REBALANCE_IN_PROGRESS)

    def leave(self, member_id: str, instance_id: str | None) -> None:
        """Remove a member; a static one may be named by its instance id alone. Raises UNKNOWN_MEMBER_ID."""
        if self._promised_ids.pop(member_id, None) is not None:
            self._complete_join_if_ready()
            return
        static = self._find_static(instance_id)
        member = static if static is not None and not member_id else self._check_member(member_id, instance_id)
        self._remove(member)

    def check_generation(self, member_id: str, instance_id: str | None, generation: int) -> Member:
        """The member, if it belongs to the present generation."""
        member = self._check_member(member_id, instance_id)
        if generation != self.generation:
            raise RequestError(ErrorCode.ILLEGAL_GENERATION)
        return member

    def heard_from(self, member: Member) -> None:
        """Begin the member's session time-out anew."""
        member.touch(_now())

    # -- members

    def _check_protocols(self, request: JoinRequest) -> None:
        is_known = bool(request.protocol_type) and bool(request.protocols)
        if is_known and self.members:
            common = self._common_protocols()
            is_known = request.protocol_type == self.protocol_type and bool(common & set(request.protocols))
        if not is_known:
            raise RequestError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)

    def _common_protocols(self) -> set[str]:
        return set.intersection(*(set(member.protocols) for member in self.members.values()))

    def _find_static(self, instance_id: str | None) -> Member | None:
        if instance_id is None:
            return None
        return next((member for member in self.members.values() if member.instance_id == instance_id), None)

    def _check_member(self, member_id: str, instance_id: str | None) -> Member:
        static = self._find_static(instance_id)
        if static is not None and static.id != member_id:
            raise RequestError(ErrorCode.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None or (instance_id is not None and static is None):
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    def _promise_id(self, request: JoinRequest) -> str:
        member_id = _new_member_id(request)
        self._promised_ids[member_id] = _now() + request.session_timeout_seconds
        self._arm_timer()
        return member_id

    async def _join_new(self, request: JoinRequest) -> Joined:
        self._promised_ids.pop(request.member_id, None)
        member = Member.of(request, request.member_id or _new_member_id(request))
        if not self.members:
            self.protocol_type = request.protocol_type
            self.leader = member.id
        self.members[member.id] = member
        if self.state is GroupState.PREPARING:
            self._join_not_before = min(_now() + _INITIAL_DELAY_SECONDS, self._phase_ends)
        return await self._wait_for_generation(member)

    async def _replace_static(self, old: Member, request: JoinRequest) -> Joined:
        member = Member.of(request, _new_member_id(request))
        member.assignment = old.assignment
        old.dismiss(ErrorCode.FENCED_INSTANCE_ID)
        self.members = {
            (member.id if key == old.id else key): (member if key == old.id else other)
            for key, other in self.members.items()
        }
        was_leader = self.leader == old.id
        if was_leader:
            self.leader = member.id
        member.touch(_now())
        if self.state is not GroupState.STABLE or self._elect_protocol() != self.protocol:
            return await self._wait_for_generation(member)
        skip_assignment = was_leader and request.can_skip_assignment
        return self._joined(member, leader=old.id if was_leader and not skip_assignment else self.leader, skip=True)

    def _remove(self, member: Member) -> None:
        del self.members[member.id]
        member.dismiss(ErrorCode.UNKNOWN_MEMBER_ID)
        if self.leader == member.id:
            self.leader = next(iter(self.members), "")
        if self.state in (GroupState.STABLE, GroupState.COMPLETING):
            self._prepare_rebalance()
        self._complete_join_if_ready()

    # -- rebalance

    async def _wait_for_generation(self, member: Member) -> Joined:
        member.dismiss(ErrorCode.UNKNOWN_MEMBER_ID)
        member.joining = asyncio.get_running_loop().create_future()
        joined = member.joining
        if self.state is not GroupState.PREPARING:
            self._prepare_rebalance()
        self._complete_join_if_ready()
        return await joined

    def _prepare_rebalance(self) -> None:
        now = _now()
        is_first = self.state is GroupState.EMPTY
        self.state = GroupState.PREPARING
        self._join_not_before = now + _INITIAL_DELAY_SECONDS if is_first else now
        self._phase_ends = now + self._longest_rebalance_timeout()
        for member in self.members.values():
            member.assignment = b""
            if member.syncing is not None:
                member.dismiss(ErrorCode.REBALANCE_IN_PROGRESS)

    def _longest_rebalance_timeout(self) -> float:
        timeouts = [member.rebalance_timeout_seconds for member in self.members.values()]
        return max([_MIN_REBALANCE_SECONDS, *timeouts])

    def _complete_join_if_ready(self) -> None:
        if self.state is GroupState.PREPARING and self._is_join_complete():
            self._start_generation()
        self._arm_timer()

    def _is_join_complete(self) -> bool:
        now = _now()
        if now >= self._phase_ends:
            return True
        everybody = all(member.joining is not None for member in self.members.values())
        return everybody and not self._promised_ids and now >= self._join_not_before

    def _start_generation(self) -> None:
        now = _now()
        for member in [member for member in self.members.values() if member.joining is None]:
            if member.instance_id is None:  # a static member keeps its place until its session ends
                del self.members[member.id]
        joined = [member for member in self.members.values() if member.joining is not None]
        if self.members and not joined:
            self._phase_ends = now + self._longest_rebalance_timeout()
            return
        self.generation += 1
        if not joined:
            self.state, self.leader, self.protocol = GroupState.EMPTY, "", ""
            return
        if self.leader not in {member.id for member in joined}:
            self.leader = joined[0].id
        self.protocol = self._elect_protocol()
        self.state = GroupState.COMPLETING
        self._phase_ends = now + self._longest_rebalance_timeout()
        for member in joined:
            member.touch(now)
            if member.joining is not None and not member.joining.done():
                member.joining.set_result(self._joined(member))
            member.joining = None

    def _elect_protocol(self) -> str:
        """The strategy known to all members that most of them prefer."""
        common = self._common_protocols()
        votes = Counter(next(name for name in member.protocols if name in common) for member in self.members.values())
        return votes.most_common(1)[0][0]

    def _assign(self, assignments: Mapping[str, bytes]) -> None:
        self.state = GroupState.STABLE
        now = _now()
        for member in self.members.values():
            member.assignment = assignments.get(member.id, b"")
            if member.syncing is not None and not member.syncing.done():
                member.syncing.set_result(self._synced(member))
                member.touch(now)
            member.syncing = None
        self._arm_timer()

    def _joined(self, member: Member, *, leader: str | None = None, skip: bool = False) -> Joined:
        is_leader = member.id == (leader or self.leader)
        return Joined(
            generation=self.generation,
            protocol_type=self.protocol_type,
            protocol=self.protocol,
            leader=leader or self.leader,
            member_id=member.id,
            members=tuple(self.members.values()) if is_leader else (),
            skip_assignment=skip and is_leader,
        )

    def _synced(self, member: Member) -> Synced:
        return Synced(self.protocol_type, self.protocol, member.assignment)

    # -- time

    def _arm_timer(self) -> None:
        """Wake up at the next instant at which something may be overdue.

        Heartbeats push deadlines back without touching the timer: it then fires for nothing and is set again.
        """
        if self._timer is not None:
            self._timer.cancel()
        deadlines = [member.session_ends for member in self.members.values() if not member.is_waiting]
        deadlines += self._promised_ids.values()
        if self.state is GroupState.PREPARING:
            is_delayed = _now() < self._join_not_before
            deadlines.append(self._join_not_before if is_delayed else self._phase_ends)
        elif self.state is GroupState.COMPLETING:
            deadlines.append(self._phase_ends)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(min(deadlines), self._expire) if deadlines else None

    def _expire(self) -> None:
        now = _now()
        self._promised_ids = {key: deadline for key, deadline in self._promised_ids.items() if deadline > now}
        never_synced = self.state is GroupState.COMPLETING and now >= self._phase_ends
        for member in list(self.members.values()):
            is_silent = not member.is_waiting and member.session_ends <= now
            if is_silent or (never_synced and member.syncing is None):
                self._remove(member)
        self._complete_join_if_ready()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _new_member_id(request: JoinRequest) -> str:
    return f"{request.instance_id or request.client_id}-{uuid.uuid4()}"

"""Who reads: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and administration of groups."""

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.group import Group, GroupState
from ummp_assets.messages.embedded.group_member import Joined, JoinRequest, Member, MemberIdRequired
from ummp_assets.messages.embedded.handlers.call import Call, Fields, code_of

__all__ = [
    "delete_groups",
    "describe_groups",
    "heartbeat",
    "join_group",
    "leave_group",
    "list_groups",
    "sync_group",
]

_SESSION_TIMEOUT_BOUNDS_MS = (6_000, 1_800_000)
_GROUP_TYPE = "classic"


async def join_group(call: Call) -> Fields:
    request = call.request
    try:
        join_request = _join_request(call)
        group = call.broker.groups.get_or_create(request.group_id)
        return _joined(await group.join(join_request))
    except RequestError as refusal:
        member_id = refusal.member_id if isinstance(refusal, MemberIdRequired) else request.member_id
        return {
            "error_code": refusal.code,
            "generation_id": -1,
            "protocol_type": None,
            "protocol_name": None if call.version >= 7 else "",
            "leader": "",
            "member_id": member_id,
            "members": [],
        }


def _join_request(call: Call) -> JoinRequest:
    request = call.request
    low, high = _SESSION_TIMEOUT_BOUNDS_MS
    if not low <= request.session_timeout_ms <= high:
        raise RequestError(ErrorCode.INVALID_SESSION_TIMEOUT)
    rebalance_timeout_ms = request.rebalance_timeout_ms if call.version >= 1 else request.session_timeout_ms
    return JoinRequest(
        member_id=request.member_id,
        instance_id=request.group_instance_id if call.version >= 5 else None,
        client_id=call.client_id,
        client_host=call.client_host,
        session_timeout_seconds=request.session_timeout_ms / 1000,
        rebalance_timeout_seconds=rebalance_timeout_ms / 1000,
        protocol_type=request.protocol_type,
        protocols={protocol.name: protocol.metadata for protocol in request.protocols},
        needs_member_id=call.version >= 4,
        can_skip_assignment=call.version >= 9,
    )


def _joined(joined: Joined) -> Fields:
    return {
        "error_code": ErrorCode.NONE,
        "generation_id": joined.generation,
        "protocol_type": joined.protocol_type,
        "protocol_name": joined.protocol,
        "leader": joined.leader,
        "skip_assignment": joined.skip_assignment,
        "member_id": joined.member_id,
        "members": [
            {
                "member_id": member.id,
                "group_instance_id": member.instance_id,
                "metadata": member.protocols[joined.protocol],
            }
            for member in joined.members
        ],
    }


async def sync_group(call: Call) -> Fields:
    request = call.request
    try:
        synced = await _existing(call).sync(
            request.member_id,
            request.group_instance_id if call.version >= 3 else None,
            request.generation_id,
            (request.protocol_type, request.protocol_name) if call.version >= 5 else (None, None),
            {assignment.member_id: assignment.assignment for assignment in request.assignments},
        )
    except RequestError as refusal:
        return {"error_code": refusal.code, "protocol_type": None, "protocol_name": None, "assignment": b""}
    return {
        "error_code": ErrorCode.NONE,
        "protocol_type": synced.protocol_type,
        "protocol_name": synced.protocol,
        "assignment": synced.assignment,
    }


def heartbeat(call: Call) -> Fields:
    return {"error_code": code_of(_heartbeat, call)}


def _heartbeat(call: Call) -> None:
    request = call.request
    instance_id = request.group_instance_id if call.version >= 3 else None
    _existing(call).heartbeat(request.member_id, instance_id, request.generation_id)


def _existing(call: Call) -> Group:
    """The group of a request by a member; raises as a group that has forgotten the member."""
    if not call.request.group_id:
        raise RequestError(ErrorCode.INVALID_GROUP_ID)
    group = call.broker.groups.find(call.request.group_id)
    if group is None:
        raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID)
    return group


def leave_group(call: Call) -> Fields:
    request = call.request
    try:
        group = _existing(call)
    except RequestError as refusal:
        return {"error_code": refusal.code, "members": []}
    if call.version < 3:
        return {"error_code": code_of(group.leave, request.member_id, None)}
    members = [
        {
            "member_id": leaving.member_id,
            "group_instance_id": leaving.group_instance_id,
            "error_code": code_of(group.leave, leaving.member_id, leaving.group_instance_id),
        }
        for leaving in request.members
    ]
    return {"error_code": ErrorCode.NONE, "members": members}


def describe_groups(call: Call) -> Fields:
    return {"groups": [_describe(call, group_id) for group_id in call.request.groups]}


def _describe(call: Call, group_id: str) -> Fields:
    group = call.broker.groups.find(group_id)
    if group is None:
        return {
            "error_code": ErrorCode.GROUP_ID_NOT_FOUND if call.version >= 6 else ErrorCode.NONE,
            "error_message": f"Group {group_id} not found.",
            "group_id": group_id,
            "group_state": GroupState.DEAD,
            "protocol_type": "",
            "protocol_data": "",
            "members": [],
        }
    return {
        "error_code": ErrorCode.NONE,
        "group_id": group_id,
        "group_state": group.state,
        "protocol_type": group.protocol_type,
        "protocol_data": group.protocol if group.state is GroupState.STABLE else "",
        "members": [_describe_member(group, member) for member in group.members.values()],
    }


def _describe_member(group: Group, member: Member) -> Fields:
    return {
        "member_id": member.id,
        "group_instance_id": member.instance_id,
        "client_id": member.client_id,
        "client_host": f"/{member.client_host}",
        "member_metadata": member.protocols.get(group.protocol, b""),
        "member_assignment": member.assignment,
    }


def list_groups(call: Call) -> Fields:
    states, types = set(), set()
    if call.version >= 4:
        states = {state.lower() for state in call.request.states_filter}
    if call.version >= 5:
        types = {group_type.lower() for group_type in call.request.types_filter}
    is_type_wanted = not types or _GROUP_TYPE in types
    groups = [
        _listed(group)
        for group in call.broker.groups
        if is_type_wanted and (not states or group.state.lower() in states)
    ]
    return {"error_code": ErrorCode.NONE, "groups": groups}


def _listed(group: Group) -> Fields:
    return {
        "group_id": group.id,
        "protocol_type": group.protocol_type,
        "group_state": group.state,
        "group_type": _GROUP_TYPE,
    }


def delete_groups(call: Call) -> Fields:
    delete = call.broker.groups.delete
    return {
        "results": [
            {"group_id": group_id, "error_code": code_of(delete, group_id)} for group_id in call.request.groups_names
        ]
    }

"""The wire of the services: field numbers, names and types never change, they are only added to."""

import re

import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor

from skyeim_ws.contract.pb import friend_pb2, group_pb2, message_pb2

FIELDS = """
message.MessageInfo: 1 id i64, 2 msg_id str, 3 from_user_id i64, 4 to_user_id i64,
  5 content str, 6 content_type i32, 7 status i32, 8 created_at i64, 9 chat_type i32,
  10 group_id str, 11 seq u64, 12 at_user_ids []i64
message.SendMessageReq: 1 msg_id str, 2 from_user_id i64, 3 to_user_id i64, 4 content str,
  5 content_type i32
message.SendMessageResp: 1 id i64, 2 msg_id str, 3 created_at i64, 4 message MessageInfo
message.SendGroupMessageReq: 1 msg_id str, 2 from_user_id i64, 3 group_id str, 4 content str,
  5 content_type i32, 6 at_user_ids []i64
message.SendGroupMessageResp: 1 id i64, 2 msg_id str, 3 created_at i64, 4 seq u64,
  5 message MessageInfo
message.GetMessageListReq: 1 user_id i64, 2 peer_id i64, 3 last_msg_id i64, 4 limit i32
message.GetMessageListResp: 1 list []MessageInfo, 2 has_more bool
message.GetGroupMessageListReq: 1 user_id i64, 2 group_id str, 3 last_msg_id i64, 4 limit i32
message.GetGroupMessageListResp: 1 list []MessageInfo, 2 has_more bool
message.MarkAsReadReq: 1 user_id i64, 2 peer_id i64, 3 msg_ids []str
message.MarkAsReadResp: 1 count i64
message.GetUnreadCountReq: 1 user_id i64, 2 peer_id i64
message.GetUnreadCountResp: 1 count i64
message.GetUnreadMessagesReq: 1 user_id i64, 2 peer_id i64
message.GetUnreadMessagesResp: 1 list []MessageInfo
message.GetGroupMessagesBySeqReq: 1 user_id i64, 2 group_id str, 3 seq u64
message.GetGroupMessagesBySeqResp: 1 list []MessageInfo
message.SearchMessageReq: 1 user_id i64, 2 keyword str
message.SearchMessageResp: 1 list []MessageInfo
message.GetAtMeMessagesReq: 1 user_id i64, 2 group_id str, 3 last_msg_id i64, 4 limit i32
message.GetAtMeMessagesResp: 1 list []MessageInfo, 2 has_more bool
message.SendItem: 1 private SendMessageReq, 2 group SendGroupMessageReq
message.SendResult: 1 code i32, 2 reason str, 3 id i64, 4 msg_id str, 5 created_at i64,
  6 seq u64, 7 duplicate bool, 8 message MessageInfo
message.SendBatchReq: 1 items []SendItem
message.SendBatchResp: 1 results []SendResult
message.GetMessagesSinceReq: 1 user_id i64, 2 after_id i64, 3 limit i32
message.GetMessagesSinceResp: 1 list []MessageInfo, 2 has_more bool
message.Conversation: 1 peer_id i64, 2 group_id str, 3 last_message MessageInfo,
  4 unread_count i64
message.GetConversationsReq: 1 user_id i64, 2 before_id i64, 3 limit i32
message.GetConversationsResp: 1 list []Conversation, 2 has_more bool
message.GetUnreadPageReq: 1 user_id i64, 2 after_id i64, 3 skip i64, 4 limit i32
message.GetUnreadPageResp: 1 list []MessageInfo, 2 has_more bool
message.GetSendersReq: 1 user_id i64, 2 msg_ids []str
message.SenderInfo: 1 msg_id str, 2 from_user_id i64
message.GetSendersResp: 1 list []SenderInfo
message.GetNewestSeqsReq: 1 group_ids []str
message.NewestSeq: 1 group_id str, 2 seq u64
message.GetNewestSeqsResp: 1 list []NewestSeq
message.FindMessageReq: 1 msg_id str
message.FindMessageResp: 1 message MessageInfo
friend.FriendInfo: 1 id i64, 2 friend_id i64, 3 remark str, 4 status i64, 5 created_at i64
friend.FriendRequestInfo: 1 id i64, 2 from_user_id i64, 3 to_user_id i64, 4 message str,
  5 status i64, 6 created_at i64
friend.AddFriendRequestReq: 1 from_user_id i64, 2 to_user_id i64, 3 message str
friend.AddFriendRequestResp: 1 request_id i64
friend.GetFriendRequestListReq: 1 user_id i64, 2 page i64, 3 page_size i64
friend.GetFriendRequestListResp: 1 list []FriendRequestInfo, 2 total i64
friend.GetSentRequestListReq: 1 user_id i64, 2 page i64, 3 page_size i64
friend.GetSentRequestListResp: 1 list []FriendRequestInfo, 2 total i64
friend.HandleFriendRequestReq: 1 user_id i64, 2 request_id i64, 3 action i64
friend.HandleFriendRequestResp:
friend.GetFriendListReq: 1 user_id i64, 2 page i64, 3 page_size i64
friend.GetFriendListResp: 1 list []FriendInfo, 2 total i64
friend.GetFriendListsReq: 1 user_ids []i64
friend.FriendIds: 1 user_id i64, 2 friend_ids []i64
friend.GetFriendListsResp: 1 lists []FriendIds
friend.GetBlacklistReq: 1 user_id i64, 2 page i64, 3 page_size i64
friend.GetBlacklistResp: 1 list []FriendInfo, 2 total i64
friend.DeleteFriendReq: 1 user_id i64, 2 friend_id i64
friend.DeleteFriendResp:
friend.UpdateFriendRemarkReq: 1 user_id i64, 2 friend_id i64, 3 remark str
friend.UpdateFriendRemarkResp:
friend.SetBlacklistReq: 1 user_id i64, 2 friend_id i64, 3 is_black bool
friend.SetBlacklistResp:
friend.IsFriendReq: 1 user_id i64, 2 friend_id i64
friend.IsFriendResp: 1 is_friend bool, 2 status i64
group.GroupInfo: 1 id i64, 2 group_id str, 3 name str, 4 avatar str, 5 owner_id i64,
  6 description str, 7 max_members i32, 8 member_count i32, 9 status i32, 10 created_at i64,
  11 updated_at i64
group.MemberInfo: 1 id i64, 2 group_id str, 3 user_id i64, 4 role i32, 5 nickname str,
  6 mute i32, 7 joined_at i64, 8 read_seq u64
group.GroupInvitationInfo: 1 id i64, 2 group_id str, 3 inviter_id i64, 4 invitee_id i64,
  5 message str, 6 status i64, 7 created_at i64
group.JoinRequestInfo: 1 id i64, 2 group_id str, 3 user_id i64, 4 message str, 5 status i64,
  6 handler_id i64, 7 created_at i64
group.CreateGroupReq: 1 owner_id i64, 2 name str, 3 avatar str, 4 description str,
  5 max_members i32, 6 member_ids []i64
group.CreateGroupResp: 1 group GroupInfo
group.GetGroupInfoReq: 1 group_id str, 2 user_id i64
group.GetGroupInfoResp: 1 group GroupInfo
group.UpdateGroupReq: 1 group_id str, 2 operator_id i64, 3 name str, 4 avatar str,
  5 description str, 6 max_members i32
group.UpdateGroupResp: 1 group GroupInfo
group.DismissGroupReq: 1 group_id str, 2 operator_id i64
group.DismissGroupResp: 1 success bool
group.InviteMembersReq: 1 group_id str, 2 inviter_id i64, 3 member_ids []i64
group.InviteMembersResp: 1 success_count i32, 2 failed_ids []i64
group.KickMemberReq: 1 group_id str, 2 operator_id i64, 3 member_id i64
group.KickMemberResp: 1 success bool
group.QuitGroupReq: 1 group_id str, 2 user_id i64
group.QuitGroupResp: 1 success bool
group.GetMemberListReq: 1 group_id str, 2 user_id i64, 3 page i32, 4 page_size i32
group.GetMemberListResp: 1 members []MemberInfo, 2 total i32
group.GetUserGroupListReq: 1 user_id i64, 2 page i32, 3 page_size i32
group.GetUserGroupListResp: 1 groups []GroupInfo, 2 total i32
group.SetMemberRoleReq: 1 group_id str, 2 operator_id i64, 3 member_id i64, 4 role i32
group.SetMemberRoleResp: 1 success bool
group.SetMemberMuteReq: 1 group_id str, 2 operator_id i64, 3 member_id i64, 4 mute i32
group.SetMemberMuteResp: 1 success bool
group.CheckMembershipReq: 1 group_id str, 2 user_id i64
group.CheckMembershipResp: 1 is_member bool, 2 member MemberInfo
group.UpdateGroupReadSeqReq: 1 group_id str, 2 user_id i64, 3 read_seq u64
group.UpdateGroupReadSeqResp: 1 success bool
group.GetJoinedGroupsReq: 1 user_id i64
group.GetJoinedGroupsResp: 1 list []MemberInfo
group.GetJoinedGroupsOfReq: 1 user_ids []i64
group.JoinedGroups: 1 user_id i64, 2 group_ids []str
group.GetJoinedGroupsOfResp: 1 lists []JoinedGroups
group.SendGroupInvitationReq: 1 group_id str, 2 inviter_id i64, 3 invitee_id i64, 4 message str
group.SendGroupInvitationResp: 1 invitation_id i64
group.HandleGroupInvitationReq: 1 user_id i64, 2 invitation_id i64, 3 action i64
group.HandleGroupInvitationResp:
group.SendJoinRequestReq: 1 group_id str, 2 user_id i64, 3 message str
group.SendJoinRequestResp: 1 request_id i64
group.HandleJoinRequestReq: 1 operator_id i64, 2 request_id i64, 3 action i64
group.HandleJoinRequestResp: 1 success bool
group.GetReceivedInvitationsReq: 1 user_id i64, 2 page i64, 3 page_size i64
group.GetReceivedInvitationsResp: 1 list []GroupInvitationInfo, 2 total i64
group.GetSentInvitationsReq: 1 user_id i64, 2 page i64, 3 page_size i64
group.GetSentInvitationsResp: 1 list []GroupInvitationInfo, 2 total i64
group.GetGroupJoinRequestsReq: 1 group_id str, 2 operator_id i64, 3 page i64, 4 page_size i64
group.GetGroupJoinRequestsResp: 1 list []JoinRequestInfo, 2 total i64
group.GetSentJoinRequestsReq: 1 user_id i64, 2 page i64, 3 page_size i64
group.GetSentJoinRequestsResp: 1 list []JoinRequestInfo, 2 total i64
group.GetAllManagedGroupJoinRequestsReq: 1 user_id i64, 2 page i64, 3 page_size i64
group.GetAllManagedGroupJoinRequestsResp: 1 list []JoinRequestInfo, 2 total i64
group.SearchGroupReq: 1 keyword str
group.SearchGroupResp: 1 groups []GroupInfo
"""

FILES = [message_pb2.DESCRIPTOR, friend_pb2.DESCRIPTOR, group_pb2.DESCRIPTOR]

KINDS = {
    FieldDescriptor.TYPE_INT32: "i32",
    FieldDescriptor.TYPE_INT64: "i64",
    FieldDescriptor.TYPE_UINT64: "u64",
    FieldDescriptor.TYPE_STRING: "str",
    FieldDescriptor.TYPE_BOOL: "bool",
}


def fixed() -> dict[str, set[str]]:
    """Return the fields of each message as this page has them."""
    messages = re.findall(r"^(\S+):((?:.|\n )*)", FIELDS, re.M)
    return {name: set(filter(None, re.split(r",\s+", text.strip()))) for name, text in messages}


def shown(field: FieldDescriptor) -> str:
    kind = field.message_type.name if field.message_type else KINDS[field.type]
    return f"{field.number} {field.name} {'[]' if field.is_repeated else ''}{kind}"


def spoken(file: FileDescriptor) -> dict[str, set[str]]:
    """Return the fields of each message of a file as the code has them."""
    return {
        f"{file.package}.{name}": {shown(field) for field in message.fields}
        for name, message in file.message_types_by_name.items()
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.package)
def test_what_is_on_the_wire_stays_as_it_is(file: FileDescriptor) -> None:
    """A new field or message goes into the table as well."""
    package = f"{file.package}."
    assert spoken(file) == {
        name: fields for name, fields in fixed().items() if name.startswith(package)
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.package)
def test_every_call_takes_its_request_and_gives_its_response(file: FileDescriptor) -> None:
    [service] = file.services_by_name.values()
    for method in service.methods:
        assert (method.input_type.name, method.output_type.name) == (
            f"{method.name}Req",
            f"{method.name}Resp",
        )

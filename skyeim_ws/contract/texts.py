"""What people read, in English and in Chinese: refusals, reasons of a close, answers over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from skyeim_ws.contract.codes import Reason


class Language(StrEnum):
    """The languages of the table, as `Language` of the configuration names them."""

    EN = "en"
    ZH = "zh"


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text of the table, with what stands in its gaps."""

    text: "Text"
    values: Mapping[str, object] = field(default_factory=dict)

    def spoken(self, language: Language) -> str:
        """Return it in a language."""
        english, chinese = self.text.value
        return (chinese if language is Language.ZH else english).format(**self.values)

    def __str__(self) -> str:
        return self.spoken(Language.EN)


class Text(Enum):
    """The table; a member is called with what stands in its gaps."""

    def __call__(self, **values: object) -> Phrase:
        """Return the phrase."""
        return Phrase(self, values)

    # For each reason, by its name.
    INVALID = "the message is not valid", "消息无效"
    NOT_FRIEND = "you are not friends with this user", "你们还不是好友"
    BLOCKED = "one of you has blocked the other", "你们当中有一方拉黑了对方"
    GROUP_NOT_FOUND = "there is no such group, or it was dismissed", "群组不存在或已解散"
    NOT_MEMBER = "you are not a member of this group", "你不是该群的成员"
    MUTED = "you are muted in this group", "你在该群中已被禁言"
    AT_ALL_DENIED = (
        "only the owner and the admins may mention everyone",
        "只有群主和管理员可以@所有人",
    )
    RATE_LIMITED = "you are sending too fast; slow down and try again", "发送过快，请稍后再试"
    BUSY = (
        "too many messages are under way; wait for their acks and try again",
        "处理中的消息过多，请等待确认后再试",
    )
    RPC_ERROR = (
        "a service is unavailable; try again with the same msgId",
        "服务暂不可用，请用相同的 msgId 重试",
    )
    MSG_ID_CONFLICT = (
        "this msgId has been used for another message; choose a new one",
        "该 msgId 已用于另一条消息，请换一个新的",
    )

    # Frames.
    NOT_A_FRAME = (
        "this is no frame: a JSON object with a text as its type is wanted",
        "无法识别的帧：需要带有字符串 type 的 JSON 对象",
    )
    UNKNOWN_TYPE = "unknown type {kind}", "未知的类型 {kind}"
    FIELD = "{name}: missing, out of range or of the wrong type", "{name}：缺失、超出范围或类型错误"
    NO_MSG_ID = "msgId or msgIds is wanted", "需要 msgId 或 msgIds"
    PULLED_TOO_EARLY = "read what was pushed first", "请先确认已推送的消息"
    OTHER_USER = "the token is another user's", "该令牌属于另一个用户"

    CALLS_TOO_OFTEN = (
        "you are calling too often; slow down and try again",
        "请求过于频繁，请稍后再试",
    )

    # Tokens.
    TOKEN_MISSING = "the token is missing", "缺少令牌"
    TOKEN_TOO_LONG = "the token is too long", "令牌过长"
    TOKEN_NOT_ACCESS = "this is not an access token", "这不是访问令牌"
    TOKEN_EXPIRED = "the token has expired", "令牌已过期"
    TOKEN_NOT_YET_VALID = "the token is not valid yet", "令牌尚未生效"
    TOKEN_MALFORMED = "the token is malformed", "令牌格式错误"
    TOKEN_WRONG_SIGNATURE = "the token has a wrong signature", "令牌签名错误"
    TOKEN_NO_USER = "the token names no valid user", "令牌中没有有效的用户"

    # Reasons of a close.
    KICKED = "a newer login took this place", "账号已在别处登录"
    SIGNED_OUT = "an operator has ended this session", "管理员已结束此次会话"
    GOING_AWAY = "retry_after_ms={delay}", "retry_after_ms={delay}"  # for programs
    OVERLOADED = "too many connections", "连接数过多"
    FLOODING = "too many frames", "发送的帧过多"
    SLOW_CONSUMER = "slow consumer", "接收过慢"
    HEARTBEAT_TIMEOUT = "no sign of life", "心跳超时"
    TOKEN_ENDED = "token expired", "登录已过期"
    INTERNAL_ERROR = "internal error", "内部错误"

    # Reasons of a close for who broke the protocol.
    HALF_A_CLOSE_CODE = "close frame with half a code", "关闭帧的状态码不完整"
    INVALID_CLOSE_CODE = "close frame with an invalid code", "关闭帧的状态码无效"
    CLOSE_REASON_NOT_UTF8 = "close reason is not UTF-8", "关闭原因不是 UTF-8"
    TEXT_NOT_UTF8 = "text frame is not UTF-8", "文本帧不是 UTF-8"
    MESSAGE_TOO_BIG = "message over {most} bytes", "消息超过 {most} 字节"
    RESERVED_BIT = "reserved bit set", "保留位被置位"
    NOT_MASKED = "frame is not masked", "帧没有掩码"
    UNKNOWN_OPCODE = "unknown opcode", "未知的操作码"
    BAD_CONTROL_FRAME = "control frame fragmented or too long", "控制帧被分片或过长"
    BINARY = "only text frames are taken", "只接受文本帧"
    FRAGMENTS_OUT_OF_ORDER = "fragments out of order", "分片顺序错误"
    LONG_LENGTH = "length in a longer form than it needs", "长度字段没有使用最短形式"
    LENGTH_TOP_BIT = "length with its top bit set", "长度字段的最高位被置位"

    # Handshakes.
    LOGS_IN_TOO_OFTEN = (
        "this user logs in too often; two devices may be throwing each other out",
        "登录过于频繁，可能有两台设备在互相挤下线",
    )
    TAKES_NOBODY = (
        "this gateway takes no new connections; try again",
        "此网关暂不接受新连接，请稍后重试",
    )
    NEEDS_HTTP_1_1 = "a WebSocket needs HTTP/1.1", "WebSocket 需要 HTTP/1.1"
    NO_UPGRADE = (
        "this path is for WebSockets: Upgrade must be websocket",
        "此路径用于 WebSocket：Upgrade 必须为 websocket",
    )
    VERSION = "Sec-WebSocket-Version must be {version}", "Sec-WebSocket-Version 必须为 {version}"
    NO_CONNECTION_UPGRADE = "Connection must be Upgrade", "Connection 必须为 Upgrade"
    BAD_KEY = (
        "Sec-WebSocket-Key must be 16 bytes in base64",
        "Sec-WebSocket-Key 必须是 base64 编码的 16 字节",
    )
    HANDSHAKE_BODY = "a handshake has no body", "握手请求不能带有正文"
    ORIGIN = "pages of this origin may not connect", "不允许此来源的网页访问"
    RESUME = (
        "resume: the largest message id that the client holds is wanted",
        "resume：需要客户端已有的最大消息 id",
    )
    CONFIRM = "confirm: ack is wanted, or nothing", "confirm：只能为 ack，或不填"

    # Answers over HTTP.
    LENGTH = "{name}: 1 to {most} characters are wanted", "{name}：需要 1 到 {most} 个字符"
    NUMBER = (
        "{name}: an integer from {low} to {high} is wanted",
        "{name}：需要 {low} 到 {high} 之间的整数",
    )
    MALFORMED_BODY = "the body is not the JSON that is wanted", "请求正文不是所需的 JSON"
    NO_BODY = "a body has no meaning here", "此请求不能带有正文"
    HEAD_TOO_LARGE = "the head is larger than {most} bytes", "请求头超过 {most} 字节"
    BODY_TOO_LARGE = "the body is larger than {most} bytes", "请求正文超过 {most} 字节"
    CONTENT_LENGTH = "Content-Length is not a number", "Content-Length 不是数字"
    GROUP_BUSY = "the queue of this group is full; try again", "该群的队列已满，请重试"
    NOTHING_HERE = "there is nothing at this path", "此路径不存在"
    METHOD = "this path does not take the method", "此路径不支持该方法"
    BAD_REQUEST = "the request is not valid", "请求无效"
    REQUEST_FAILED = "the request failed", "请求失败"
    UNAVAILABLE = "a service is unavailable; try again", "服务暂不可用，请重试"
    UNAUTHORIZED = "Unauthorized", "Unauthorized"  # for programs


def explanation(reason: Reason) -> Phrase:
    """Return what a reason means, for when nothing more is known."""
    return Text[reason.name]()

"""A fresh token for an open connection, which would end with its first one."""

import time
from collections.abc import Callable

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.messages import TokenAnswer, TokenRenewal, frame
from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import Text
from skyeim_ws.logic.answers import refuse
from skyeim_ws.logic.ports import Refused

log = structlog.get_logger()


class Renewal:
    """Handles `token`.

    `check` returns the user of a token and when it expires, in Unix seconds; raises Refused.
    """

    def __init__(self, check: Callable[[str], tuple[int, int]]) -> None:
        self.check = check

    def renew(self, client: Client, data: TokenRenewal) -> None:
        """Let the connection live for as long as the token, if it is its user's."""
        try:
            user_id, expires_at = self.check(data.token)
        except Refused as refused:
            refuse(client, "token", refused.reason, refused.phrase)
            return
        if user_id != client.user_id:
            refuse(client, "token", Reason.INVALID, Text.OTHER_USER())
            return
        client.renew(client.context.clock() + expires_at - time.time())
        log.info("token_renewed", user=client.user_id, conn=client.conn_id)
        client.send(frame("token", TokenAnswer(expires_at=expires_at)))

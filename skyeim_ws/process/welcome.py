"""What the demo prints: where to go, who the users are, which commands can be typed."""

import shlex
import sys
from pathlib import Path

from skyeim_ws.config.tree import Config
from skyeim_ws.contract.names import DEMO_USERS
from skyeim_ws.handler import tokens

_DEMO_TOKEN_SECONDS = 7 * 86400.0


def welcome(config: Config) -> str:
    """Return what the demo prints: its users, and commands that can be typed."""
    program = shlex.quote(sys.argv[0])
    if Path(sys.argv[0]).name != "skyeim-ws":
        # Not just `python`: the new terminals have not activated this one's environment.
        program = f"{shlex.quote(sys.executable)} -m skyeim_ws"
    url = config.local_url("ws") + "/ws"
    secret = config.auth.access_secret
    users = "\n".join(
        f"  {user}  {tokens.issue(secret, user, ttl=_DEMO_TOKEN_SECONDS)}" for user in DEMO_USERS
    )
    folder = config.embedded.data_dir if config.embedded else ""
    chat = f"{program} chat -f {shlex.quote(config.path)} --url {url}"
    page = config.local_url("http")
    page = f"Open {page}/ in two browser windows to chat." if config.has_page else ""
    return f"""
{page}

SkyeIM is listening on {url}

1001, 1002 and 1003 are friends, and the members of the group g_demo. Their tokens, for 7 days:

{users}

To chat in terminals, open two more in this folder and type one line into each:

  {chat} --user 1001 --to 1002
  {chat} --user 1002 --to 1001

or, for the group:  {chat} --user 1003 --group g_demo

Ctrl-C stops everything; the messages stay in {folder}.

"""

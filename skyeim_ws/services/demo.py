"""Three friends and their group, for trying the gateway out on an empty database."""

from itertools import permutations

import structlog
from sqlalchemy import insert, select

from skyeim_ws.contract.names import DEMO_GROUP, DEMO_NAMES, DEMO_USERS
from skyeim_ws.services.db import Database
from skyeim_ws.services.tables import MEMBER, OWNER, friends, group_members, groups

log = structlog.get_logger()


async def seed_demo(db: Database) -> None:
    """Make users 1001 to 1003 friends and members of `g_demo`, unless there is any data."""
    async with db.write() as connection:
        for table in (friends, groups):
            if await connection.scalar(select(table.c.id).limit(1)) is not None:
                return
        await connection.execute(
            insert(friends),
            [
                {"user_id": one, "friend_id": other, "remark": DEMO_NAMES[other]}
                for one, other in permutations(DEMO_USERS, 2)
            ],
        )
        await connection.execute(
            insert(groups).values(
                group_id=DEMO_GROUP,
                name="Demo group",
                owner_id=DEMO_USERS[0],
                member_count=len(DEMO_USERS),
            )
        )
        await connection.execute(
            insert(group_members),
            [
                {
                    "group_id": DEMO_GROUP,
                    "user_id": user_id,
                    "nickname": DEMO_NAMES[user_id],
                    "role": OWNER if user_id == DEMO_USERS[0] else MEMBER,
                }
                for user_id in DEMO_USERS
            ],
        )
    log.info("demo_seeded", users=DEMO_USERS, group=DEMO_GROUP)

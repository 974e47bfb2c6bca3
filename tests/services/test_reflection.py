"""Clients may list the services only where that was asked for."""

from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from skyeim_ws.services.db import open_database
from skyeim_ws.services.events import Events
from skyeim_ws.services.server import serve_services


@pytest.mark.gen_test
@pytest.mark.parametrize("reflection", [True, False])
async def test_reflection_lists_the_services_only_with_the_flag(
    tmp_path: Path, reflection: bool
) -> None:
    database = await open_database(str(tmp_path / "im.db"))
    events = Events(database)
    address = f"unix:{tmp_path / 's.sock'}"
    async with (
        serve_services(database, events, [address], grace=0, reflection=reflection),
        grpc.aio.insecure_channel(address) as channel,
    ):
        call = ServerReflectionStub(channel).ServerReflectionInfo(
            iter([ServerReflectionRequest(list_services="")])
        )
        if reflection:
            listed = (await call.read()).list_services_response.service
            names = {service.name for service in listed}
            assert {"message.Message", "friend.Friend", "group.Group"} <= names
            call.cancel()
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    await events.close()
    await database.close()

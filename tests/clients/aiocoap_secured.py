"""aiocoap over DTLS, by tinydtls: a device proves itself by the key it shares with the platform."""

import asyncio
import json
import os

from aiocoap import GET, POST, Context, Message
from aiocoap.credentials import CredentialsMap

from people import PATIENCE, Person, eventually, expect, proved, unique

tenant = Person()
BASE = f"coaps://127.0.0.1:{os.environ['COAPS_PORT']}"


async def main():
    device = await asyncio.to_thread(tenant.device)
    identity, key = unique("user"), unique("key")
    await asyncio.to_thread(tenant.credentials, device, "MQTT_BASIC", value=json.dumps({"userName": identity, "password": key}))
    context = await Context.create_client_context()
    context.client_credentials = CredentialsMap()
    context.client_credentials.load_from_dict({BASE + "/*": {"dtls": {"psk": key.encode(), "client-identity": identity.encode()}}})
    answer = await asyncio.wait_for(context.request(Message(code=POST, uri=BASE + "/api/v1/telemetry", payload=b'{"t":2.5}')).response, PATIENCE)
    expect("a reading by key", answer.code.dotted, "2.01")
    await asyncio.to_thread(eventually, lambda: tenant.series(device, "t"), {"t": [2.5]})
    proved("it is stored")
    request = context.request(Message(code=GET, uri=BASE + "/api/v1/attributes", observe=0))
    expect("C05 attributes observed", (await asyncio.wait_for(request.response, PATIENCE)).payload, b"{}")
    changes = request.observation.__aiter__()
    for value in range(3):
        await asyncio.to_thread(tenant.share, device, {"a": value})
        change = await asyncio.wait_for(changes.__anext__(), PATIENCE)
        expect("C05 a change comes", json.loads(change.payload), {"a": value})
    request.observation.cancel()
    await context.shutdown()


asyncio.run(main())

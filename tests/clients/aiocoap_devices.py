"""aiocoap, a second opinion about CoAP: readings, observe, blocks up and down."""

import asyncio
import json
import os

from aiocoap import GET, POST, PUT, Context, Message

from people import PATIENCE, Person, eventually, expect, proved, unique

tenant = Person()
BASE = f"coap://127.0.0.1:{os.environ['COAP_PORT']}"


async def people(act, *arguments, **more):
    return await asyncio.to_thread(act, *arguments, **more)


class Observer:
    """What an observed resource sends, one after the other."""

    def __init__(self, context, uri):
        self.request = context.request(Message(code=GET, uri=uri, observe=0))
        self._later = None

    async def first(self):
        answer = await asyncio.wait_for(self.request.response, PATIENCE)
        self._later = self.request.observation.__aiter__()
        return answer

    async def next(self):
        return json.loads((await asyncio.wait_for(self._later.__anext__(), PATIENCE)).payload)


async def main():
    device = await people(tenant.device)
    api = f"{BASE}/api/v1/{device.token}"
    context = await Context.create_client_context()

    async def answer(code, uri, payload=b"", **more):
        return await asyncio.wait_for(context.request(Message(code=code, uri=uri, payload=payload, **more)).response, PATIENCE)

    async def code(*arguments):
        return (await answer(*arguments)).code.dotted

    expect("C01 a reading", await code(POST, api + "/telemetry", b'{"t":1.5}'), "2.01")
    expect("C02 a wrong token", await code(POST, BASE + "/api/v1/wrong/telemetry", b"{}"), "4.01")
    expect("C03 what is not JSON", await code(POST, api + "/telemetry", b"x{"), "4.00")
    expect("C09 what cannot be put", await code(PUT, api + "/telemetry", b"{}"), "4.05")
    expect("C15 200 KB up in blocks", await code(POST, api + "/telemetry", json.dumps({"long": "x" * 200000}).encode()), "2.01")
    await people(eventually, lambda: tenant.series(device, "t", "long"), {"t": [1.5], "long": ["x" * 200000]})
    proved("C01 C15 both are stored")

    await people(tenant.share, device, {"a": 1})
    attributes = Observer(context, api + "/attributes")
    first = await attributes.first()
    expect("C05 observed: all shared attributes come first", (first.code.dotted, json.loads(first.payload), first.opt.content_format), ("2.05", {"a": 1}, 50))
    for value in range(2, 6):
        await people(tenant.share, device, {"a": value})
        if await attributes.next() != {"a": value}:
            raise SystemExit("C05 another change came")
    proved("C05 then each change")
    await people(tenant.unshare, device, "a")
    expect("C05 and what was deleted", await attributes.next(), {"deleted": ["a"]})
    requests = Observer(context, api + "/rpc")
    expect("C06 requests observed", (await requests.first()).code.dotted, "2.03")
    for number in range(3):
        caller = asyncio.create_task(people(tenant.ask, device, "blink", {"n": number}))
        request = await requests.next()
        expect("C06 a request comes", (request["method"], request["params"]), ("blink", {"n": number}))
        await code(POST, f"{api}/rpc/{request['id']}", json.dumps({"did": number}).encode())
        expect("C06 its answer is the caller's", await caller, {"did": number})
    requests.request.observation.cancel()
    attributes.request.observation.cancel()

    data = os.urandom(10240)
    await people(tenant.firmware, device, data, unique("firmware"), "1")
    expect("C16 a firmware down in blocks", (await answer(GET, f"{BASE}/fw/{device.token}")).payload == data, True)
    expect("C16 a chunk of it", (await answer(GET, f"{BASE}/fw/{device.token}?size=1024&chunk=1")).payload == data[1024:2048], True)
    await context.shutdown()


asyncio.run(main())

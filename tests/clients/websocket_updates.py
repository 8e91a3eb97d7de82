"""A browser's view: subscribe to a device's telemetry, publish over MQTT, see it arrive."""

import asyncio
import json
import os

import paho.mqtt.publish as publish
import websockets

from people import Person, proved

HTTP, MQTT = os.environ["HTTP_PORT"], int(os.environ["MQTT_PORT"])


def reading(token, key, value):
    publish.single("v1/devices/me/telemetry", json.dumps({key: value}), qos=1, hostname="127.0.0.1", port=MQTT, auth={"username": token})


async def update(socket, key, value):
    while True:
        frame = json.loads(await asyncio.wait_for(socket.recv(), 5))
        if frame.get("errorCode"):
            raise SystemExit(f"error frame {frame}")
        points = (frame.get("data") or {}).get(key)
        if points and float(points[-1][1]) == value:
            return


async def main():
    tenant = Person()
    device = tenant.device()
    await asyncio.to_thread(reading, device.token, "before", 30.5)
    async with websockets.connect(f"ws://127.0.0.1:{HTTP}/api/ws") as socket:
        command = {
            "type": "TIMESERIES",
            "cmdId": 7,
            "entityType": "DEVICE",
            "entityId": device.id,
            "scope": "LATEST_TELEMETRY",
        }
        await socket.send(json.dumps({"authCmd": {"cmdId": 0, "token": tenant.token}, "cmds": [command]}))
        await update(socket, "before", 30.5)
        for value in (31.5, 32.5, 33.5):
            await asyncio.to_thread(reading, device.token, "live", value)
            await update(socket, "live", value)
    proved("a WebSocket is told what was stored, then of each reading as it comes")


asyncio.run(main())

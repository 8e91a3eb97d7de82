"""A browser's view: subscribe to a device's telemetry, publish over MQTT, see it arrive."""

import asyncio
import json
import os

import paho.mqtt.publish as publish
import websockets

HTTP, MQTT = os.environ["HTTP_PORT"], int(os.environ["MQTT_PORT"])


async def update(socket, key, value):
    while True:
        frame = json.loads(await asyncio.wait_for(socket.recv(), 5))
        if frame.get("errorCode"):
            raise SystemExit(f"error frame {frame}")
        points = (frame.get("data") or {}).get(key)
        if points and float(points[-1][1]) == value:
            return


async def main():
    async with websockets.connect(f"ws://127.0.0.1:{HTTP}/api/ws") as socket:
        command = {
            "type": "TIMESERIES",
            "cmdId": 7,
            "entityType": "DEVICE",
            "entityId": os.environ["DEVICE"],
            "scope": "LATEST_TELEMETRY",
        }
        await socket.send(json.dumps({"authCmd": {"cmdId": 0, "token": os.environ["TOKEN"]}, "cmds": [command]}))
        first = json.loads(await asyncio.wait_for(socket.recv(), 5))
        if first["subscriptionId"] != 7 or "by_mqtt" not in first["data"]:
            raise SystemExit(f"first frame {first}")
        for value in (31.5, 32.5, 33.5):
            await asyncio.to_thread(
                publish.single,
                "v1/devices/me/telemetry",
                json.dumps({"live": value}),
                qos=1,
                hostname="127.0.0.1",
                port=MQTT,
                auth={"username": "A2_TEST_TOKEN"},
            )
            await update(socket, "live", value)


asyncio.run(main())

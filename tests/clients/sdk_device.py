"""The reference platform's own Python SDK, as a device."""

import logging
import os
import queue

from tb_device_mqtt import TBDeviceMqttClient

from people import PATIENCE, Person, eventually, expect, proved

logging.disable(logging.INFO)
tenant = Person()
device = tenant.device(tenant.profile(chain=tenant.answering_chain())["name"])
client = TBDeviceMqttClient("127.0.0.1", int(os.environ["MQTT_PORT"]), device.token)
came = queue.Queue()
client.connect()
eventually(lambda: client.is_connected() and client.rate_limits_received, True)
expect("the SDK connects and applies the limits of the session", (client.max_payload_size, client._client._max_inflight_messages),
       (65536 * 80 // 100, 256 * 80 // 100))

expect("readings", client.send_telemetry({"temperature": 41.9, "on": True}).get(), 0)
expect("readings with their time", client.send_telemetry({"ts": 1634712287000, "values": {"humidity": 81}}).get(), 0)
expect("a list of them", client.send_telemetry([{"ts": 1000 * n, "values": {"n": n}} for n in (1, 2, 3)]).get(), 0)
# Longer than the largest packet: the SDK splits it.
expect("more of them than a packet holds", client.send_telemetry([{"ts": n, "values": {"many": "x" * 100}} for n in range(1, 1001)]).get(), 0)
eventually(lambda: tenant.series(device, "temperature", "on", "humidity", "n"),
           {"temperature": [41.9], "on": [True], "humidity": [81], "n": [1, 2, 3]})
eventually(lambda: len(tenant.series(device, "many").get("many", [])), 1000)
proved("all are stored")
expect("attributes", client.send_attributes({"firmware": "v1", "limits": {"low": -3}}).get(), 0)
eventually(lambda: tenant.attributes(device), {"firmware": "v1", "limits": {"low": -3}})
proved("they are stored")

client.subscribe_to_attribute("target", lambda content, error: came.put(("target", content, error)))
client.subscribe_to_all_attributes(lambda content, error: came.put(("all", content, error)))
tenant.share(device, {"target": 20, "other": "x"})
changes = sorted((came.get(timeout=PATIENCE) for _ in range(2)), key=lambda change: change[0])
expect("subscriptions to all attributes and to one",
       changes, [("all", {"target": 20, "other": "x"}, None), ("target", {"target": 20, "other": "x"}, None)])
client.request_attributes(["firmware"], ["target"], lambda content, error: came.put((content, error)))
expect("attributes are asked for", came.get(timeout=PATIENCE), ({"client": {"firmware": "v1"}, "shared": {"target": 20}}, None))

client.set_server_side_rpc_request_handler(lambda number, body: client.send_rpc_reply(number, {"echo": body["params"]}))
for value in (True, {"pin": 7}):
    expect("a request is answered", tenant.ask(device, "setValue", value), {"echo": value})
client.send_rpc_call("getTime", {"zone": "UTC"}, lambda number, content, error: came.put((content, error)))
expect("the device asks and the rule chain answers", came.get(timeout=PATIENCE), ({"method": "getTime", "asked": {"zone": "UTC"}}, None))
client.disconnect()
client.stop()

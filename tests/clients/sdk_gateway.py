"""The reference platform's own Python SDK, as a gateway: devices behind it, their readings, attributes and requests."""

import logging
import os
import queue

from tb_gateway_mqtt import TBGatewayMqttClient

from people import PATIENCE, Person, claim, eventually, expect, proved, unique

logging.disable(logging.INFO)
tenant = Person()
device = tenant.device(gateway=True)
gateway = TBGatewayMqttClient("127.0.0.1", int(os.environ["MQTT_PORT"]), device.token)
came = queue.Queue()
gateway.connect()
eventually(lambda: gateway.is_connected() and gateway.rate_limits_received, True)
proved("the gateway connects and applies the limits of its session")

first, second, kind = unique("behind"), unique("behind"), unique("meter")
expect("a device connects", gateway.gw_connect_device(first).get(), 0)
expect("another of its own profile", gateway.gw_connect_device(second, kind).get(), 0)
behind = [tenant.find(first), tenant.find(second)]
expect("both are there", [one and one.document["type"] for one in behind], ["default", kind])
relations = tenant.call("GET", f"/api/relations?fromId={device.id}&fromType=DEVICE")
expect("the gateway has created them", sorted((one["to"]["id"], one["type"]) for one in relations), sorted((one.id, "Created") for one in behind))
expect("readings", gateway.gw_send_telemetry(first, [{"ts": 1000, "values": {"t": 1.5}}, {"ts": 2000, "values": {"t": 2.5}}]).get(), 0)
expect("a reading without a list", gateway.gw_send_telemetry(second, {"t": 3.5}).get(), 0)
expect("attributes", gateway.gw_send_attributes(first, {"serial": "A7"}).get(), 0)
eventually(lambda: [tenant.series(one, "t") for one in behind], [{"t": [1.5, 2.5]}, {"t": [3.5]}])
eventually(lambda: tenant.attributes(behind[0]), {"serial": "A7"})
proved("all are stored")

gateway.gw_subscribe_to_all_device_attributes(first, came.put)
tenant.share(behind[0], {"target": 20})
expect("a shared attribute arrives", came.get(timeout=PATIENCE), {"device": first, "data": {"target": 20}})
gateway.gw_request_shared_attributes(first, ["target"], lambda content, error: came.put((content, error)))
content, error = came.get(timeout=PATIENCE)
expect("one attribute is asked for", (content.get("device"), content.get("value"), error), (first, 20, None))
gateway.gw_request_client_attributes(first, ["serial", "none"], lambda content, error: came.put((content, error)))
content, error = came.get(timeout=PATIENCE)
expect("several are", (content.get("device"), content.get("values"), error), (first, {"serial": "A7"}, None))

gateway.gw_set_server_side_rpc_request_handler(
    lambda client, content: client.gw_send_rpc_reply(content["device"], content["data"]["id"], {"of": content["device"], "did": content["data"]["method"]}))
for one in behind:
    expect("a request to a device behind it is answered", tenant.ask(one, "toggle", {"pin": 1}), {"of": one.name, "did": "toggle"})
expect("a device may be claimed", gateway.gw_claim(second, "s1", 60000).get(), 0)
eventually(lambda: claim(Person("customer@thingsboard.org", "customer"), behind[1], "s1"), "SUCCESS")
proved("and is")
expect("a device disconnects", gateway.gw_disconnect_device(first).get(), 0)
expect("and is back with its next reading", gateway.gw_send_telemetry(first, {"again": 1}).get(), 0)
eventually(lambda: tenant.series(behind[0], "again"), {"again": [1]})
proved("which is stored")
gateway.disconnect()
gateway.stop()

"""paho as MQTT 3.1.1 and 5: readings at each QoS, attributes, requests for them, and their updates."""

import json

from paho_device import VERSIONS, PahoDevice
from people import Person, eventually, expect, proved

tenant = Person()
for version in VERSIONS:
    ended = "told" if version == "5" else "closed"
    device = tenant.device()
    client = PahoDevice(version, device.token)
    expect(f"M01 MQTT {version} connects by token", client.code, 0)
    levels = [0, 1, 2] if version == "3.1.1" else [0, 1]
    if version == "5":
        expect("MQTT 5 is told the highest QoS", client.properties.MaximumQoS, 1)
    for qos in levels:
        code = client.publish("v1/devices/me/telemetry", json.dumps({"n": qos, f"q{qos}": 20.5 + qos}), qos)
        expect(f"M30 a reading at QoS {qos} is taken", code, 0)
    eventually(lambda: tenant.series(device, "q0", "q1", "q2", "n"), {f"q{q}": [20.5 + q] for q in levels} | {"n": levels})
    proved(f"M30 readings at QoS {levels} are stored, in order")
    client.publish("v1/devices/me/telemetry", '[{"ts":1000,"values":{"t":1}},{"ts":2000,"values":{"t":2,"on":true,"j":{"a":[1]}}}]')
    eventually(lambda: tenant.series(device, "t", "on", "j"), {"t": [1, 2], "on": [True], "j": [{"a": [1]}]})
    proved("M32 readings with their own time are stored at it")

    client.publish("v1/devices/me/attributes", '{"fw":"1.0x","size":3}')
    eventually(lambda: tenant.attributes(device), {"fw": "1.0x", "size": 3})
    proved("M44 client attributes are stored")
    tenant.share(device, {"limit": 7, "mode": {"on": True}})
    client.publish("v1/devices/me/attributes/request/7", '{"clientKeys":"fw,none","sharedKeys":"limit"}')
    topic, text, qos = client.message()
    expect("M49 a request is answered without a subscription", (topic, json.loads(text), qos),
           ("v1/devices/me/attributes/response/7", {"client": {"fw": "1.0x"}, "shared": {"limit": 7}}, 1))

    expect("M46 subscribed", client.subscribe("v1/devices/me/attributes"), [1])
    tenant.share(device, {"limit": 8})
    topic, text, _ = client.message()
    expect("M46 a change arrives", (topic, json.loads(text)), ("v1/devices/me/attributes", {"limit": 8}))
    tenant.unshare(device, "limit")
    topic, text, _ = client.message()
    expect("M46 so does what was deleted", (topic, json.loads(text)), ("v1/devices/me/attributes", {"deleted": ["limit"]}))
    expect("M47 subscribed to the short topic", client.subscribe("v2/a/j"), [1])
    tenant.share(device, {"limit": 9})
    topic, text, _ = client.message()
    expect("M47 the next change arrives there", (topic, json.loads(text)), ("v2/a/j", {"limit": 9}))
    expect("M54 # is refused", client.subscribe("#"), [0x8F if version == "5" else 0x80])
    second = PahoDevice(version, device.token)
    expect("M18 a second connection takes over", (second.code, client.ended()), (0, ended))
    second.disconnect()

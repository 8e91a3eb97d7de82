"""paho as MQTT 3.1.1 and 5: requests to the device and from it."""

import json
import threading

from paho_device import VERSIONS, PahoDevice
from people import PATIENCE, Person, Refused, eventually, expect, proved

tenant = Person()
kind = tenant.profile(chain=tenant.answering_chain())["name"]


def asked(way, *arguments, **more):
    """Asks in the background; the returned function waits for the answer."""
    got = []

    def run():
        try:
            got.append(tenant.ask(*arguments, way=way, **more))
        except Refused as refused:
            got.append(refused.status)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def answer():
        thread.join(PATIENCE)
        return got[0] if got else "no answer"

    return answer


for version in VERSIONS:
    device = tenant.device(kind)
    client = PahoDevice(version, device.token)
    expect(f"MQTT {version} subscribes to requests", client.subscribe("v1/devices/me/rpc/request/+"), [1])
    for number in range(2):
        answer = asked("twoway", device, "setValue", {"p": number})
        topic, text, qos = client.message()
        expect("M60 a request arrives", (topic, text, qos),
               (f"v1/devices/me/rpc/request/{number}", b'{"method":"setValue","params":{"p":%d}}' % number, 1))
        client.publish(topic.replace("request", "response"), json.dumps({"did": number}))
        expect("M60 its answer is the caller's", answer(), {"did": number})
    answer = asked("twoway", device, "m", None)
    client.publish(client.message()[0].replace("request", "response"), "no json")
    expect("M61 an answer that is not JSON is 406", answer(), 406)
    expect("M63 one-way is answered at once", asked("oneway", device, "blink", 3)(), "")
    expect("M63 and delivered", json.loads(client.message()[1]), {"method": "blink", "params": 3})
    client.disconnect()

    rpc = tenant.ask(device, "later", {}, persistent=True, timeout=60000)["rpcId"]
    expect("a persistent request waits", tenant.call("GET", f"/api/rpc/persistent/{rpc}")["status"], "QUEUED")
    client = PahoDevice(version, device.token)
    client.subscribe("v1/devices/me/rpc/request/+")
    topic, text, _ = client.message()
    expect("M64 it is delivered once the device is there", json.loads(text), {"method": "later", "params": {}})
    eventually(lambda: tenant.call("GET", f"/api/rpc/persistent/{rpc}")["status"], "DELIVERED")
    proved("M65 DELIVERED after the acknowledgement")
    client.publish(topic.replace("request", "response"), '{"ok":true}')
    eventually(lambda: tenant.call("GET", f"/api/rpc/persistent/{rpc}")["status"], "SUCCESSFUL")
    proved("M65 SUCCESSFUL after the answer")

    client.publish("v1/devices/me/rpc/request/3", '{"method":"getTime","params":{"zone":"UTC"}}')
    topic, text, _ = client.message()
    expect("M67 the rule chain answers the device", (topic, json.loads(text)),
           ("v1/devices/me/rpc/response/3", {"method": "getTime", "asked": {"zone": "UTC"}}))
    client.publish("v1/devices/me/rpc/request/1", '{"method":"getSessionLimits","params":{"timeout":5000}}')
    topic, text, _ = client.message()
    limits = json.loads(text)
    expect("M69 the limits of the session", (topic, limits["maxPayloadSize"], sorted(limits["rateLimits"])),
           ("v1/devices/me/rpc/response/1", 65536, ["messages", "telemetryDataPoints", "telemetryMessages"]))
    client.disconnect()

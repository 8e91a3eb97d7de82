"""paho as MQTT 3.1.1 and 5: a firmware announced, fetched in chunks and checked."""

import hashlib
import json
import os

from paho_device import VERSIONS, PahoDevice
from people import Person, eventually, expect, proved, unique

tenant = Person()
for version in VERSIONS:
    ended = "told" if version == "5" else "closed"
    device = tenant.device()
    client = PahoDevice(version, device.token)
    client.subscribe("v1/devices/me/attributes")
    data, title = os.urandom(10000), unique("firmware")
    tenant.firmware(device, data, title, "2.0")
    announced = {}
    while "fw_checksum" not in announced or "fw_size" not in announced:
        announced |= json.loads(client.message()[1])
    expect(f"M84 MQTT {version}: the firmware is announced",
           [announced[key] for key in ("fw_title", "fw_version", "fw_size", "fw_checksum", "fw_checksum_algorithm")],
           [title, "2.0", 10000, hashlib.sha256(data).hexdigest(), "SHA256"])
    expect("M83 a filter nobody knows is refused", client.subscribe("v2/fw/response/+"), [0x8F if version == "5" else 0x80])
    got = b""
    for number, payload in enumerate(("4096", "", "", "")):
        client.publish(f"v2/fw/request/1/chunk/{number}", payload)
        topic, chunk, _ = client.message()
        if topic != f"v2/fw/response/1/chunk/{number}":
            raise SystemExit(f"chunk {number} came on {topic}")
        got += chunk
        if number == 3:
            expect("M79 behind the end there is nothing", chunk, b"")
    expect("M79 the chunks are the firmware", hashlib.sha256(got).hexdigest(), announced["fw_checksum"])
    client.publish("v2/fw/request/2/chunk/0", "")
    expect("M80 without a chunk size it comes whole", hashlib.sha256(client.message()[1]).hexdigest(), announced["fw_checksum"])
    client.publish("v1/devices/me/telemetry", json.dumps({"current_fw_title": title, "current_fw_version": "2.0", "fw_state": "UPDATED"}))
    eventually(lambda: tenant.series(device, "fw_state").get("fw_state", [None])[-1], "UPDATED")
    proved("the device reports UPDATED")
    client.send("v2/fw/request/3/chunk/0", "70000")
    expect("M82 too large a chunk", client.message()[:2], ("v2/fw/error", b"PAYLOAD_TOO_LARGE"))
    expect("M82 ends the connection", client.ended(), ended)
    expect("nothing came unasked", client.quiet(), True)

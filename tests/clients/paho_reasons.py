"""paho as an MQTT 5 client: a wrong user name, a malformed payload, an unknown topic."""

import os
import queue
import sys

import paho.mqtt.client as mqtt

PORT = int(os.environ["MQTT_PORT"])


def connect(username):
    events = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.username_pw_set(username)
    client.on_connect = lambda c, u, f, reason, p: events.put(("connect", reason.value))
    client.on_publish = lambda c, u, mid, reason, p: events.put(("publish", reason.value))
    client.on_disconnect = lambda c, u, f, reason, p: events.put(("disconnect", reason.value))
    client.connect("127.0.0.1", PORT, clean_start=True)
    client.loop_start()
    return client, events


def expect(name, events, want):
    got = events.get(timeout=5)
    if got != want:
        sys.exit(f"{name}: got {got}, want {want}")
    print(f"     {name}: {want[0]} 0x{want[1]:02x}")


client, events = connect("WRONG_TOKEN")
expect("M04 wrong user name", events, ("connect", 0x86))
client.loop_stop()

client, events = connect("A3_TEST_TOKEN")
expect("connected", events, ("connect", 0x00))
client.publish("v1/devices/me/telemetry", "hello world", qos=1)
expect("M36 malformed payload", events, ("publish", 0x99))
client.publish("wrong/topic", "{}", qos=1)
expect("M41 unknown topic", events, ("publish", 0x90))
client.publish("v1/devices/me/telemetry", '{"after":1}', qos=1)
expect("the connection still serves", events, ("publish", 0x00))
client.disconnect()
client.loop_stop()

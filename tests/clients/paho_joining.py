"""paho as MQTT 3.1.1 and 5: credentials of several kinds, claiming and provisioning."""

import json
import os

from paho_device import VERSIONS, PahoDevice
from people import Person, claim, customers_device, eventually, expect, proved, unique

tenant = Person()
certificates = os.environ["CERTIFICATES"]
for version in VERSIONS:
    ended = "told" if version == "5" else "closed"
    # paho tells the codes of 3.1.1 by those of 5 that mean the same.
    refused = 0x86 if version == "5" else 0x87
    device = tenant.device()
    client = PahoDevice(version, device.token)
    client_id, username = unique("client"), unique("user")
    tenant.credentials(device, "MQTT_BASIC", value=json.dumps({"clientId": client_id, "userName": username, "password": "secret"}))
    expect(f"M19 MQTT {version}: other credentials end the connection", client.ended(), ended)
    client = PahoDevice(version, username, "wrong", client_id)
    expect("M09 a wrong password", client.code, refused)
    client = PahoDevice(version, username, "secret", client_id)
    expect("M09 client id, user name and password", client.code, 0)
    client.disconnect()

    device, customer = customers_device(tenant)
    client = PahoDevice(version, device.token)
    expect("M72 the device may be claimed", client.publish("v1/devices/me/claim", '{"secretKey":"s1","durationMs":60000}'), 0)
    expect("M72 with the wrong secret it is not", claim(customer, device, "s2"), "FAILURE")
    eventually(lambda: claim(customer, device, "s1"), "SUCCESS")
    proved("M71 with the right one it is")
    client.disconnect()

    key, secret = unique("key"), unique("secret")
    tenant.profile(provision=("ALLOW_CREATE_NEW_DEVICES", key, secret, {}))
    client = PahoDevice(version, "provision")
    client.subscribe("/provision/response")
    name = unique("provisioned")
    wish = {"deviceName": name, "provisionDeviceKey": key, "provisionDeviceSecret": secret}
    client.publish("/provision/request", json.dumps(wish))
    topic, text, _ = client.message()
    answer = json.loads(text)
    expect("M73 provisioned", (topic, answer["status"], answer["credentialsType"]), ("/provision/response", "SUCCESS", "ACCESS_TOKEN"))
    client.publish("/provision/request", json.dumps(wish))
    expect("M74 the same name again", json.loads(client.message()[1])["status"], "FAILURE")
    client.publish("/provision/request", json.dumps({**wish, "provisionDeviceSecret": "other"}))
    expect("M74 a wrong secret", json.loads(client.message()[1])["status"], "NOT_FOUND")
    client.disconnect()
    client = PahoDevice(version, answer["credentialsValue"])
    client.publish("v1/devices/me/telemetry", '{"made":1}')
    eventually(lambda: tenant.series(tenant.find(name), "made"), {"made": [1]})
    proved("M73 the provisioned device is served")
    client.disconnect()

    device = tenant.device()
    with open(certificates + "/paho.crt", encoding="ascii") as file:
        tenant.credentials(device, "X509_CERTIFICATE", value=file.read())
    client = PahoDevice(version, None, certificate=(certificates + "/paho.crt", certificates + "/paho.key"))
    expect("M13 a certificate connects", client.code, 0)
    client.publish("v1/devices/me/telemetry", '{"by":"certificate"}')
    eventually(lambda: tenant.series(device, "by"), {"by": ["certificate"]})
    proved("M13 as the device it is registered for")
    client.disconnect()
    tenant.call("DELETE", "/api/device/" + device.id)

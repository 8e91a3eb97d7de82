"""The reference platform's own Python SDK: provisioning, with each kind of credentials, and claiming."""

import logging
import os

from tb_device_mqtt import TBDeviceMqttClient

from people import Person, claim, customers_device, eventually, expect, proved, unique

logging.disable(logging.INFO)
tenant = Person()
port = int(os.environ["MQTT_PORT"])
key, secret, name = unique("key"), unique("secret"), unique("provisioned")
tenant.profile(provision=("ALLOW_CREATE_NEW_DEVICES", key, secret, {}))


def provision(**more):
    return TBDeviceMqttClient.provision("127.0.0.1", key, secret, port, **more) or {}


made = provision(device_name=name)
expect("provisioned with a token", (made.get("status"), made.get("credentialsType")), ("SUCCESS", "ACCESS_TOKEN"))
basic = {"client_id": unique("client"), "username": unique("user"), "password": "pw"}
other = provision(device_name=unique("provisioned"), **basic)
expect("provisioned with client id, user name and password", other.get("credentialsValue"),
       {"clientId": basic["client_id"], "userName": basic["username"], "password": "pw"})
gateway = provision(device_name=unique("provisioned"), access_token=unique("T"), gateway=True)
expect("provisioned as a gateway with its own token", gateway.get("status"), "SUCCESS")
logging.disable(logging.ERROR)
expect("the same name again is refused", provision(device_name=name), {})
for credentials in ({"username": made["credentialsValue"]}, basic):
    client = TBDeviceMqttClient("127.0.0.1", port, **credentials)
    client.connect()
    eventually(client.is_connected, True)
    expect("a reading with what was provisioned", client.send_telemetry({"made": 1}).get(), 0)
    client.disconnect()
    client.stop()
eventually(lambda: tenant.series(tenant.find(name), "made"), {"made": [1]})
proved("it is stored")

device, customer = customers_device(tenant)
client = TBDeviceMqttClient("127.0.0.1", port, device.token)
client.connect()
eventually(client.is_connected, True)
expect("the device may be claimed", client.claim("s1", 60000).get(), 0)
eventually(lambda: claim(customer, device, "s1"), "SUCCESS")
proved("and is")
client.disconnect()
client.stop()

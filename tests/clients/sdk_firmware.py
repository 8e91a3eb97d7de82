"""The reference platform's own Python SDK: an update of the firmware, from the assignment to UPDATED."""

import logging
import os
import queue

from tb_device_mqtt import TBDeviceMqttClient, TBFirmwareState

from people import PATIENCE, Person, eventually, expect, proved, unique

logging.disable(logging.INFO)
tenant = Person()
device = tenant.device()
came = queue.Queue()
client = TBDeviceMqttClient("127.0.0.1", int(os.environ["MQTT_PORT"]), device.token, chunk_size=4096)
client.set_on_firmware_received_callback(lambda device, data, version: came.put((bytes(data), version)))
client.connect()
eventually(lambda: client.is_connected() and client.rate_limits_received, True)
client.get_firmware_update()
data, title = os.urandom(10000), unique("firmware")
tenant.firmware(device, data, title, "2.0")
expect("the firmware arrives, its checksum is right", came.get(timeout=PATIENCE), (data, "2.0"))
client.update_firmware_info(title=title, version="2.0", state=TBFirmwareState.UPDATED)
states = ["IDLE", "DOWNLOADING", "DOWNLOADED", "VERIFIED", "UPDATED"]
eventually(lambda: [s for s in tenant.series(device, "fw_state").get("fw_state", []) if s in states], states)
proved("the device told " + ", ".join(states))
client.disconnect()
client.stop()

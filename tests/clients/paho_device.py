"""A device that speaks through paho, one method per packet: each waits for its answer."""

import os
import queue
import ssl

import paho.mqtt.client as mqtt

from people import PATIENCE

VERSIONS = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}


class PahoDevice:
    def __init__(self, version, username, password=None, client_id="", certificate=None):
        """certificate is (chain file, key file) and has the connection secured."""
        self._answers, self._messages, self._ended = queue.Queue(), queue.Queue(), queue.Queue()
        self.properties = None
        self._client = client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=VERSIONS[version],
                                            reconnect_on_failure=False)
        if username is not None:
            client.username_pw_set(username, password)
        client.on_connect = self._connected
        client.on_subscribe = lambda c, u, mid, codes, p: self._answers.put([code.value for code in codes])
        client.on_unsubscribe = lambda c, u, mid, codes, p: self._answers.put([code.value for code in codes])
        client.on_publish = lambda c, u, mid, code, p: self._answers.put(code.value)
        client.on_message = lambda c, u, message: self._messages.put((message.topic, message.payload, message.qos))
        client.on_disconnect = lambda c, u, flags, code, p: self._ended.put(flags.is_disconnect_packet_from_server)
        port = int(os.environ["MQTT_PORT"])
        if certificate:
            port = int(os.environ["MQTT_TLS_PORT"])
            client.tls_set(os.environ["CERTIFICATES"] + "/authority.crt", *certificate, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        client.connect("127.0.0.1", port)
        client.loop_start()
        self.code = self._answers.get(timeout=PATIENCE)

    def _connected(self, client, userdata, flags, code, properties):
        self.properties = properties
        self._answers.put(code.value)

    def subscribe(self, *filters, qos=1):
        """Returns the granted codes."""
        self._client.subscribe([(each, qos) for each in filters] if self._client.protocol != mqtt.MQTTv5 else
                               [(each, mqtt.SubscribeOptions(qos)) for each in filters])
        return self._answers.get(timeout=PATIENCE)

    def publish(self, topic, payload, qos=1):
        """Returns the code of the acknowledgement; at QoS 0, 0 once it is written."""
        self.send(topic, payload, qos)
        return self._answers.get(timeout=PATIENCE)

    def send(self, topic, payload, qos=1):
        """Publishes what may end the connection instead of being acknowledged."""
        self._client.publish(topic, payload, qos)

    def message(self):
        """The next message: topic, payload, QoS."""
        return self._messages.get(timeout=PATIENCE)

    def quiet(self):
        """Whether no message waits."""
        return self._messages.empty()

    def ended(self):
        """Waits for the end of the connection: told, if DISCONNECT came before, else closed.

        paho looks for the code of a DISCONNECT only if properties follow it; none do.
        """
        return "told" if self._ended.get(timeout=PATIENCE) else "closed"

    def disconnect(self):
        self._client.disconnect()
        self._client.loop_stop()

"""The reference platform's IoT gateway, the program itself: sensors publish to a broker, which its MQTT connector reads.

Everything listens on 127.0.0.1. The gateway's question for updates goes to a port where nobody listens.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import thingsboard_gateway

from people import Person, eventually, expect, proved, unique

work = pathlib.Path(os.environ["WORK"]) / "gateway"
broker = os.environ["BROKER_PORT"]
tenant = Person()
device = tenant.device(gateway=True)
sensor, kind = unique("sensor"), unique("kind")


def configure():
    """Writes what the gateway reads: its own configuration, the connector's, and the logs' as it comes with the program."""
    work.mkdir()
    (work / "tb_gateway.json").write_text(json.dumps({
        "thingsboard": {
            "host": "127.0.0.1", "port": int(os.environ["MQTT_PORT"]), "remoteShell": False, "remoteConfiguration": False, "qos": 1,
            "latencyDebugMode": True,
            "statistics": {"enable": True, "statsSendPeriodInSeconds": 2, "customStatsSendPeriodInSeconds": 3600},
            "security": {"type": "accessToken", "accessToken": device.token},
            "checkConnectorsConfigurationInSeconds": 60, "minPackSendDelayMS": 0,
        },
        "storage": {"type": "memory", "read_records_count": 100, "max_records_count": 10000},
        "grpc": {"enabled": False},
        "connectors": [{"type": "mqtt", "name": "broker", "configuration": "mqtt.json"}],
    }))
    by_topic = {"deviceNameExpressionSource": "topic", "deviceNameExpression": "(?<=sensor/)(.*?)(?=/data)",
                "deviceProfileExpressionSource": "constant", "deviceProfileExpression": kind}
    (work / "mqtt.json").write_text(json.dumps({
        "broker": {"host": "127.0.0.1", "port": int(broker), "version": 5, "clientId": "gateway", "security": {"type": "anonymous"}},
        "mapping": [{
            "topicFilter": "sensor/+/data",
            "converter": {
                "type": "json", "deviceInfo": by_topic, "timeout": 60000,
                "attributes": [{"type": "string", "key": "model", "value": "${model}"}],
                "timeseries": [{"type": "double", "key": "temperature", "value": "${temp}"}],
            },
        }],
        "requestsMapping": {
            "attributeUpdates": [{
                "retain": False, "deviceNameFilter": ".*", "attributeFilter": "target",
                "topicExpression": "sensor/${deviceName}/set", "valueExpression": "{\"target\":${attributeValue}}",
            }],
            "serverSideRpc": [{
                "type": "twoWay", "deviceNameFilter": ".*", "methodFilter": "blink",
                "requestTopicExpression": "sensor/${deviceName}/request/${requestId}", "responseTopicExpression": "sensor/${deviceName}/response/${requestId}",
                "responseTopicQoS": 1, "responseTimeout": 10000, "valueExpression": "${params}",
            }],
        },
    }))
    shipped = pathlib.Path(thingsboard_gateway.__file__).parent / "config" / "logs.json"
    (work / "logs.json").write_text(shipped.read_text())
    (work / "logs").mkdir()


def listening():
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(broker))) == 0


def publish(topic, payload):
    subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", broker, "-q", "1", "-t", topic, "-m", payload], check=True)


def hear(topic):
    """Subscribes to one message of the broker; the program prints topic and payload."""
    program = subprocess.Popen(["mosquitto_sub", "-h", "127.0.0.1", "-p", broker, "-q", "1", "-t", topic, "-C", "1", "-W", "20", "-F", "%t %p"],
                               stdout=subprocess.PIPE, text=True)
    return program


def reading(number):
    """A sensor publishes until the platform has its reading: the broker keeps nothing for a gateway that is not there yet."""
    publish(f"sensor/{sensor}/data", json.dumps({"temp": 20.5 + number, "model": "T100"}))
    found = tenant.find(sensor)
    return found and tenant.series(found, "temperature").get("temperature", [])[-1:] == [20.5 + number]


def prove():
    end = time.monotonic() + 60
    while not reading(0):
        if time.monotonic() > end:
            sys.exit("no reading came through the gateway:\n" + log())
        time.sleep(0.3)
    behind = tenant.find(sensor)
    expect("a sensor behind the gateway appears, with its kind", behind.document["type"], kind)
    for number in range(1, 4):
        publish(f"sensor/{sensor}/data", json.dumps({"temp": 20.5 + number, "model": "T100"}))
        eventually(lambda: tenant.series(behind, "temperature")["temperature"][-1], 20.5 + number)
    eventually(lambda: tenant.attributes(behind).get("model"), "T100")
    proved("its readings and attributes are stored")
    eventually(lambda: "broker" in tenant.series(device, "gatewayMetrics").get("gatewayMetrics", [{}])[-1], True)
    proved("the platform measures how long the gateway and the network took: gatewayMetrics")
    eventually(lambda: sorted(tenant.series(device, "machineStats", "serviceStats")), ["machineStats", "serviceStats"])
    proved("the gateway reports of itself: machineStats, serviceStats")

    heard = hear(f"sensor/{sensor}/set")
    changes = 0
    while heard.poll() is None:
        changes += 1
        tenant.share(behind, {"target": changes})
        time.sleep(0.3)
    topic, payload = heard.stdout.read().split(" ", 1)
    expect("a shared attribute reaches the sensor", (topic, 1 <= json.loads(payload)["target"] <= changes), (f"sensor/{sensor}/set", True))
    return behind


def answered(behind):
    """Asks the sensor, which answers over the broker."""
    responder = subprocess.Popen(
        ["sh", "-c", 'mosquitto_sub -h 127.0.0.1 -p "$1" -q 1 -t "sensor/$2/request/+" -C 1 -W 20 -F %t | '
                     '{ read -r topic; mosquitto_pub -h 127.0.0.1 -p "$1" -q 1 -t "sensor/$2/response/${topic##*/}" -m \'{"on":true}\'; }',
         "sensor", broker, sensor])
    time.sleep(1)
    answer = tenant.ask(behind, "blink", {"n": 3}, timeout=15000)
    responder.wait()
    expect("a request reaches the sensor, its answer the caller", answer, {"on": True})


def log():
    return "\n".join(path.read_text()[-3000:] for path in sorted((work / "logs").glob("*.log")))


def ends(programs):
    for program in programs:
        program.terminate()
    for program in programs:
        try:
            program.wait(10)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("told to end"))
configure()
programs = []
try:
    (work / "mosquitto.conf").write_text(f"listener {broker} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    mosquitto = "mosquitto" if os.access("/usr/bin/mosquitto", os.X_OK) else "/usr/sbin/mosquitto"
    programs.append(subprocess.Popen([mosquitto, "-c", str(work / "mosquitto.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    eventually(listening, True)
    nobody = "http://127.0.0.1:9"
    programs.append(subprocess.Popen(
        [sys.executable, "-c", "from thingsboard_gateway.tb_gateway import main; main()"], cwd=work,
        env={**os.environ, "TB_GW_CONFIG_DIR": str(work), "HTTP_PROXY": nobody, "HTTPS_PROXY": nobody},
        stdout=open(work / "out", "w", encoding="utf-8"), stderr=subprocess.STDOUT))
    answered(prove())
finally:
    ends(programs)

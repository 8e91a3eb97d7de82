"""What people do while devices talk: REST, with nothing but the standard library.

Read by the Python clients as a module, and by the shell's as a command: people.py WHAT ARGUMENTS… prints its answer.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

BASE = "http://127.0.0.1:" + os.environ["HTTP_PORT"]
# PATIENCE is how long what a client causes may take to be seen, in seconds.
PATIENCE = 20


class Refused(Exception):
    """An answer that is not 2xx."""

    def __init__(self, request, status, body):
        super().__init__(f"{request}: {status} {body[:300]}")
        self.status, self.body = status, body


def eventually(check, want, seconds=PATIENCE):
    """Calls check until it returns want; ends the program when it does not in time."""
    end = time.monotonic() + seconds
    while True:
        got = check()
        if got == want:
            return
        if time.monotonic() > end:
            sys.exit(f"got {got!r}, want {want!r}")
        time.sleep(0.1)


def expect(what, got, want):
    """Ends the program unless got is want, else says what was proved."""
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")
    proved(what)


def proved(what):
    print(f"     {what}", flush=True)


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


class Device:
    def __init__(self, document, token):
        self.document, self.id, self.name, self.token = document, document["id"]["id"], document["name"], token


class Person:
    """Somebody who is logged in."""

    def __init__(self, user="tenant@thingsboard.org", password="tenant"):
        self.token = None
        self.token = self.call("POST", "/api/auth/login", {"username": user, "password": password})["token"]

    def call(self, method, path, body=None, timeout=30, content_type="application/json"):
        """Sends body (bytes as they are, else as JSON) and returns the answer: decoded, if it is JSON, else its text."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": content_type}
        if self.token:
            headers["X-Authorization"] = "Bearer " + self.token
        request = urllib.request.Request(BASE + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as refused:
            raise Refused(f"{method} {path}", refused.code, refused.read().decode()) from None
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text

    def device(self, kind="default", gateway=False, name=None):
        token = unique("token").replace("-", "")
        document = {"name": name or unique("device"), "type": kind}
        if gateway:
            document["additionalInfo"] = {"gateway": True}
        return Device(self.call("POST", "/api/device?accessToken=" + token, document), token)

    def find(self, name):
        """The device called name, or None."""
        try:
            return Device(self.call("GET", "/api/tenant/devices?deviceName=" + name), None)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def credentials(self, device, kind, identity=None, value=None):
        """Gives a device other credentials."""
        had = self.call("GET", f"/api/device/{device.id}/credentials")
        had.update(credentialsType=kind, credentialsId=identity, credentialsValue=value)
        return self.call("POST", "/api/device/credentials", had)

    def profile(self, transport="DEFAULT", provision=None, chain=None, configuration=None):
        """A device profile; provision is (type, key, secret, further members), chain the id of a rule chain."""
        kind, key, secret, more = provision or ("DISABLED", None, None, {})
        document = {
            "name": unique("profile"),
            "type": "DEFAULT",
            "transportType": transport,
            "provisionType": kind,
            "provisionDeviceKey": key,
            "profileData": {
                "configuration": {"type": "DEFAULT"},
                "transportConfiguration": configuration or {"type": transport},
                "provisionConfiguration": {"type": kind, "provisionDeviceSecret": secret, **more},
            },
        }
        if chain:
            document["defaultRuleChainId"] = {"entityType": "RULE_CHAIN", "id": chain}
        return self.call("POST", "/api/deviceProfile", document)

    def series(self, device, *keys):
        """All values of each key that has any, the oldest first."""
        path = f"/api/plugins/telemetry/DEVICE/{device.id}/values/timeseries?keys={','.join(keys)}"
        found = self.call("GET", path + "&startTs=0&endTs=4102444800000&limit=1000&agg=NONE&useStrictDataTypes=true")
        return {key: [point["value"] for point in reversed(points)] for key, points in found.items() if points}

    def attributes(self, device, scope="CLIENT_SCOPE"):
        found = self.call("GET", f"/api/plugins/telemetry/DEVICE/{device.id}/values/attributes/{scope}")
        return {one["key"]: one["value"] for one in found}

    def share(self, device, attributes):
        self.call("POST", f"/api/plugins/telemetry/DEVICE/{device.id}/attributes/SHARED_SCOPE", attributes)

    def unshare(self, device, *keys):
        self.call("DELETE", f"/api/plugins/telemetry/DEVICE/{device.id}/SHARED_SCOPE?keys={','.join(keys)}")

    def ask(self, device, method, params, way="twoway", **more):
        """An RPC to a device; returns what the device answers."""
        return self.call("POST", f"/api/rpc/{way}/{device.id}", {"method": method, "params": params, **more}, timeout=60)

    def firmware(self, device, data, title, version, kind="FIRMWARE"):
        """Keeps data as a package of the device's profile and assigns it to the device."""
        package = self.call("POST", "/api/otaPackage", {
            "deviceProfileId": device.document["deviceProfileId"], "type": kind, "title": title, "version": version, "usesUrl": False,
        })
        boundary = uuid.uuid4().hex
        body = b"".join([
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{title}.bin"\r\n'.encode(),
            b"Content-Type: application/octet-stream\r\n\r\n", data, f"\r\n--{boundary}--\r\n".encode(),
        ])
        path = f"/api/otaPackage/{package['id']['id']}?checksumAlgorithm=SHA256"
        self.call("POST", path, body, content_type="multipart/form-data; boundary=" + boundary)
        document = self.call("GET", f"/api/device/{device.id}")
        document["firmwareId" if kind == "FIRMWARE" else "softwareId"] = package["id"]
        self.call("POST", "/api/device", document)

    def answering_chain(self):
        """A rule chain that stores readings and attributes and answers what devices ask; returns its id."""
        chain = self.call("POST", "/api/ruleChain", {"name": unique("answers"), "type": "CORE"})
        kinds = "org.thingsboard.rule.engine."
        script = "return {msg: {method: msg.method, asked: msg.params}, metadata: metadata, msgType: msgType};"
        nodes = [
            ("filter.TbMsgTypeSwitchNode", {"version": 0}),
            ("telemetry.TbMsgTimeseriesNode", {"defaultTTL": 0}),
            ("telemetry.TbMsgAttributesNode", {"scope": "CLIENT_SCOPE", "notifyDevice": "false"}),
            ("transform.TbTransformMsgNode", {"scriptLang": "JS", "jsScript": script}),
            ("rpc.TbSendRPCReplyNode", {"serviceIdMetaDataAttribute": "serviceId", "sessionIdMetaDataAttribute": "sessionId",
                                        "requestIdMetaDataAttribute": "requestId"}),
            ("rpc.TbSendRPCRequestNode", {"timeoutInSeconds": 60}),
        ]
        connections = [(0, 1, "Post telemetry"), (0, 2, "Post attributes"), (0, 3, "RPC Request from Device"), (3, 4, "Success"),
                       (0, 5, "RPC Request to Device")]
        self.call("POST", "/api/ruleChain/metadata", {
            "ruleChainId": chain["id"], "firstNodeIndex": 0, "ruleChainConnections": None,
            "nodes": [{"type": kinds + kind, "name": kind, "configuration": configuration, "additionalInfo": {}}
                      for kind, configuration in nodes],
            "connections": [{"fromIndex": source, "toIndex": target, "type": label} for source, target, label in connections],
        })
        return chain["id"]["id"]


def customers_device(tenant, kind="default"):
    """A device without a customer, and a user of a customer who may claim it."""
    return tenant.device(kind), Person("customer@thingsboard.org", "customer")


def claim(person, device, secret):
    """Claims a device and returns what the platform says: SUCCESS, FAILURE or CLAIMED."""
    try:
        return person.call("POST", f"/api/customer/device/{device.name}/claim", {"secretKey": secret})["response"]
    except Refused as refused:
        return refused.body.strip('"')


def command(tenant, what, *arguments):
    """What the shell's clients ask for."""
    if what == "answering":
        return tenant.profile(chain=tenant.answering_chain())["name"]
    if what == "provisioning":
        key, secret = unique("key"), unique("secret")
        tenant.profile(provision=("ALLOW_CREATE_NEW_DEVICES", key, secret, {}))
        return f"{key} {secret}"
    if what == "chain":
        with open(arguments[0], encoding="ascii") as file:
            more = {"certificateRegExPattern": "(.*)", "allowCreateNewDevicesByX509Certificate": True}
            return tenant.profile(provision=("X509_CERTIFICATE_CHAIN", None, file.read(), more))["name"]
    if what == "find":
        device = tenant.find(arguments[0])
        return device and f"{device.id} {device.document['type']}"
    if what == "device":
        device = tenant.device(*arguments)
        return f"{device.id} {device.token} {device.name}"
    device = Device({"id": {"id": arguments[0]}, "name": ""}, None)
    if what == "latest":
        eventually(lambda: {key: values[-1] for key, values in tenant.series(device, *json.loads(arguments[1])).items()},
                   json.loads(arguments[1]))
    elif what == "attributes":
        eventually(lambda: tenant.attributes(device), json.loads(arguments[1]))
    elif what == "share":
        tenant.share(device, json.loads(arguments[1]))
    elif what == "ask":
        return json.dumps(tenant.ask(device, arguments[1], json.loads(arguments[2])))
    elif what == "certificate":
        with open(arguments[1], encoding="ascii") as file:
            tenant.credentials(device, "X509_CERTIFICATE", value=file.read())
    elif what == "delete":
        tenant.call("DELETE", "/api/device/" + device.id)
    elif what == "key":
        value = json.dumps({"clientId": None, "userName": arguments[1], "password": arguments[2]})
        tenant.credentials(device, "MQTT_BASIC", value=value)
    elif what == "firmware":
        with open(arguments[1], "rb") as file:
            device.document = tenant.call("GET", f"/api/device/{device.id}")
            tenant.firmware(device, file.read(), arguments[2], arguments[3])
    elif what == "claim":
        device.name = tenant.call("GET", f"/api/device/{device.id}")["name"]
        return claim(Person("customer@thingsboard.org", "customer"), device, arguments[1])
    else:
        sys.exit(f"nobody does {what!r}")
    return ""


if __name__ == "__main__":
    ANSWER = command(Person(), *sys.argv[1:])
    if ANSWER:
        print(ANSWER)

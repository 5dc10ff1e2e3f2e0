# SPDX-License-Identifier: BSD-3-Clause
"""The API, as a program sees it: what test-api.sh runs. Prints TAP.

Each case has a daemon of its own; what it asks is held against contrib/api/openapi.yaml.
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import yaml

VUBLKD = os.environ["VUBLKD"]
SLOW = float(os.environ.get("TEST_SLOW_FACTOR", "1"))
SIZE = 4 << 20

with open(os.path.join(os.environ["SRCDIR"], "contrib/api/openapi.yaml"), encoding="utf-8") as file:
    SPEC = yaml.safe_load(file)


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def until(look, what):
    end = time.monotonic() + 20 * SLOW
    while not look():
        check(time.monotonic() < end, f"in time: {what}")
        time.sleep(0.01)


# ---- the description -----------------------------------------------------------------------

def resolve(node):
    while "$ref" in node:
        target = SPEC
        for part in node["$ref"].split("/")[1:]:
            target = target[part]
        node = target
    return node


def conforms(value, schema, where):
    """As far as our description goes."""
    schema = resolve(schema)
    if "oneOf" in schema:
        check(any(kind(value) == resolve(s)["type"] for s in schema["oneOf"]), f"{where}: {value!r}")
        return
    check(kind(value) == schema["type"], f"{where} is a {schema['type']}: {value!r}")
    check("enum" not in schema or value in schema["enum"], f"{where} is none of the enum: {value!r}")
    if schema["type"] == "array":
        for i, item in enumerate(value):
            conforms(item, schema["items"], f"{where}[{i}]")
    elif schema["type"] == "object":
        for name in schema.get("required", []):
            check(name in value, f"{where} has {name}: {value!r}")
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            check(inner, f"{where} has {name}, which is not described")
            conforms(item, inner, f"{where}.{name}")


def kind(value):
    return {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}.get(
        type(value), "nothing")


def described(path):
    """The path's pattern in the description."""
    parts = path.split("?")[0].split("/")
    for pattern in SPEC["paths"]:
        pieces = pattern.split("/")
        if len(pieces) == len(parts) and all(p == q or p[:1] == "{" for p, q in zip(pieces, parts)):
            return pattern
    return None


def check_described(method, path, status, body):
    pattern = described(path)
    if not pattern or method.lower() not in SPEC["paths"][pattern]:
        check(status in (404, 405), f"{method} {path} is not described, and answered with {status}")
        return
    responses = SPEC["paths"][pattern][method.lower()]["responses"]
    check(str(status) in responses, f"{method} {path}: {status} is not described")
    schema = resolve(responses[str(status)])["content"]["application/json"]["schema"]
    conforms(body, schema, f"{method} {path}")
    USED.add((pattern, method.lower()))


USED = set()


# ---- the daemon ------------------------------------------------------------------------------

class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20 * SLOW)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    def __init__(self, *options):
        self.dir = tempfile.mkdtemp()
        self.api = self.dir + "/api"
        os.mkdir(self.dir + "/conf")
        self.log = open(self.dir + "/log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [VUBLKD, "--api-socket=" + self.api] + [o.replace("DIR", self.dir) for o in options],
            stderr=self.log, close_fds=False)
        until(lambda: os.path.exists(self.api) or self.process.poll() is not None, "the socket")
        until(lambda: self.has_logged("the API is at"), "it says so")

    def has_logged(self, text):
        with open(self.dir + "/log", encoding="utf-8") as log:
            return text in log.read()

    def ask(self, method, path, body=None):
        """Status and body, which is as described."""
        connection = Connection(self.api)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
        connection.request(method, path, data)
        answer = connection.getresponse()
        text = answer.read()
        check(answer.getheader("Content-Type") == "application/json", "it is JSON")
        value = json.loads(text)
        if answer.status >= 400:
            check(value.keys() == {"error"} and value["error"], f"an error says so: {value!r}")
        if answer.status not in (413,):
            check_described(method, path, answer.status, value)
        connection.close()
        return answer.status, value

    def options(self, name, **more):
        image = f"{self.dir}/{name}.img"
        if not os.path.exists(image):
            with open(image, "wb") as new:
                new.truncate(SIZE)
        return {"blk-file": image, "socket-path": f"{self.dir}/{name}.sock",
                **{key.replace("_", "-"): value for key, value in more.items()}}

    def state(self, name):
        status, disk = self.ask("GET", "/v1/disks/" + name)
        return disk["state"] if status == 200 else status

    def add(self, name, **more):
        status, disk = self.ask("PUT", "/v1/disks/" + name, self.options(name, **more))
        check(status == 202 and disk["state"] == "opening", f"{status} {disk}")
        until(lambda: self.state(name) == "served", f"{name} is served")

    def front_end(self, name):
        """A connection that has got an answer."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20 * SLOW)
        client.connect(f"{self.dir}/{name}.sock")
        client.sendall(struct.pack("=III", 1, 1, 0))  # GET_FEATURES
        check(len(client.recv(100)) == 20, "a front-end gets an answer")
        return client

    def end(self):
        check(self.process.poll() is None, "it lives at the end")
        self.process.send_signal(signal.SIGTERM)
        check(self.process.wait(20 * SLOW) == 0, "it exits with status 0")
        check(not os.path.exists(self.api), "its socket goes along")

    def clean(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir)


# ---- cases -----------------------------------------------------------------------------------

def disks_come_and_go(d):
    check(d.ask("GET", "/v1/disks") == (200, []), "there is none")
    d.add("a", serial="A-1", num_queues=4, read_only=True)
    d.add("b", cache="writeback", physical_block_size="64K")
    status, disk = d.ask("GET", "/v1/disks/a")
    check(disk["options"] == d.options("a", serial="A-1", num_queues=4, read_only=True), disk)
    check((disk["size"], disk["origin"], disk["connected"]) == (SIZE, "api", False), disk)
    check(disk["read-only"] is True and disk["block-size"] == 512, disk)
    check([x["name"] for x in d.ask("GET", "/v1/disks")[1]] == ["a", "b"], "both are listed")
    status, answer = d.ask("GET", "/v1/status")
    check(answer["disks"] == {"all": 2, "served": 2, "opening": 0, "failed": 0}, answer)
    check(answer["pid"] == d.process.pid, answer)
    d.front_end("b").close()
    check(d.ask("DELETE", "/v1/disks/a")[0] == 202, "it may go")
    until(lambda: d.state("a") == 404, "it goes")
    check(not os.path.exists(d.dir + "/a.sock"), "its socket goes along")
    d.add("a")
    d.front_end("a").close()


def a_connected_disk_stays_unless_forced(d):
    d.add("a")
    client = d.front_end("a")
    check(d.ask("GET", "/v1/disks/a")[1]["connected"], "it is connected")
    check(d.ask("DELETE", "/v1/disks/a")[0] == 409, "it may not go")
    check(d.ask("DELETE", "/v1/disks/a?force=yes")[0] == 409, "only true forces")
    check(d.ask("PATCH", "/v1/disks/a", {"serial": "2"})[0] == 409, "it may not change")
    check(d.ask("PUT", "/v1/disks/a", d.options("a"))[0] == 200, "the same is no change")
    client.sendall(struct.pack("=III", 1, 1, 0))
    check(len(client.recv(100)) == 20, "nothing has happened to the front-end")
    check(d.ask("DELETE", "/v1/disks/a?force=true")[0] == 202, "it has to go")
    check(client.recv(100) == b"", "the front-end is disconnected")
    until(lambda: d.state("a") == 404, "it goes")


def what_changes_is_what_is_said(d):
    d.add("a", serial="1", num_queues=4)
    status, disk = d.ask("PATCH", "/v1/disks/a", {"serial": "2", "num-queues": None})
    check(status == 202, status)
    until(lambda: d.state("a") == "served", "it is served again")
    disk = d.ask("GET", "/v1/disks/a")[1]
    check(disk["options"] == d.options("a", serial="2"), disk)
    check(d.ask("PUT", "/v1/disks/a", d.options("a", seg_max=62))[0] == 202, "PUT replaces")
    until(lambda: d.state("a") == "served", "it is served again")
    check(d.ask("GET", "/v1/disks/a")[1]["options"] == d.options("a", seg_max=62), "all of it")
    check(d.ask("PATCH", "/v1/disks/a", {"seg-max": 0})[0] == 400, "wrong values are refused")
    check(d.ask("GET", "/v1/disks/a")[1]["options"] == d.options("a", seg_max=62), "as it was")


def limits_change_under_a_front_end(d):
    """How well they are kept is for proto/test-limits."""
    d.add("a", iops_total=1000)
    client = d.front_end("a")
    status, disk = d.ask("PATCH", "/v1/disks/a", {"iops-total": 50, "bps-read": "10M"})
    check(status == 200 and disk["connected"], f"{status} {disk}")
    check(disk["options"] == d.options("a", iops_total=50, bps_read="10M"), disk)
    check(d.ask("PATCH", "/v1/disks/a", {"iops-total-max": 10})[0] == 400, "it is below the average")
    check(d.ask("PATCH", "/v1/disks/a", {"iops-total": None, "serial": "1"})[0] == 409, "not all is")
    check(d.ask("GET", "/v1/disks/a")[1]["options"]["iops-total"] == 50, "so nothing changes")
    check(d.ask("PATCH", "/v1/disks/a", {"iops-total": None, "bps-read": None})[0] == 200, "none")
    check(d.ask("GET", "/v1/disks/a")[1]["options"] == d.options("a"), "is left")
    client.sendall(struct.pack("=III", 1, 1, 0))
    check(len(client.recv(100)) == 20, "nothing has happened to the front-end")
    client.close()


def bench(d, name, *options):
    command = [os.path.join(os.environ["BUILDDIR"], "contrib/bench/vublk-bench"),
               f"--socket-path={d.dir}/{name}.sock", "--warmup=0", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    check(done.returncode == 0, done.stdout)


def a_limit_holds_and_is_counted(d):
    """Also one that comes while requests are held by another."""
    d.add("a", iops_write=20)
    listener = Events(d)
    begin = time.monotonic()
    bench(d, "a", "--rw=randwrite", "--seconds=1", "--queue-depth=8")
    seconds = time.monotonic() - begin
    counters = d.ask("GET", "/v1/disks/a")[1]["counters"]
    # A tenth of a second's worth may come at once; and what was in flight ends at once.
    check(counters["write"]["completed"] <= 20 * seconds + 2 + 8, f"{counters} in {seconds} s")
    check(counters["held"] > 0 and counters["throttled-ns"] > 10**8, counters)
    # It went on all the time, which is told once.
    listener.expect("a", "connected", "queue-started")
    check(listener.expect("a", "throttled")["detail"] == "iops-write", "by which limit")
    listener.expect("a", "queue-stopped", "disconnected")
    listener.close()
    check(counters["held-now"] == 0, counters)
    check('vublkd_disk_requests_held_total{disk="a"} ' + str(counters["held"]) in metrics(d), "shown")
    check(d.ask("PATCH", "/v1/disks/a", {"iops-write": None})[0] == 200, "no limit")
    bench(d, "a", "--rw=randwrite", "--seconds=0.2", "--queue-depth=8")
    check(d.ask("GET", "/v1/disks/a")[1]["counters"]["held"] == counters["held"], "holds nothing")


class Events:
    """Somebody who listens."""

    def __init__(self, d):
        self.connection = Connection(d.api)
        self.connection.request("GET", "/v1/events")
        self.answer = self.connection.getresponse()
        check(self.answer.getheader("Content-Type") == "application/x-ndjson", "it is lines of JSON")
        USED.add(("/v1/events", "get"))

    def next(self):
        while True:
            line = self.answer.readline()
            check(line.endswith(b"\n"), f"a whole line: {line!r}")
            if line != b"\n":
                event = json.loads(line)
                conforms(event, SPEC["components"]["schemas"]["Event"], "event")
                return event

    def expect(self, disk, *names):
        for name in names:
            try:
                event = self.next()
            except TimeoutError as error:
                raise Failed(f"{disk}: {name} comes in time") from error
            check((event["disk"], event["event"]) == (disk, name), f"{event}, not {name}")
        return event

    def close(self):
        self.connection.close()


def events_are_told_as_they_happen(d):
    listeners = [Events(d) for _ in range(3)]
    d.add("a")
    d.front_end("a").close()
    bench(d, "a", "--rw=randwrite", "--seconds=0.05")
    os.truncate(d.dir + "/a.img", 2 * SIZE)
    d.ask("POST", "/v1/disks/a/resize")
    d.ask("PATCH", "/v1/disks/a", {"iops-total": 50})
    d.ask("DELETE", "/v1/disks/a")
    options = d.options("b")
    os.remove(options["blk-file"])
    d.ask("PUT", "/v1/disks/b", options)
    for listener in listeners:
        listener.expect("a", "served", "connected", "disconnected", "connected", "queue-started",
                        "queue-stopped", "disconnected")
        grown = listener.expect("a", "grown")
        check(grown["detail"] == str(2 * SIZE), grown)
        changed = listener.expect("a", "changed")
        check(changed["detail"] == "iops-total", changed)
        listener.expect("a", "removed")
        failed = listener.expect("b", "failed")
        check("No such file" in failed["detail"], failed)
    listeners[0].close()
    listeners[1].close()
    d.ask("PUT", "/v1/disks/b", d.options("b"))
    listeners[2].expect("b", "served")
    # The daemon ends while one listens.


def who_does_not_read_misses_events(d):
    d.add("a")
    slow = socket.socket(socket.AF_UNIX)
    slow.connect(d.api)
    slow.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: slow.recv(1, socket.MSG_PEEK), "it is answered")
    others = [Events(d) for _ in range(15)]
    connection = Connection(d.api)
    connection.request("GET", "/v1/events")
    check(connection.getresponse().status == 503, "there is a limit")
    for _ in range(1000):
        d.ask("PATCH", "/v1/disks/a", {"iops-total": 50})
        d.ask("PATCH", "/v1/disks/a", {"iops-total": 60})
    text = b""
    slow.settimeout(0.5)
    try:
        while True:
            text += slow.recv(1 << 20)
    except TimeoutError:
        pass
    check(b'"missed"' in text, "it is told so")
    for other in others:
        other.close()
    slow.close()


def mistakes_are_named(d):
    d.add("a")
    usual = d.options("b")
    for body, words in (
            (b"", "line"), (b"{", "line 1"), (b"[]", "object"), (b'"x"', "line"),
            (b'{"serial": "1", "serial": "2"}', "duplicate"), (b"\xff", "line"),
            ({}, "socket-path"), ({**usual, "sreial": "x"}, "sreial is nothing that a disk"),
            ({**usual, "serial": ["x"]}, "serial must be a string"),
            ({**usual, "serial": 1.5}, "serial must be a string"),
            ({**usual, "serial": "a\0b"}, "line"), ({**usual, "read-only": 1}, "true or false"),
            ({**usual, "serial": True}, "serial takes a value"),
            ({**usual, "num-queues": 257}, "num-queues must be a number from 1 to 256"),
            ({**usual, "num-queues": -1}, "num-queues must be"), ({**usual, "fd": 3}, "exclude"),
            ({**usual, "blk-file": ""}, "blk-file is empty"), ({**usual, "name": "x"}, "name"),
            ({**usual, "num-workers": 2}, "num-workers is nothing")):
        status, answer = d.ask("PUT", "/v1/disks/b", body)
        check(status == 400 and words in answer["error"], f"{body}: {status} {answer}")
    check(d.ask("PUT", "/v1/disks/" + 101 * "x", usual)[0] == 400, "a long name")
    check(d.ask("PUT", "/v1/disks/a%20b", usual)[0] == 400, "a name with a blank")
    check(d.ask("PUT", "/v1/disks/.b", usual)[0] == 400, "a hidden name")
    status, answer = d.ask("PUT", "/v1/disks/b", {**usual, "socket-path": d.dir + "/a.sock"})
    check(status == 409 and "that of the disk a" in answer["error"], answer)
    check(d.state("b") == 404, "there is still no b")
    for method, path in (("GET", "/v1/disks/b"), ("DELETE", "/v1/disks/b"),
                         ("PATCH", "/v1/disks/b"), ("POST", "/v1/disks/b/resize"), ("GET", "/"),
                         ("GET", "/v1/disks/"), ("GET", "/v1/disks/a/b"), ("GET", "/v1/disks/..")):
        check(d.ask(method, path, {})[0] == 404, f"{method} {path}")
    for method, path in (("POST", "/v1/disks"), ("DELETE", "/v1/status"), ("GET", "/v1/reload"),
                         ("BREW", "/v1/disks/a")):
        check(d.ask(method, path)[0] == 405, f"{method} {path}")
    check(d.state("a") == "served", "a is served all the time")


def what_cannot_be_opened_says_why(d):
    options = d.options("a")
    os.rename(options["blk-file"], d.dir + "/away")
    check(d.ask("PUT", "/v1/disks/a", options)[0] == 202, "it is tried")
    until(lambda: d.state("a") == "failed", "it fails")
    check("No such file" in d.ask("GET", "/v1/disks/a")[1]["error"], "why is said")
    check(d.ask("POST", "/v1/disks/a/resize")[0] == 409, "it has no size")
    os.rename(d.dir + "/away", options["blk-file"])
    check(d.ask("PUT", "/v1/disks/a", options)[0] == 202, "the same is tried again")
    until(lambda: d.state("a") == "served", "it is served")
    check("error" not in d.ask("GET", "/v1/disks/a")[1], "no error is left")


def one_that_leaves_can_come_back(d):
    d.add("a")
    for _ in range(20):
        check(d.ask("DELETE", "/v1/disks/a")[0] == 202, "it may go")
        check(d.ask("PUT", "/v1/disks/a", d.options("a"))[0] == 202, "and come back")
    until(lambda: d.state("a") == "served", "it is served")
    check(d.ask("DELETE", "/v1/disks/a")[0] == 202, "it may go")
    check(d.ask("PATCH", "/v1/disks/a", {"serial": "1"})[0] in (404, 409), "nothing can change then")


def a_socket_is_one_disks_however_spelled(d):
    d.add("a")
    for path in ("{}//a.sock", "{}/conf/../a.sock", "{}/./a.sock"):
        options = {**d.options("b"), "socket-path": path.format(d.dir)}
        status, answer = d.ask("PUT", "/v1/disks/b", options)
        check(status == 409 and "that of the disk a" in answer["error"], f"{status} {answer}")


def a_connection_that_is_over_ends_once(d):
    """The front-end goes and the disk is removed before the daemon has seen either."""
    until(lambda: d.state("main") == "served", "it is served")
    d.process.send_signal(signal.SIGSTOP)
    OURS.close()
    connection = Connection(d.api)
    connection.request("DELETE", "/v1/disks/main?force=true")
    d.process.send_signal(signal.SIGCONT)
    check(connection.getresponse().status in (202, 404), "it is answered")
    until(lambda: d.state("main") == 404 or d.state("main") == "ended", "it ends")


def an_image_that_grows_is_noticed(d):
    d.add("a")
    os.truncate(d.dir + "/a.img", 2 * SIZE)
    status, disk = d.ask("POST", "/v1/disks/a/resize")
    check(status == 200 and disk["size"] == 2 * SIZE, disk)


def files_and_the_api_go_together(d):
    def tell(name, more=""):
        o = d.options(name)
        with open(f"{d.dir}/conf/{name}.conf", "w", encoding="utf-8") as conf:
            conf.write(f"blk-file={o['blk-file']}\nsocket-path={o['socket-path']}\n{more}")

    tell("f")
    d.add("a")
    status, answer = d.ask("POST", "/v1/upgrade")
    check(status == 409 and "--supervise" in answer["error"], "nobody would start another one")
    check(d.ask("POST", "/v1/reload") == (200, {"errors": 0}), "the directory is read")
    until(lambda: d.state("f") == "served", "its disk comes")
    check(d.ask("GET", "/v1/disks/f")[1]["origin"] == "file", "and is known as one of a file")
    tell("a")
    tell("g", "sreial=x\n")
    check(d.ask("POST", "/v1/reload") == (200, {"errors": 2}), "two things are wrong")
    check(d.state("a") == "served" and d.state("g") == 404, "nothing else happens")
    os.remove(d.dir + "/conf/a.conf")
    os.remove(d.dir + "/conf/g.conf")
    check(d.ask("POST", "/v1/reload") == (200, {"errors": 0}), "a was never a file's")
    check(d.state("a") == "served", "so it stays")
    check(d.ask("PATCH", "/v1/disks/f", {"serial": "x"})[0] == 202, "one of a file may change")
    until(lambda: d.state("f") == "served", "it is served")
    check(d.ask("POST", "/v1/reload") == (200, {"errors": 0}), "until the files are read")
    until(lambda: d.state("f") == "served", "it is served")
    check("serial" not in d.ask("GET", "/v1/disks/f")[1]["options"], "then they count")


def the_disk_of_the_command_line_is_fixed(d):
    status, disks = d.ask("GET", "/v1/disks")
    name = disks[0]["name"]
    check(disks[0]["origin"] == "command-line" and name == "main", disks)
    until(lambda: d.state(name) == "served", "it is served")
    check(d.ask("PATCH", "/v1/disks/main", {"serial": "1"})[0] == 409, "it cannot change")
    check(d.ask("PUT", "/v1/disks/main", d.options("x"))[0] == 409, "nor be replaced")
    check(d.ask("PATCH", "/v1/disks/main", {"iops-total": 100})[0] == 200, "but its limits can")
    d.add("a")
    check(d.ask("DELETE", "/v1/disks/main")[0] == 202, "but go")
    until(lambda: d.state("main") == 404, "it goes")
    check(d.state("a") == "served", "and the process goes on")


def bad_clients_disturb_nobody(d):
    d.add("a")
    check(d.ask("PUT", "/v1/disks/b", b"x" * 65537)[0] == 413, "a body that is too large")
    check(d.ask("PUT", "/v1/disks/b", b" " * 65536)[0] == 400, "one that just is not")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(30)]
    for client in silent:
        client.connect(d.api)
    for i, client in enumerate(silent[10:]):
        client.sendall((b"\0\xff\r\n" * 100, b"GET /v1/disks HTTP/1.1\r\nHost:", b"PUT / HTTP/9\r\n",
                        b"PUT /v1/disks/b HTTP/1.1\r\nContent-Length: 100000000\r\n\r\nx")[i % 4])
    begin = time.monotonic()
    check(d.state("a") == "served", "others are answered")
    d.add("c")
    d.front_end("c").close()
    check(time.monotonic() - begin < 5 * SLOW, "in time")
    for client in silent:
        client.close()
    until(lambda: len(os.listdir(f"/proc/{d.process.pid}/fd")) < 45, "their descriptors are closed")


def too_many_clients_wait(d):
    def descriptors():
        return len(os.listdir(f"/proc/{d.process.pid}/fd"))

    before = descriptors()
    clients = [socket.socket(socket.AF_UNIX) for _ in range(80)]
    for client in clients:
        client.connect(d.api)
    until(lambda: descriptors() >= before + 64, "64 are accepted")
    check(descriptors() == before + 64, "and no more")
    for client in clients:
        client.close()
    check(d.ask("GET", "/v1/disks") == (200, []), "then it answers again")


def rest_costs_nothing(d):
    d.add("a")

    def switches():
        total = 0
        for task in os.listdir(f"/proc/{d.process.pid}/task"):
            with open(f"/proc/{d.process.pid}/task/{task}/status", encoding="ascii") as status:
                total += sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)
        return total

    def rests():
        before = switches()
        time.sleep(0.3)
        return switches() == before

    until(rests, "it rests")
    before = switches()
    time.sleep(1)
    check(switches() == before, f"{switches() - before} wake-ups in a second")


def all_that_is_described_was_asked(d):
    described_all = {(path, method) for path, item in SPEC["paths"].items() for method in item
                     if method != "parameters"}
    check(USED == described_all, f"not asked: {described_all - USED}")


def what_is_counted_is_shown(d):
    """A client writes and reads; see proto/test-counters for how exact it is."""
    d.add("a", read_only=False)
    bench(d, "a", "--rw=randwrite", "--seconds=0.2")
    counters = d.ask("GET", "/v1/disks/a")[1]["counters"]
    writes = counters["write"]
    check(writes["completed"] > 0 and writes["bytes"] == 4096 * writes["completed"], writes)
    check(sum(writes["latency-histogram"]) == writes["completed"], writes)
    check(writes["errors"] == 0 and counters["in-flight"] == 0 and writes["latency-ns"] > 0, counters)
    workers = d.ask("GET", "/v1/workers")[1]
    check(len(workers) == 2 and sum(w["cpu-ns"] for w in workers) > 0, workers)
    text = metrics(d)
    for line in (f'vublkd_disk_request_bytes_total{{disk="a",kind="write"}} {writes["bytes"]}',
                 'vublkd_disk_served{disk="a"} 1', 'vublkd_disk_connected{disk="a"} 0',
                 f'vublkd_disk_size_bytes{{disk="a"}} {SIZE}', 'vublkd_worker_queues{worker="1"} 0',
                 'vublkd_disk_request_duration_seconds_count{disk="a",kind="write"} '
                 f'{writes["completed"]}'):
        check(line + "\n" in text, f"{line} is in {text}")
    promtool(text)
    with open(os.environ["SRCDIR"] + "/contrib/grafana/vublkd.json", encoding="utf-8") as board:
        shown = set(re.findall(r"vublkd_[a-z_]+", board.read()))
    known = set(re.findall(r"^(vublkd_[a-z_]+)", text, re.MULTILINE))
    check(len(shown) > 8 and shown <= known, f"the dashboard shows what there is: {shown - known}")


def metrics(d):
    connection = Connection(d.api)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    check(answer.status == 200 and answer.getheader("Content-Type").startswith("text/plain"), "text")
    USED.add(("/metrics", "get"))
    return answer.read().decode()


def promtool(text):
    """Prometheus's own opinion."""
    tool = os.path.join(os.environ["BUILDDIR"], "promtool/usr/bin/promtool")
    if not os.path.exists(tool):
        print("# not checked by promtool, which is not there")
        return
    answer = subprocess.run([tool, "check", "metrics"], input=text.encode(), check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check(answer.returncode == 0 and not answer.stdout, answer.stdout.decode())


def prometheus_sees_metrics_and_nothing_else(d):
    d.add("a")
    until(lambda: d.has_logged("the API"), "it is up")
    for path, status in (("/metrics", 200), ("/v1/disks", 404), ("/v1/status", 404), ("/", 404)):
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20 * SLOW)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        check(answer.status == status, f"{path}: {answer.status}")
        check(status == 404 or 'vublkd_disk_served{disk="a"} 1\n' in body, body)
    connection.request("DELETE", "/metrics")
    check(connection.getresponse().status == 405, "it only shows")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PORT = free_port()
OURS, THEIRS = socket.socketpair()
THEIRS.set_inheritable(True)


CASES = [
    (disks_come_and_go, []),
    (a_connected_disk_stays_unless_forced, []),
    (what_changes_is_what_is_said, []),
    (limits_change_under_a_front_end, []),
    (a_limit_holds_and_is_counted, ["--num-workers=2"]),
    (events_are_told_as_they_happen, []),
    (who_does_not_read_misses_events, []),
    (one_that_leaves_can_come_back, []),
    (a_socket_is_one_disks_however_spelled, []),
    (a_connection_that_is_over_ends_once,
     ["--engine=null", "--size=1M", "--name=main", f"--fd={THEIRS.fileno()}"]),
    (mistakes_are_named, []),
    (what_cannot_be_opened_says_why, []),
    (an_image_that_grows_is_noticed, []),
    (files_and_the_api_go_together, ["--config-dir=DIR/conf"]),
    (the_disk_of_the_command_line_is_fixed,
     ["--engine=null", "--size=1M", "--name=main", "--socket-path=DIR/main.sock"]),
    (bad_clients_disturb_nobody, []),
    (too_many_clients_wait, []),
    (what_is_counted_is_shown, ["--num-workers=2"]),
    (prometheus_sees_metrics_and_nothing_else, [f"--metrics-address=127.0.0.1:{PORT}"]),
    (rest_costs_nothing, []),
    (all_that_is_described_was_asked, []),
]


def main():
    status = 0
    only = sys.argv[1:]
    for number, (case, options) in enumerate(CASES, 1):
        name = case.__name__.replace("_", " ")
        if only and case.__name__ not in only:
            continue
        daemon = None
        try:
            daemon = Daemon(*options)
            case(daemon)
            daemon.end()
            print(f"ok {number} - {name}")
        except (Failed, OSError, ValueError, http.client.HTTPException) as error:
            status = 1
            print(f"not ok {number} - {name}\n# {type(error).__name__}: {error}")
            if daemon:
                with open(daemon.dir + "/log", encoding="utf-8") as log:
                    print("".join("# " + line for line in log.readlines()[-20:]), end="")
        finally:
            if daemon:
                daemon.clean()
        sys.stdout.flush()
    print(f"1..{len(CASES)}")
    return status


sys.exit(main())

# SPDX-License-Identifier: BSD-3-Clause
"""Listens where vublkctl looks for a vublkd, and is none: ctl_fake.py DIR. See test-ctl.sh.

In DIR it makes a socket for each way to answer, and `ready` when it listens on all. It answers one
request on each connection, until it is killed.
"""
import json
import os
import re
import socket
import sys
import threading
import time

KINDS = ("read", "write", "flush", "discard", "write_zeroes", "other")
STARTED = time.monotonic()


def counters(read=0, histogram=None, latency=0, held=0, held_now=0):
    def kind(n):
        return {"completed": n, "bytes": 1000 * n, "errors": 0, "merged": 0,
                "latency-ns": latency if n else 0,
                "latency-histogram": histogram if n and histogram else [n] + 27 * [0]}
    return {"in-flight": 7, "recovered": 0, "kicks": 1, "calls": 2, "held": held, "held-now": held_now,
            "throttled-ns": 2500000 * held,
            **{name: kind(read if name == "read" else 0) for name in KINDS}}


def disk(name, **more):
    return {"name": name, "state": "served", "origin": "api",
            "options": {"blk-file": "/an image"}, "connected": True, "size": 3 << 30,
            "block-size": 512, "queues": 2, "read-only": False, "engine": "io_uring", **more}


def since():
    return time.monotonic() - STARTED


def many_disks(path):
    """Disk `fast` reads 4000 times per second, each 2 us; `slow` 100 times. The worker runs half of it."""
    if path == "/v1/disks":
        return [disk("idle", connected=False), disk("slow"), disk("fast")]
    if path == "/v1/workers":
        ns = int(since() * 5e8)
        return [{"index": 0, "queues": 2, "iterations": 1, "sleeps": 1, "cpu-ns": ns,
                 "polling-ns": 0, "asleep-ns": ns}]
    n = int(since() * (4000 if path.endswith("fast") else 100)) + 1000
    return disk(path.rsplit("/", 1)[1], counters=counters(n, latency=2000 * n), rings=[])


EVIL = "a\x1b[31m\x07\x7f\u009b5m"


def event(name, disk_name="a", **more):
    return json.dumps({"time": "2026-11-29T13:20:00.123Z", "disk": disk_name, "event": name, **more}).encode()


# What the stream of events is, in the pieces in which it is sent. Then it ends.
STREAMS = {
    "events": [b"\n", event("connected") + b"\n" + event("grown", detail="4096")[:20],
               event("grown", detail="4096")[20:], b"\n\n\n" + event("connected", "b") + b"\n",
               b'{"event": "missed", "detail": "3"}\n', event("cut off")],
    "events-evil": [event(EVIL, EVIL, detail=EVIL) + b"\n"],
    "events-no-json": [event("connected") + b"\n", b"[[[\n"],
    "events-number": [b"5\n"],
    "events-text": [event(5) + b"\n"],
}

# The body, as JSON would have it, or a status with it.
ANSWERS = {
    "number": 5, "null": None, "object": {}, "list": [], "list-of-numbers": [5],
    "evil": [disk(EVIL, engine=EVIL)],
    "negative": [disk("a", size=-1)], "text-size": [disk("a", size="1")],
    "no-state": [{"name": "a"}], "options-list": [disk("a", options=[])],
    "no-histogram": disk("a", counters=counters(1, [1])), "rings": disk("a", rings=[5], counters=counters()),
    "throttled": disk("a", counters=counters(held=1000, held_now=3), options={
        "blk-file": "/an image", "iops-write": 500, "iops-write-max": 1000, "bps-read": "10M"}, **{
            "throttled-by": "iops-write", "rings": [
                {"index": 0, "worker": 1, "state": "running", "counters": counters(held_now=3)},
                {"index": 1, "worker": 0, "state": EVIL, "why-broken": EVIL, "counters": counters()}]}),
    "stateless": disk("a", counters=counters(), rings=[{"index": 0, "worker": 1, "counters": counters()}]),
    "opening": disk("a", state="opening"), "leaving": disk("a", state="leaving"),
    # 90 of 100 below 1024 ns, 8 below 4096, 1 below 8192, 1 that is longest
    "histogram": disk("a", rings=[], counters=counters(
        100, [90, 0, 8, 1] + 23 * [0] + [1], 150000)),
    "status": (500, {"error": "it is\x1b[31m broken"}), "moved": (302, {}),
    "many": (503, {"error": "so many are told"}),
}


def answer(mode, path):
    if mode == "echo":
        return 409, {"error": path}
    return many_disks(path) if mode == "top" else ANSWERS[mode]


def send_without_end(s, head, part):
    s.sendall(head)
    while True:
        s.sendall(part)


def serve(s, mode):
    request = s.recv(65536)
    if mode == "silent":
        while s.recv(65536):
            pass
    elif mode == "closes":
        pass
    elif mode == "rubbish":
        s.sendall(b"\xff\xfe\x00 good morning\r\n\r\n")
    elif mode == "no-json":
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[[[")
    elif mode == "body":
        send_without_end(s, b"HTTP/1.1 200 OK\r\n\r\n", (1 << 20) * b" ")
    elif mode == "headers":
        send_without_end(s, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")
    elif mode in STREAMS:
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in STREAMS[mode]:
            s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(0.05)
    elif mode == "line":
        send_without_end(s, b"HTTP/1.1 200 OK\r\n\r\n", (1 << 10) * b" ")
    elif mode == "drips":
        s.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            s.sendall(b" ")
            time.sleep(0.05)
    else:
        path = re.match(rb"\S+ (\S+)", request).group(1).decode()
        body = answer(mode, path)
        status, body = body if isinstance(body, tuple) else (200, body)
        text = json.dumps(body).encode()
        s.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
            status, len(text), text))


def listen(mode):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(sys.argv[1], mode))
    listener.listen(8)
    threading.Thread(target=accept, args=(listener, mode)).start()


def accept(listener, mode):
    while True:
        with listener.accept()[0] as s:
            try:
                serve(s, mode)
            except OSError:
                pass


for each in (*ANSWERS, *STREAMS, "line", "silent", "closes", "rubbish", "no-json", "body", "headers", "drips", "echo", "top"):
    listen(each)
with open(os.path.join(sys.argv[1], "ready"), "wb"):
    pass

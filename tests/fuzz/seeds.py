#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the fuzz targets' seeds: seeds.py DIRECTORY makes DIRECTORY/TARGET/NAME.

Each is an input that gets somewhere, in the form that the target eats: see its step().
"""
import os
import struct
import sys

Q = 0  # the queue
DESC, AVAIL, USED = 16, 24, 32  # in units of 256 bytes, as tell_addresses() wants them


def u16(n):
    return struct.pack("<H", n)


def u64(n):
    return struct.pack("<Q", n)


def features(choice):
    return bytes([2, choice])


PROTOCOL = bytes([3]) + u64(0xFFFFFFFFFFFF)  # too much: refused
MEMORY = bytes([4, 0])
HALF = bytes([4, 1])


def write(at, data):
    out = b""
    for i in range(0, len(data), 64):
        part = data[i:i + 64]
        out += bytes([12]) + u16(at + i) + bytes([len(part)]) + part
    return out


def start(size=16, base=0):
    return (bytes([5, Q, size]) + bytes([6, Q, DESC, AVAIL, USED]) + bytes([7, Q]) + u16(base) +
            bytes([8, Q]) + bytes([9, Q, 1]))


def work(pops, pushes, start_at=0):
    return bytes([15, Q, pops, pushes, start_at])


def desc(addr, length, flags, nxt):
    return struct.pack("<QIHH", addr, length, flags, nxt)


def packed(addr, length, buffer_id, flags):
    return struct.pack("<QIHH", addr, length, buffer_id, flags)


def iotlb(kind, perm, iova, uaddr, size):
    return bytes([27, kind, perm, iova, uaddr]) + u16(size)


BASE = bytes([10, Q])
CHANNEL = bytes([26])
ATTEND = bytes([28, 0])
AGAIN = bytes([19])
WAIT = bytes([17, 1])
OVER = bytes([18, Q])


def region(size, offset, queues, log2):
    return bytes([11]) + u16(size) + bytes([offset, queues, log2])


def session():
    chain = (desc(0x8000, 16, 1, 1) + desc(0x9000, 4096, 3, 2) + desc(0xa000, 1, 2, 0))
    avail = struct.pack("<HH16H", 0, 2, *([0, 0] + [0] * 14))
    split = write(DESC * 256, chain) + write(AVAIL * 256, avail)
    table = write(0xc000, chain) + write(DESC * 256, desc(0xc000, 48, 4, 0)) + write(
        AVAIL * 256, avail)
    ring = (packed(0x8000, 16, 0, 0x81) + packed(0x9000, 4096, 0, 0x83) +
            packed(0xa000, 1, 0, 0x82))
    tracked = features(14) + bytes([3]) + u64(0x1b229) + MEMORY + region(1000, 0, 1, 4)
    seeds = {
        "split": features(14) + MEMORY + split + start() + work(2, 0) + work(0, 2) + BASE,
        "indirect": features(14) + MEMORY + table + start() + work(2, 8) + BASE,
        "packed": features(15) + MEMORY + write(DESC * 256, ring) + start(16, 0x8000) +
                  work(4, 4) + BASE,
        "again": features(14) + MEMORY + split + start() + work(2, 0) + AGAIN + features(14) +
                 MEMORY + start() + work(2, 2),
        "region": tracked + split + start() + work(2, 0) + AGAIN + tracked + start() + work(3, 3) +
                  BASE,
        "wait": features(6) + MEMORY + split + WAIT + start() + MEMORY + OVER + work(2, 2) + BASE,
        "withdrawn": features(6) + MEMORY + split + WAIT + start() + BASE + AGAIN,
        "state": bytes([3]) + u64(0x9b22b) + b"".join(
            bytes([22, direction, 23, wrong, 5, 24, 25])
            for direction in (0, 1) for wrong in (0, 1, 2)),
        "logged": bytes([3]) + u64(0x1b22b) + features(30) + MEMORY + split + start() +
                  bytes([21]) + bytes([20, 64, 0, 0, 0]) + work(2, 2) + features(14) +
                  work(1, 1) + BASE,
        "iommu": bytes([3]) + u64(0x228) + features(46) + MEMORY + CHANNEL + split + start() +
                 ATTEND + iotlb(2, 3, 0, 0, 0xffff) + ATTEND + work(2, 0) + iotlb(3, 0, 0, 0, 1) +
                 ATTEND + iotlb(2, 3, 0, 0, 0xffff) + ATTEND + work(2, 2) + BASE,
        "in-band": bytes([3]) + u64(0x1f229) + features(14) + MEMORY + split + CHANNEL +
                   start()[:-5] + bytes([9, Q, 1, 29, Q]) + work(2, 0) + work(0, 2) +
                   bytes([30, 4, 32, 1]) + work(1, 1) + bytes([32, 0, 31, 29, Q]) + BASE,
        "postcopy": bytes([3]) + u64(0x1b32b) + features(14) + bytes([33, 0, 33, 1]) + MEMORY +
                    bytes([33, 3]) + split + start() + work(2, 1) + MEMORY + bytes([33, 2]) +
                    work(1, 2) + BASE,
        "less memory": features(6) + MEMORY + split + start() + work(2, 0) + HALF + work(0, 2) +
                       BASE,
    }
    return seeds


def request():
    def disk(kind, tail=0):
        return bytes([kind, tail])

    def one(kind, sector, lengths, framing=0, data=b""):
        out = bytes([kind, framing, len(lengths)]) + u16(sector)
        for length in lengths:
            out += u16(length) + data.ljust(min(40, (length % 64 + 1) * 512), b"\1")
        return out

    def batch(*requests):
        return bytes([len(requests) - 1]) + b"".join(requests)

    full = bytes(8)
    short = bytes([0, 3]) + u16(700) + bytes([0, 3]) + u16(8191) + full
    return {
        "read": disk(0) + batch(one(0, 3, [7])) + full,
        "write": disk(1) + batch(one(1, 8, [0, 1])) + full,
        "short read": disk(0) + batch(one(0, 3, [7, 2])) + short,
        "short write": disk(1) + batch(one(1, 3, [15, 2])) + short,
        "merged": disk(0) + batch(one(1, 0, [0]), one(1, 1, [1]), one(1, 3, [2]),
                                  one(0, 9, [0])) + full,
        "tail": disk(8, 100) + batch(one(0, 120, [7])) + full,
        "longer": disk(8, 100) + batch(one(1, 120, [7])) + bytes(2) + batch(one(0, 120, [7])) +
                  full,
        "durable": disk(16) + batch(one(1, 8, [0]), one(2, 0, [])) + bytes([0, 0, 0, 1]) + full,
        "unaligned": disk(1) + batch(one(0, 8, [512, 1024], 12)) + full,
        "identity": disk(2) + batch(one(3, 0, [0])) + full,
        "discard": disk(0) + batch(one(4, 0, [16], 4, u64(8) + u64(8)[:4])) + full,
        "zeroes": disk(0) + batch(one(5, 0, [16], 4, u64(8) + u64(8)[:4])) + bytes([0, 2]) + full,
    }


def config():
    image = u64(1 << 30) + bytes([3, 0]) + u64(8)
    return {
        "file": bytes([0]) + image + u64(100) + bytes([4]) + u16(126) +
                bytes([0]) + u16(0) + bytes([0, 60, 1]) + bytes(60),
        "discards": bytes([0x31]) + image + u64(100) + u64(3) + u64(9) + bytes([255]) + u16(7) +
                    bytes([1]) + u16(32) + bytes([0, 1, 1, 0]),
        "read only": bytes([2]) + image + bytes([1]) + u16(1) + bytes([1]) + u16(300) +
                     bytes([2, 9, 0]),
    }


def options():
    lines = {
        "usual": ["--socket-path=/run/s", "--blk-file=/srv/i", "--serial=A"],
        "apart": ["--fd", "3", "--blk-file", "i", "--read-only"],
        "null": ["--engine=null", "--size=3G", "--num-queues=4", "--seg-max=62"],
        "workers": ["--blk-file=i", "--num-workers=4", "--workers=0,2-3"],
        "workers": ["--blk-file=i", "--num-workers=2", "--cpu-affinity=0-1,3", "--poll=auto"],
        "blocks": ["--blk-file=i", "--block-size=4096", "--physical-block-size=64K",
                   "--optimal-io-size=1M"],
        "uring": ["--blk-file=i", "--fixed-buffers", "--sqpoll", "--sqpoll-cpu=1"],
        "limits": ["--blk-file=i", "--iops-total=100", "--iops-total-max=2000",
                   "--iops-total-max-length=60", "--iops-size=4K", "--bps-read=1M"],
        "lock": ["--blk-file=i", "--lock-timeout=3", "--stop-timeout=0", "--log-level=debug"],
        "socket": ["--blk-file=i", "--socket-path=s", "--socket-mode=0660", "--socket-group=kvm"],
        "name": ["--blk-file=i", "--name=disk", "--cache=writeback", "--discard=ignore"],
        "capabilities": ["--print-capabilities", "--iopoll", "--no-lock"],
        "many": ["--config-dir=/etc/d", "--check-config", "--num-workers=2"],
    }
    return {name: b"\0".join(a.encode() for a in args) + b"\0" for name, args in lines.items()}


def settings():
    base = "blk-file = /i\nsocket-path = /s\n"
    files = {
        "usual": "\0# a disk\n" + base + "serial = A\nread-only = true\n",
        "null": "\1size = 1G\nsocket-path=/s\n",
        "fixed": "\2" + base + "postcopy = false\nnum-queues=4\n",
        "workers": "\x78" + base + "workers = 0,2-3\n",
        "iopoll": "\4\ufeff" + base + "cache = writeback",
        "lock": "\0" + base + "no-lock = true\n;\n\t seg-max = 62 \r\n",
        "blocks": "\0" + base + "block-size=4096\nphysical-block-size=64K\noptimal-io-size=1M",
        "socket": "\0" + base + "socket-mode=0660\nsocket-group=kvm\ndiscard=ignore\n",
        "wrong": "\0[disk]\nfd = 3\nname = x\nlock-timeout 3\n",
    }
    return {name: text.encode() for name, text in files.items()}


def keeper():
    return {
        "keep": b"FDSTORE=1\nFDPOLL=0\nFDNAME=v.disk",
        "forget": b"FDSTOREREMOVE=1\nFDNAME=v.disk\n",
        "state": b"READY=1\nSTATUS=serving\nMAINPID=7\nEXTEND_TIMEOUT_USEC=5",
        "reload": b"RELOADING=1\nMONOTONIC_USEC=12\nSTOPPING=1\0",
        "barrier": b"BARRIER=1",
        "wrong": b"FDSTORE=1\nFDNAME=a:b\nFDNAME=",
    }


def api():
    def ask(method, path, body=""):
        return bytes([method]) + path.encode() + b"\0" + body.encode() + b"\0"

    def put(name, more=""):
        return ask(1, "/v1/disks/" + name, '{"blk-file": "/i", "socket-path": "/' + name + '"' +
                   more + "}")

    opened, failed, ended, comes = bytes([8]), bytes([40]), bytes([72]), bytes([136])
    patch = ask(2, "/v1/disks/a", '{"serial": "2", "read-only": true, "num-queues": 3}')
    delete = ask(3, "/v1/disks/a")
    return {
        "one": put("a") + opened + ask(0, "/v1/disks") + ask(0, "/v1/disks/a") + delete + ended,
        "two": put("a") + put("b", ', "seg-max": 62') + opened * 2 + ask(0, "/v1/status"),
        "replaced": put("a") + opened + patch + opened + put("a") + ask(2, "/v1/disks/a", "{}"),
        "replaced early": put("a") + patch + opened + patch + failed + opened,
        "failed": put("a") + failed + ask(0, "/v1/disks/a") + put("a") + opened,
        "connected": put("a") + opened + comes + delete + patch + bytes([255]) + ended,
        "gone by itself": put("a") + opened + bytes([105]) + put("a") + opened,
        "resized": put("a") + opened + ask(4, "/v1/disks/a/resize") + ask(4, "/v1/reload") +
                   ask(4, "/v1/upgrade") * 5,
        "metrics": put("a") + opened + ask(6, "/metrics") + ask(6, "/v1/disks") +
                   ask(0, "/metrics") + ask(0, "/v1/workers") + ask(5, "/v1/disks"),
        "events": ask(0, "/v1/events") + put("a") + opened + comes + patch + delete + ended +
                  ask(0, "/v1/events") + put("b") + failed,
        "wrong": put("a", ', "x": 1') + put("a", ', "fd": 3') + ask(1, "/v1/disks/a", "[1") +
                 ask(2, "/v1/disks/b", "{}") + ask(3, "/v1/status") + ask(1, "/v1/disks/a b", "{}"),
        "removed while opening": put("a") + delete + delete + put("a") + opened + put("a") + opened,
    }


def ring():
    pop, publish, want, dont = bytes([3]), bytes([6]), bytes([15]), bytes([7])
    die = bytes([0xf0]) + u16(0x1234)  # the base that the next process is told is wrong

    # Bits of kind: packed, EVENT_IDX, indirect tables, read-only, an in-flight region.
    def begin(kind, entries=None, base=0):
        if entries is None:
            entries = 21 if kind & 1 else 5
        return bytes([kind, entries]) + u16(base)

    def offer(kind, framing, sector, *pieces):
        return (bytes([0, kind, framing | len(pieces), sector]) +
                b"".join(u16(n) for piece in pieces for n in piece))

    def zero(kind, sector, sectors, flags=0):
        return bytes([0, kind, 0, sector, sector, sectors, flags])

    def poke(at, data):
        return bytes([2]) + u16(at) + bytes([len(data)]) + data

    def done(how=0, amount=0, which=0):
        return bytes([5 + 8 * which, how]) + u16(amount)

    def slot(addr, length, flags):
        return packed(addr, length, 9, flags | 0x80)

    one = poke(0x1002, u16(1))  # the available index of a split ring
    table = offer(0, 64, 3, (0x3e00, 1))
    pair = offer(0, 0, 3, (0, 1)) + offer(1, 0, 5, (0x1000, 0), (0x3f00, 1))
    three = pair + offer(0, 0, 9, (9, 0))
    both = pop * 2 + done(0, 0, 1) + publish + done() + publish
    seeds = {}
    for name, kind in (("split", 0), ("packed", 1)):
        tracked = kind | 16
        seeds.update({
            name: begin(kind) + pair + both,
            name + " events": begin(kind | 2, None, 0x8006 if kind else 0xfffd) + dont +
                (pair + both + want) * 2,
            name + " tables": begin(kind | 4) + table + offer(9, 64, 2, (0, 0)) + both,
            name + " short": begin(kind) + pair + pop + done(3, 99) + done(3, 511) + done() + pop +
                done(1) + publish,
            name + " others": begin(kind) + offer(2, 0, 0) + pop + done() +
                offer(3, 0, 0, (0x200, 0)) + pop + zero(4, 2, 4) + pop + done() +
                zero(4, 2, 4, 1) + pop + zero(5, 8, 8, 1) + pop + done(2) + done(2) + done() +
                offer(7, 0, 0) + pop + publish,
            name + " refused": begin(kind | 8) + offer(1, 0, 0, (0, 0)) + pop +
                offer(0, 0, 200, (0, 0)) + pop + offer(64, 0, 0) + pop + publish,
            name + " just beyond": begin(kind) + offer(0, 0, 65, (0, 0)) + pop + publish,
            name + " status within": begin(kind) + offer(96, 0, 1, (0, 513)) + pop + done() +
                publish,
            name + " wraps": begin(kind, 6 if kind else 1) + (pair + both) * 4,
            name + " killed": begin(tracked) + pair + pop + die + pop * 2 + done(3, 99) + die +
                pop * 2 + done() + die + pop * 2 + done() * 2 + publish,
            name + " killed in order": begin(tracked) + three + pop * 2 + die + pop * 3 + die +
                pop * 3 + done(0, 0, 2) + done(0, 0, 1) + done() + publish,
            name + " killed between batches": begin(tracked) + three + pop * 3 +
                (done() + publish) * 2 + die + pop + done() + publish,
            name + " killed with table": begin(tracked | 4) + table + pair + pop * 3 +
                done(0, 0, 1) + publish + die + pop * 3 + done() * 2 + publish + die,
        })
    seeds.update({
        "split table across": begin(4) + poke(0x7ff8, desc(0x2000, 16, 1, 1) +
                                              desc(0x3000, 1, 2, 0)) +
            poke(0, desc(0x7ff8, 32, 4, 0)) + one + pop + publish,
        "split table in table": begin(4) + poke(0x3800, desc(0x3810, 16, 4, 0) +
                                                desc(0x3000, 1, 2, 0)) +
            poke(0, desc(0x3800, 16, 4, 0)) + one + pop,
        "split readable last": begin(0) + poke(0, desc(0x3000, 1, 3, 1) +
                                               desc(0x2000, 16, 0, 0)) + one + pop,
        "split last head": begin(0) + offer(0, 0, 1) + poke(0x1004, u16(64)) + pop,
        "split last next": begin(0) + offer(0, 0, 1) + poke(14, u16(64)) + pop,
        "split next beyond": begin(0) + offer(0, 0, 1) + poke(14, u16(80)) +
            poke(0x500, desc(0x3000, 1, 2, 0)) + pop,
        "split twice": begin(16) + offer(2, 0, 1) + pop + poke(0x1006, u16(0)) +
            poke(0x1002, u16(2)) + pop + done() + publish,
        "split no index": begin(0) + poke(0x1002, u16(65)) + pop + want,
        "split loop": begin(0) + offer(0, 0, 1, (0, 0)) + poke(12, bytes([1, 0, 0, 0])) + pop +
            publish,
        "packed loop": begin(1, 2) + offer(0, 0, 1, (0, 0), (0, 0), (0, 0)) + pop + publish,
        "packed full": begin(1, 2, 0x8000) + offer(2, 0, 0) + pop + poke(32, slot(0, 16, 1)) +
            poke(0, slot(0x3000, 1, 1)) + pop + publish,
        "packed table in list": begin(5, 7, 0x8000) +
            poke(0x3800, slot(0x3000, 1, 2)[:14] + u16(2)) +
            poke(0, slot(0x2000, 16, 1) + slot(0x3800, 16, 4)) + pop + publish,
        "discard too large": begin(0) + zero(4, 0, 20) + pop + zero(5, 0, 40) + pop + publish,
        "zeroes in parts": begin(0) + zero(5, 0, 4) + pop + done(2) + done(3, 99) + done() +
            publish,
    })
    return seeds


def main():
    for target, seeds in (("session", session()), ("request", request()), ("ring", ring()),
                          ("config", config()), ("options", options()),
                          ("settings", settings()), ("api", api()), ("keeper", keeper())):
        directory = os.path.join(sys.argv[1], target)
        os.makedirs(directory, exist_ok=True)
        for name, data in seeds.items():
            with open(os.path.join(directory, name.replace(" ", "-")), "wb") as file:
                file.write(data)


main()

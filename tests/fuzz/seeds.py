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


BASE = bytes([10, Q])
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
        "workers": ["--blk-file=i", "--num-workers=2", "--cpu-affinity=0-1,3", "--poll=auto"],
        "blocks": ["--blk-file=i", "--block-size=4096", "--physical-block-size=64K",
                   "--optimal-io-size=1M"],
        "uring": ["--blk-file=i", "--fixed-buffers", "--sqpoll", "--sqpoll-cpu=1"],
        "lock": ["--blk-file=i", "--lock-timeout=3", "--stop-timeout=0", "--log-level=debug"],
        "socket": ["--blk-file=i", "--socket-path=s", "--socket-mode=0660", "--socket-group=kvm"],
        "name": ["--blk-file=i", "--name=disk", "--cache=writeback", "--discard=ignore"],
        "capabilities": ["--print-capabilities", "--iopoll", "--no-lock"],
    }
    return {name: b"\0".join(a.encode() for a in args) + b"\0" for name, args in lines.items()}


def main():
    for target, seeds in (("session", session()), ("request", request()), ("config", config()),
                          ("options", options())):
        directory = os.path.join(sys.argv[1], target)
        os.makedirs(directory, exist_ok=True)
        for name, data in seeds.items():
            with open(os.path.join(directory, name.replace(" ", "-")), "wb") as file:
                file.write(data)


main()

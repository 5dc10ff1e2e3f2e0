# SPDX-License-Identifier: BSD-3-Clause
#
# What /proc tells of a process: the time it ran, how often it woke up, the memory it has.

import glob
import re


def _read(path):
	try:
		with open(path, encoding="ascii", errors="replace") as file:
			return file.read()
	except OSError:  # a thread that has ended meanwhile
		return ""


def _kilobytes(status, field):
	found = re.search(rf"^{field}:\s*(\d+) kB", status, re.MULTILINE)
	return int(found.group(1)) * 1024 if found else 0


def activity(pid):
	"""(CPU time in ns, context switches) of all threads. A thread that was switched in, ran and
	slept again counts; one that is blocked in a system call all the time adds nothing, so without
	any switch there was no system call either."""
	ran = switches = 0
	for task in glob.glob(f"/proc/{pid}/task/*"):
		words = _read(f"{task}/schedstat").split()
		ran += int(words[0]) if words else 0
		for count in re.findall(r"ctxt_switches:\s*(\d+)", _read(f"{task}/status")):
			switches += int(count)
	return ran, switches


def memory_beyond_guest(pid):
	"""Resident bytes without shared memory, which is the guest's. Program text counts in full."""
	status = _read(f"/proc/{pid}/status")
	return _kilobytes(status, "RssAnon") + _kilobytes(status, "RssFile")


def has_guest_memory(pid):
	"""Has a front-end shared its memory with this process, and a ring kept it?"""
	return "/memfd:" in _read(f"/proc/{pid}/maps")


def steal():
	"""CPU time, in seconds, that the host of this machine gave to others instead."""
	words = _read("/proc/stat").split("\n", 1)[0].split()
	return int(words[8]) / 100 if len(words) > 8 else 0.0

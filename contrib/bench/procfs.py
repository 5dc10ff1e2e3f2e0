# SPDX-License-Identifier: BSD-3-Clause
#
# What /proc tells of a process: the time it ran, how often it woke up, the memory it has.

import glob
import os
import re
import resource

DISTURBED = 0.1  # of a processor


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


class Machine:
	"""What the machine did since this was made, but for our own processes (those that have been
	waited for, and this one): seconds of CPU time that other processes took, and that the host of
	a virtual machine gave to others."""

	def __init__(self):
		self.before = self._read()

	@staticmethod
	def _read():
		ticks = [int(word) for word in _read("/proc/stat").split("\n", 1)[0].split()[1:]]
		hertz = os.sysconf("SC_CLK_TCK")
		own = sum(usage.ru_utime + usage.ru_stime for usage in map(
			resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
		return sum(ticks[:3]) / hertz - own, ticks[7] / hertz  # user, nice, system; steal

	def since(self):
		others, stolen = (now - then for now, then in zip(self._read(), self.before))
		return {"others_seconds": round(max(0.0, others), 2), "stolen_seconds": round(stolen, 2)}


def is_disturbed(metrics):
	"""Was a round of which this is told one during which the machine was not ours alone?"""
	foreign = metrics["others_seconds"] + metrics["stolen_seconds"]
	return foreign > DISTURBED * metrics["took_seconds"]

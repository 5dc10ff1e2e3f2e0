# SPDX-License-Identifier: BSD-3-Clause
#
# What the figures were taken on: hardware, kernel, versions, the command.

import os
import platform
import re
import shlex
import sys
import time

import children


def without_place(word):
	"""A word of a command line without the directories of this machine."""
	option, equals, value = word.rpartition("=")
	return option + equals + (os.path.basename(value.rstrip("/")) if value.startswith("/") else value)


def _first(path, pattern, default="unknown"):
	try:
		with open(path, encoding="ascii", errors="replace") as file:
			found = re.search(pattern, file.read(), re.MULTILINE)
	except OSError:
		found = None
	return found.group(1) if found else default


def _version(program):
	try:
		output = children.output_of([program, "--version"], timeout=10)
	except children.BenchError as error:
		return f"none: {error}"
	return output.strip().split("\n", 1)[0]


def _file_system(directory):
	"""Type and device of the longest mount point that is above the directory."""
	best = ("", "unknown")
	path = os.path.realpath(directory)
	with open("/proc/mounts", encoding="utf-8", errors="replace") as mounts:
		for line in mounts:
			device, point, kind = line.split()[:3]
			below = path == point or path.startswith(point.rstrip("/") + "/")
			if below and len(point) >= len(best[0]):
				best = (point, f"{kind} on {device}")
	return best[1]


def describe(settings, directory):
	flags = _first("/proc/cpuinfo", r"^flags\s*: (.*)", "")
	return {
		"date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
		"command": shlex.join(["contrib/bench/compare", *map(without_place, sys.argv[1:])]),
		"cpu": _first("/proc/cpuinfo", r"^model name\s*: (.*)", platform.machine()),
		"cores": os.cpu_count(),
		"virtual_machine": "hypervisor" in flags.split(),
		"governor": _first("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "(.*)"),
		"memory_bytes": int(_first("/proc/meminfo", r"^MemTotal:\s*(\d+)", "0")) * 1024,
		"kernel": platform.release(),
		"system": _first("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)'),
		"file_system": _file_system(directory),
		"load_before": os.getloadavg()[0],
		"client_cpus": settings.client_cpus,
		"backend_cpus": settings.backend_cpus,
		"seconds": settings.seconds,
		"versions": {name: _version(path) for name, path in settings.programs.items()}
		| {"python": platform.python_version()},
	}

# SPDX-License-Identifier: BSD-3-Clause
#
# What is measured: workloads, and the rows that hold two contenders against each other on one of
# them. Plain data; nothing here runs anything. A contender is known here by its name only, see
# contenders.py.

import dataclasses

KIB = 1024
MIB = 1024 * KIB
EQUAL_RATE = 0.7  # of the slower contender's best, where CPU time is compared


@dataclasses.dataclass(frozen=True)
class Metric:
	"""A number taken from each round. For a limit, lower is better."""
	label: str
	unit: str
	lower_is_better: bool


METRICS = {
	"iops": Metric("throughput", "IOPS", False),
	"p50": Metric("median latency", "ns", True),
	"cpu": Metric("CPU time per I/O", "ns", True),
	"idle_cpu": Metric("CPU time", "ns", True),
	"idle_wakeups": Metric("wake-ups", "", True),
	"idle_memory": Metric("memory beyond the guest's", "bytes", True),
}


def size_text(size):
	for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
		if size % unit == 0:
			return f"{size // unit} {name}"
	return f"{size} B"


@dataclasses.dataclass(frozen=True)
class Workload:
	"""What the generator asks for. All contenders of a workload take turns in it."""
	backing: str = "null"      # null, warm (page cache), direct (O_DIRECT)
	rw: str = "randread"       # randrw: 70 % reads
	block_size: int = 4 * KIB
	depth: int = 32            # in each queue
	queues: int = 1
	completion: str = "poll"   # or call: the client sleeps until it is called
	kind: str = "speed"        # or paced (an equal rate for all), or idle
	disks: int = 1             # of which one is busy, a process for each

	def title(self):
		if self.kind == "idle":
			return "idle, connected, null"
		text = f"{self.backing} {size_text(self.block_size)} {self.rw} depth {self.depth}"
		if self.queues > 1:
			text += f" x {self.queues} queues"
		if self.completion == "call":
			text += ", client sleeps"
		if self.kind == "paced":
			text += ", equal rate"
		if self.disks > 1:
			text += f", 1 of {self.disks} disks busy"
		return text


@dataclasses.dataclass(frozen=True)
class Row:
	"""Holds a contender against a peer (the target is a ratio), or against a limit if there is no
	peer. A row without a target is for the record."""
	workload: Workload
	ours: str
	peer: str | None
	target: float | None
	metric: str = "iops"
	quick: bool = False        # one of the project's targets

	@property
	def name(self):
		text = f"{self.workload.title()}: {self.ours}"
		if self.metric != "iops":
			text += f" {METRICS[self.metric].label}"
		return text + (f" vs {self.peer}" if self.peer else " absolute")

	def holds(self, value):
		"""Is this value (a ratio where there is a peer) within the target?"""
		if METRICS[self.metric].lower_is_better:
			return value <= self.target
		return value >= self.target


def null_targets():
	for depth, limit in ((1, 1.0e6), (32, 2.7e6), (128, 4.2e6)):
		workload = Workload(depth=depth)
		yield Row(workload, "always", None, limit, quick=True)
		yield Row(workload, "always", "floor", 0.6, quick=True)
		if depth > 1:
			yield Row(workload, "adaptive", "qsd", 1.3, quick=True)


def file_targets():
	warm = Workload("warm")
	yield Row(warm, "adaptive", "qsd", 1.5, quick=True)
	yield Row(warm, "adaptive", "fio", 0.9, quick=True)
	for completion in ("poll", "call"):  # a client that polls is in the way of the disk's interrupts
		direct = Workload("direct", completion=completion)
		yield Row(direct, "adaptive", "fio", 0.97, quick=True)


def cost_targets():
	sleeping = Workload(depth=1, completion="call")
	yield Row(sleeping, "adaptive", "qsd", 0.5, "p50", quick=True)
	for backing in ("null", "warm"):
		paced = Workload(backing, completion="call", kind="paced")
		yield Row(paced, "adaptive", "qsd", 0.5, "cpu", quick=True)
	idle = Workload(kind="idle")
	for metric, limit in (("idle_cpu", 0), ("idle_wakeups", 0), ("idle_memory", 8 * MIB)):
		yield Row(idle, "adaptive", None, limit, metric, quick=True)
	yield Row(idle, "adaptive", "qsd", None, "idle_memory", quick=True)
	yield Row(Workload(disks=64), "adaptive", "alone", 0.95, quick=True)


def sweeps():
	"""The points of the whole matrix: one property is changed, the others stay."""
	for backing in ("null", "warm", "direct"):
		for rw in ("randread", "randwrite", "randrw"):
			for depth in (1, 2, 4, 8, 16, 32, 64, 128, 256):
				yield Workload(backing, rw, depth=depth)
			for size in (512, 16 * KIB, 64 * KIB, 256 * KIB, MIB):
				yield Workload(backing, rw, size)
		for rw in ("read", "write"):
			yield Workload(backing, rw, 64 * KIB)
		for queues in (2, 4):
			yield Workload(backing, queues=queues)


def matrix():
	for workload in sweeps():
		yield Row(workload, "adaptive", "qsd", 1.0)
		yield Row(workload, "always", "qsd", 1.0)
		if workload.backing != "null" and workload.queues == 1:
			yield Row(workload, "adaptive", "fio", None)
			yield Row(workload, "adaptive", "fio-batched", None)
	for depth in (1, 32):
		for backing in ("null", "warm", "direct"):
			sleeping = Workload(backing, depth=depth, completion="call")
			yield Row(sleeping, "adaptive", "qsd", 1.0, "p50")
	yield Row(Workload("direct", completion="call", kind="paced"), "adaptive", "qsd", 0.5, "cpu")
	for disks in (4, 16):
		yield Row(Workload(disks=disks), "adaptive", "alone", 0.95)


def all_rows():
	"""The targets first, then the matrix without what is among the targets already."""
	rows = {}
	for source in (null_targets, file_targets, cost_targets, matrix):
		for row in source():
			rows.setdefault(row.name, row)
	return list(rows.values())

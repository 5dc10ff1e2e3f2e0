# SPDX-License-Identifier: BSD-3-Clause
#
# Measuring. A trial is one contender on one workload for one round: it starts what it needs, and
# leaves nothing running. The rounds of all contenders of a workload alternate, so that what the
# machine does meanwhile meets all of them.

import contextlib
import json
import os
import signal
import sys
import tempfile
import time

import children
import contenders
import procfs
import workloads
from children import BenchError

FOREVER = 3600   # seconds, for a client that is frozen meanwhile
SETTLE = 0.5     # seconds until all is quiet: longer than any adaptive polling
TOLERANCE = 0.03 # of a rate that is to be equal


def without_socket(measured):
	"""What was measured, without the path of a socket that is gone already."""
	measured.pop("socket", None)
	return measured


def progress(text):
	print(f"compare: {text}", file=sys.stderr, flush=True)


def _parse(output, program):
	try:
		return json.loads(output[output.index("{"):], object_hook=without_socket)
	except ValueError as error:
		raise BenchError(f"{program} printed no JSON, but {output[:80]!r}") from error


class Lab:
	"""Runs trials with the same settings."""

	def __init__(self, settings, image):
		self.settings = settings
		self.image = image
		self.limit = 30 + 3 * (settings.seconds + settings.warmup)

	### One trial ################################################################################

	def trial(self, name, workload, rate=None):
		"""The metrics of one round, with "raw", what the measuring program said."""
		if workload.rw not in ("read", "randread"):
			self.image.settle()
		machine, begin = procfs.Machine(), time.time()
		if workload.kind == "idle":
			result = self._idle(name, workload)
		elif contenders.is_daemon(name):
			disks = 1 if name == "alone" else workload.disks
			result = self._served(name, workload, rate, disks)
		else:
			result = self._native(name, workload)
		return result | machine.since() | {"began": begin, "took_seconds": time.time() - begin}

	@contextlib.contextmanager
	def _daemon(self, name, workload):
		"""Yields the running back-end and the path of its socket."""
		with tempfile.TemporaryDirectory(prefix="compare-") as directory:
			path = os.path.join(directory, "socket")
			command = contenders.daemon_command(name, self.settings, workload, path)
			with children.running(command, self.settings.backend_cpus) as daemon:
				children.wait_for(daemon, "its socket", lambda: children.listens(path))
				yield daemon, path

	def _client(self, workload, path, *options):
		return contenders.bench_command(self.settings, workload, f"--socket-path={path}",
		                                contenders.affinity_option(self.settings), *options)

	def _served(self, name, workload, rate, disks):
		with contextlib.ExitStack() as stack:
			if disks > 1:
				stack.enter_context(self._idle_disks(name, workload, disks - 1))
			daemon, path = stack.enter_context(self._daemon(name, workload))
			options = [f"--pid={daemon.pid}", f"--seconds={self.settings.seconds}",
			           f"--warmup={self.settings.warmup}"]
			if rate:
				options.append(f"--rate={rate}")
			try:
				output = children.output_of(self._client(workload, path, *options),
				                            self.settings.client_cpus, self.limit)
			except BenchError:
				children.check(daemon)  # its last words are worth more than the client's
				raise
			children.check(daemon)
		return self._of_bench(_parse(output, "vublk-bench"), rate)

	@contextlib.contextmanager
	def _idle_disks(self, name, workload, count):
		"""Back-ends whose rings run, but whose clients are frozen: their guests do nothing."""
		quiet = workloads.Workload(workload.backing, depth=1, completion="call")
		with contextlib.ExitStack() as stack:
			disks = [stack.enter_context(self._daemon(name, quiet)) for _ in range(count)]
			daemons = [daemon for daemon, _ in disks]
			clients = [stack.enter_context(children.running(
				self._client(quiet, path, f"--seconds={FOREVER}", "--rate=100"),
				self.settings.client_cpus)) for _, path in disks]
			stack.callback(children.hang_up, clients, daemons)
			for client, daemon in zip(clients, daemons):
				children.wait_for(client, "its memory at the back-end",
				                  lambda pid=daemon.pid: procfs.has_guest_memory(pid))
			time.sleep(SETTLE)  # the first requests have been done
			for process in clients + daemons:
				children.check(process)
			for client in clients:
				client.send_signal(signal.SIGSTOP)
			time.sleep(SETTLE)
			yield daemons

	def _idle(self, name, workload):
		with self._idle_disks(name, workload, 1) as (daemon,):
			before = procfs.activity(daemon.pid)
			time.sleep(self.settings.idle_seconds)
			after = procfs.activity(daemon.pid)
			memory = procfs.memory_beyond_guest(daemon.pid)
			children.check(daemon)
		return {"idle_cpu": after[0] - before[0], "idle_wakeups": after[1] - before[1],
		        "idle_memory": memory, "raw": {"seconds": self.settings.idle_seconds}}

	def _native(self, name, workload):
		command = contenders.native_command(name, self.settings, workload)
		output = children.output_of(command, contenders.cpus_of(name, self.settings), self.limit)
		raw = _parse(output, name)
		return self._of_bench(raw) if name == "floor" else self._of_fio(raw)

	### What the programs say ####################################################################

	@staticmethod
	def _of_bench(raw, rate=None):
		if raw["errors"] or not raw["ios"]:
			raise BenchError(f"{raw['ios']} requests, {raw['errors']} of them failed")
		if rate and abs(raw["iops"] / rate - 1) > TOLERANCE:
			raise BenchError(f"{raw['iops']:.0f} instead of {rate} requests in a second")
		result = {"iops": raw["iops"], "raw": raw}
		if "p50" in (raw.get("latency_ns") or {}):
			result["p50"] = raw["latency_ns"]["p50"]
		cost = (raw.get("backend") or {}).get("cpu_ns_per_io")
		if cost is not None:
			result["cpu"] = cost
		return result

	@staticmethod
	def _of_fio(raw):
		job = raw["jobs"][0]
		iops = job["read"]["iops"] + job["write"]["iops"]
		if job["error"] or not iops:
			raise BenchError(f"fio: error {job['error']}")
		keep = {key: job[key] for key in ("read", "write", "usr_cpu", "sys_cpu", "ctx")}
		keep["fio version"] = raw["fio version"]
		return {"iops": iops, "cpu": (job["usr_cpu"] + job["sys_cpu"]) * 1e7 / iops,
		        "raw": keep}

	### All rounds of a workload #################################################################

	def compare(self, workload, names, rounds):
		"""{contender: {"rounds": [metrics...], "error": text or None}}"""
		try:
			self.image.prepare(workload.backing)
		except OSError as error:
			return {name: {"rounds": [], "error": f"{self.image.path}: {error}"}
			        for name in names}
		results = {name: {"rounds": [], "error": None} for name in names}
		rate = None
		if workload.kind == "paced":
			rate = self._equal_rate(workload, results)
		for number in range(rounds):
			for name, result in results.items():
				if not result["error"]:
					progress(f"{workload.title()}: {name}, round {number + 1} of {rounds}")
					self._round(name, workload, rate, result)
		return results

	def _round(self, name, workload, rate, result):
		try:
			metrics = self._undisturbed(name, workload, rate)
			if rate:
				metrics["rate"] = rate
			result["rounds"].append(metrics)
		except (BenchError, KeyError, OSError) as error:
			result["error"] = str(error) if not isinstance(error, KeyError) else \
				f"the output has no {error}"
			progress(f"FAILED: {result['error']}")

	def _undisturbed(self, name, workload, rate):
		"""A round during which other processes ran is done again, some times at most. That they
		ran is all that is asked, not what the figures are; the last round counts as it is."""
		for _ in range(self.settings.retries + 1):
			metrics = self.trial(name, workload, rate)
			if not procfs.is_disturbed(metrics):
				break
			progress(f"others had {metrics['others_seconds']} s of processor time meanwhile, "
			         f"the host {metrics['stolen_seconds']} s")
		return metrics

	def _equal_rate(self, workload, results):
		"""What each can keep up with: a part of the slower one's best."""
		best = []
		for name, result in results.items():
			progress(f"{workload.title()}: {name}, how fast it can be")
			probe = {"rounds": [], "error": None}
			self._round(name, workload, None, probe)
			result["error"] = probe["error"]
			best += [metrics["iops"] for metrics in probe["rounds"]]
		return int(min(best) * workloads.EQUAL_RATE) if best else None

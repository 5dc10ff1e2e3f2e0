# SPDX-License-Identifier: BSD-3-Clause
#
# Who is measured, each by the command that starts it at its best for a workload. No process is
# started here.

import dataclasses


@dataclasses.dataclass
class Settings:
	"""What all measurements have in common."""
	programs: dict             # vublkd, vublk-bench, qsd, fio: path
	image: str                 # the file of the backings warm and direct
	size: int                  # its size and that of a null disk, bytes
	client_cpus: list
	backend_cpus: list
	seconds: float
	warmup: float
	idle_seconds: float
	retries: int               # of a disturbed round


DESCRIPTIONS = {
	"adaptive": "vublkd, default options",
	"always": "vublkd --poll=always",
	"alone": "vublkd, default options, the only disk",
	"qsd": "qemu-storage-daemon, iothread; null-co, or file with aio=io_uring",
	"fio": "fio on the file itself: io_uring, registered buffers and files, one job",
	"fio-batched": "fio the same, submitting and reaping in batches",
	"floor": "vublk-bench --floor: the generator with nobody behind it but a copy of an index",
}


def _int_list(cpus):
	return ",".join(str(cpu) for cpu in cpus)


def _workers(workload, settings):
	return min(workload.queues, len(settings.backend_cpus))


def _vublkd(settings, workload, options):
	command = [settings.programs["vublkd"], "--log-level=warning"]
	if workload.backing == "null":
		command += ["--engine=null", f"--size={settings.size}"]
	else:
		cache = "none" if workload.backing == "direct" else "writeback"
		command += [f"--blk-file={settings.image}", f"--cache={cache}"]
	if _workers(workload, settings) > 1:
		command += [f"--num-workers={_workers(workload, settings)}"]
	return command + options


def _qsd(settings, workload, socket):
	if workload.backing == "null":
		node = f"driver=null-co,size={settings.size},read-zeroes=off"
	else:
		direct = "on" if workload.backing == "direct" else "off"
		# vublkd locks the image while its rings run; the daemons take turns.
		node = (f"driver=file,filename={settings.image},aio=io_uring,cache.direct={direct},"
		        "locking=off")
	return [settings.programs["qsd"],
	        "--object", "iothread,id=io0",
	        "--blockdev", f"{node},node-name=disk0",
	        "--export", "type=vhost-user-blk,id=export0,node-name=disk0,writable=on,iothread=io0,"
	        f"logical-block-size=512,num-queues={workload.queues},"
	        f"addr.type=unix,addr.path={socket}"]


def is_daemon(name):
	"""Does it serve the generator, or is it a program that measures itself?"""
	return name in ("adaptive", "always", "alone", "qsd")


def daemon_command(name, settings, workload, socket):
	if name == "qsd":
		return _qsd(settings, workload, socket)
	options = ["--poll=always"] if name == "always" else []
	return _vublkd(settings, workload, options) + [f"--socket-path={socket}"]


def _threads(workload, settings):
	return min(workload.queues, len(settings.client_cpus))


def bench_command(settings, workload, *options):
	"""The generator. Its own options for what is not in the workload follow."""
	command = [settings.programs["vublk-bench"], "--json", f"--rw={workload.rw}",
	           f"--block-size={workload.block_size}", f"--queue-depth={workload.depth}",
	           f"--num-queues={workload.queues}", f"--completion={workload.completion}",
	           f"--threads={_threads(workload, settings)}"]
	if workload.rw in ("rw", "randrw"):
		command.append("--read-percent=70")
	return command + list(options)


def _fio(settings, workload, options):
	"""Without clock readings for each request: that is the native limit at its best. And without
	its default of throwing the file out of the page cache first."""
	command = [settings.programs["fio"], "--name=native", "--output-format=json",
	           f"--filename={settings.image}", f"--size={settings.size}",
	           "--ioengine=io_uring", "--fixedbufs=1", "--registerfiles=1", "--numjobs=1",
	           "--hipri=0", "--sqthread_poll=0", "--thread", "--gtod_reduce=1",
	           "--norandommap", "--randrepeat=0", "--invalidate=0",
	           f"--rw={workload.rw}", f"--bs={workload.block_size}",
	           f"--iodepth={workload.depth}", f"--direct={int(workload.backing == 'direct')}",
	           "--time_based", f"--runtime={int(settings.seconds * 1000)}ms",
	           f"--ramp_time={int(settings.warmup * 1000)}ms"]
	if workload.rw in ("rw", "randrw"):
		command.append("--rwmixread=70")
	return command + options


def _floor(settings, workload):
	"""The thread that plays the back-end takes the processor after those of the client's."""
	cpus = settings.client_cpus[:_threads(workload, settings)] + settings.backend_cpus
	return bench_command(settings, workload, "--floor", f"--cpu-affinity={_int_list(cpus)}",
	                     f"--seconds={settings.seconds}", f"--warmup={settings.warmup}")


def native_command(name, settings, workload):
	"""The command of a contender that is no daemon; its output is JSON."""
	if name == "floor":
		return _floor(settings, workload)
	batch = max(1, workload.depth // 2)
	batched = [f"--iodepth_batch_submit={batch}", "--iodepth_batch_complete_min=1",
	           f"--iodepth_batch_complete_max={workload.depth}"]
	return _fio(settings, workload, batched if name == "fio-batched" else [])


def cpus_of(name, settings):
	"""Where a contender runs. The floor has both sides in one process."""
	if name == "floor":
		return settings.client_cpus + settings.backend_cpus
	return settings.backend_cpus


def affinity_option(settings):
	return f"--cpu-affinity={_int_list(settings.client_cpus)}"

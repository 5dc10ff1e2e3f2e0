# SPDX-License-Identifier: BSD-3-Clause
#
# The processes that the comparison starts: pinned, watched, and gone when it ends, however it
# ends. A child is killed by the kernel too should this process die first.

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1
SO_ACCEPTCON = 0x10000  # in the flags of /proc/net/unix: it listens
_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
	"""A measurement that cannot be had. Ends a contender's rounds, not the run."""


def _prepare(cpus):
	def in_child():
		_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
		signal.pthread_sigmask(signal.SIG_SETMASK, ())
		if cpus:
			os.sched_setaffinity(0, cpus)
	return in_child


def _last_words(log):
	log.seek(0)
	lines = log.read().decode("utf-8", "replace").strip().splitlines()
	return lines[-1] if lines else "it said nothing"


def _start(command, cpus, **streams):
	try:
		# pylint: disable-next=subprocess-popen-preexec-fn,consider-using-with
		return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_prepare(cpus),
		                        **streams)
	except (OSError, subprocess.SubprocessError) as error:
		raise BenchError(f"{command[0]} cannot be started: {error}") from error


def _end(process):
	"""First politely; a process that is stopped does not hear that."""
	if process.poll() is None:
		process.send_signal(signal.SIGTERM)
		process.send_signal(signal.SIGCONT)
		try:
			process.wait(5)
		except subprocess.TimeoutExpired:
			process.kill()
	process.wait()


def hang_up(clients, daemons):
	"""Tells many to end, all at once; that they are waited for one by one then takes no time."""
	for process in clients:
		process.kill()
	for process in daemons:
		process.terminate()


@contextlib.contextmanager
def running(command, cpus=None):
	"""A process that runs while the with statement does. Its messages are kept for check()."""
	with tempfile.TemporaryFile() as log:
		process = _start(command, cpus, stdout=log, stderr=log)
		process.log = log
		try:
			yield process
		finally:
			_end(process)


def check(process):
	"""Raises if the process has ended by itself, with the last that it said."""
	if process.poll() is not None:
		name = os.path.basename(process.args[0])
		raise BenchError(f"{name} ended with status {process.returncode}: "
		                 f"{_last_words(process.log)}")


def wait_for(process, what, condition, timeout=10):
	deadline = time.monotonic() + timeout
	while not condition():
		check(process)
		if time.monotonic() > deadline:
			raise BenchError(f"{os.path.basename(process.args[0])}: {what} did not come about "
			                 f"in {timeout} s: {_last_words(process.log)}")
		time.sleep(0.005)


def listens(path):
	"""Looked up, not tried: the back-end would take a trial connection for its front-end."""
	with open("/proc/net/unix", encoding="ascii", errors="replace") as sockets:
		for line in sockets:
			words = line.split()
			if words[-1] == path and int(words[3], 16) & SO_ACCEPTCON:
				return True
	return False


def output_of(command, cpus=None, timeout=60):
	"""Runs a program to its end; returns what it wrote on standard output."""
	with tempfile.TemporaryFile() as log:
		process = _start(command, cpus, stdout=subprocess.PIPE, stderr=log)
		try:
			output, _ = process.communicate(timeout=timeout)
		except subprocess.TimeoutExpired as error:
			raise BenchError(f"{os.path.basename(command[0])} did not end in "
			                 f"{timeout} s") from error
		finally:
			_end(process)
		if process.returncode:
			raise BenchError(f"{os.path.basename(command[0])} ended with status "
			                 f"{process.returncode}: {_last_words(log)}")
		return output.decode("utf-8", "replace")

# SPDX-License-Identifier: BSD-3-Clause
#
# From an outcome (what results.json holds) to tables. Rows that failed are rows like the others.

import json
import os

import contenders
import figures
import plot
import procfs
import workloads

BEGIN, END = "<!-- results -->", "<!-- end -->"


def target_text(row, before="", after=""):
	if row.target is None:
		return ""
	sign = "≤" if workloads.METRICS[row.metric].lower_is_better else "≥"
	value = f"{row.target:g}x" if row.peer else \
		figures.round_text(row.target, workloads.METRICS[row.metric].unit)
	return f"{before}{sign} {value}{after}"


def load(path):
	with open(path, encoding="utf-8") as file:
		outcome = json.load(file)
	if not isinstance(outcome, dict) or not {"runs", "rows", "workloads"} <= outcome.keys():
		raise ValueError(f"{path} holds no results of compare")
	return outcome


def merged(path, new):
	"""Adds to an outcome what the file at path has of other workloads: those that were measured
	again count as they are now, since contenders of different runs did not take turns."""
	if not os.path.exists(path):
		return new
	old = load(path)
	again = {row.name for row in workloads.all_rows() if row.workload.title() in new["workloads"]}
	kept = {title: group for title, group in old["workloads"].items()
	        if title not in new["workloads"]}
	added = {title: group | {"run": len(old["runs"])} for title, group in new["workloads"].items()}
	return _pruned({"runs": old["runs"] + new["runs"],
	                "rows": [name for name in old["rows"] if name not in again] + new["rows"],
	                "workloads": kept | added})


def _pruned(outcome):
	"""Without the runs of which nothing is left."""
	used = sorted({group["run"] for group in outcome["workloads"].values()})
	outcome["runs"] = [outcome["runs"][number] for number in used]
	for group in outcome["workloads"].values():
		group["run"] = used.index(group["run"])
	return outcome


class Line:
	"""A row with what was measured for it."""

	def __init__(self, row, outcome):
		self.row = row
		self.metric = workloads.METRICS[row.metric]
		self.results = outcome["workloads"].get(row.workload.title(), {}).get("contenders", {})
		self.errors = []
		self.ours = self._spread(row.ours)
		self.peer = self._spread(row.peer) if row.peer else None
		self.value = self._value()

	def _spread(self, name):
		result = self.results.get(name, {"rounds": [], "error": "was not run"})
		values = [figures_of[self.row.metric] for figures_of in result["rounds"]
		          if self.row.metric in figures_of]
		if not values or len(values) < len(result["rounds"]):
			error = result["error"] or f"no {self.metric.label} was told"
			self.errors.append(self._told(name, error))
			return None
		if result["error"]:
			self.errors.append(self._told(name, result["error"]))
		return figures.Spread(values)

	@property
	def disturbed(self):
		"""Was the machine not left alone in a round that counts here?"""
		rounds = [metrics for name in (self.row.ours, self.row.peer) if name in self.results
		          for metrics in self.results[name]["rounds"]]
		return any(map(procfs.is_disturbed, rounds))

	def _told(self, name, error):
		return f"{self.row.workload.title()}: {name}: {error}"

	def _value(self):
		"""What the target is about: the ratio of the medians, or the median."""
		if not self.ours or (self.row.peer and not self.peer):
			return None
		if not self.row.peer:
			return self.ours.median
		return self.ours.median / self.peer.median if self.peer.median else None

	@property
	def verdict(self):
		if self.errors or self.value is None:
			return "**NOT MEASURED**"
		if self.row.target is None:
			return "for the record"
		return "met" if self.row.holds(self.value) else "**NOT MET**"

	def cells(self):
		def cell(spread):
			return spread.text(self.metric.unit) if spread else "failed"
		ratio = f"{self.value:.2f}x" if self.row.peer and self.value is not None else ""
		return [self.row.name, cell(self.ours), cell(self.peer) if self.row.peer else "",
		        ratio, target_text(self.row), self.verdict + (", disturbed" if self.disturbed else "")]


def _machine_lines(number, run):
	where = "virtual machine" if run["virtual_machine"] else "no virtual machine"
	versions = ", ".join(f"{name}: {text}" for name, text in run["versions"].items())
	return [f"- Run {number}: {run['date']}, `{run['command']}`",
	        f"  - {run['cpu']}, {run['cores']} processors ({where}, governor {run['governor']}), "
	        f"{figures.text(run['memory_bytes'], 'bytes')}, load before {run['load_before']:.2f}",
	        f"  - {run['system']}, Linux {run['kernel']}, files on {run['file_system']}",
	        f"  - client on processors {run['client_cpus']}, back-end on {run['backend_cpus']}; "
	        f"rounds of {run['seconds']:g} s",
	        f"  - {versions}"]


class Report:
	"""Everything that is written comes from here."""

	def __init__(self, outcome, rows):
		self.outcome = outcome
		wanted = set(outcome["rows"])
		self.lines = [Line(row, outcome) for row in rows if row.name in wanted]
		self.plot = plot.draw(outcome, {row.workload.title(): row.workload for row in rows})

	@property
	def failures(self):
		return [line for line in self.lines if line.errors]

	def _summary(self):
		count = {}
		for line in self.lines:
			word = line.verdict.strip("*").lower()
			count[word] = count.get(word, 0) + 1
		disturbed = sum(line.disturbed for line in self.lines)
		text = ", ".join(f"{number} {word}" for word, number in count.items()) + "."
		if disturbed:
			text += (f" During {disturbed} of them the machine was not left alone: others had more "
			         f"than {procfs.DISTURBED:.0%} of a processor in some round. Measure them again.")
		return text

	def _names(self):
		return {name for line in self.lines for name in (line.row.ours, line.row.peer) if name}

	def markdown(self, picture=None):
		"""A median over the rounds each, with the least and the most."""
		text = [f"Rows: {self._summary()}", "",
		        "| workload: who vs whom | who | whom | ratio | target | result |",
		        "|---|---|---|---|---|---|"]
		text += ["| " + " | ".join(line.cells()) + " |" for line in self.lines]
		if self.failures:
			errors = [error for line in self.failures for error in line.errors]
			text += ["", "Not measured:", *(f"- {error}" for error in dict.fromkeys(errors))]
		if picture and self.plot:
			text += ["", f"![IOPS over queue depth]({picture})"]
		text.append("")
		text += [f"- {name}: {meaning}" for name, meaning in contenders.DESCRIPTIONS.items()
		         if name in self._names()]
		for number, run in enumerate(self.outcome["runs"], 1):
			text += _machine_lines(number, run)
		return "\n".join(text)

	def write(self, directory):
		os.makedirs(directory, exist_ok=True)
		self._put(os.path.join(directory, "results.json"),
		          json.dumps(self.outcome, indent=1, ensure_ascii=False))
		self._put(os.path.join(directory, "results.md"), self.markdown("results.svg"))
		if self.plot:
			self._put(os.path.join(directory, "results.svg"), self.plot)

	def update_document(self, path):
		with open(path, encoding="utf-8") as file:
			text = file.read()
		head, begin, rest = text.partition(BEGIN)
		_, end, tail = rest.partition(END)
		if not begin or not end:
			raise ValueError(f"{path} has no {BEGIN} ... {END}")
		picture = os.path.splitext(path)[0] + ".svg"
		if self.plot:
			self._put(picture, self.plot)
		table = self.markdown(os.path.basename(picture))
		self._put(path, f"{head}{BEGIN}\n{table}\n{END}{tail}", newline="")

	@staticmethod
	def _put(path, text, newline="\n"):
		"""Whole or not at all."""
		with open(path + ".new", "w", encoding="utf-8") as file:
			file.write(text + newline)
		os.replace(path + ".new", path)

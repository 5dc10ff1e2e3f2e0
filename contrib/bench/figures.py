# SPDX-License-Identifier: BSD-3-Clause
#
# Numbers as people read them, and what a set of rounds comes to.

import statistics


def _scaled(value, steps):
	for factor, unit in steps:
		if abs(value) >= factor:
			break
	number = value / factor
	digits = 0 if number == int(number) and number < 1000 else \
		max(0, 2 - len(str(int(abs(number)))) + 1)
	return f"{number:.{digits}f} {unit}".strip()


STEPS = {
	"IOPS": ((1e6, "M"), (1e3, "k"), (1, "")),
	"ns": ((1e6, "ms"), (1e3, "µs"), (1, "ns")),
	"bytes": ((1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")),
	"": ((1, ""),),
}


def text(value, unit):
	return _scaled(value, STEPS[unit])


class Spread:
	"""Median, least and most of some rounds."""

	def __init__(self, values):
		self.median = statistics.median(values)
		self.least, self.most = min(values), max(values)

	def text(self, unit):
		middle = text(self.median, unit)
		if self.least == self.most:
			return middle
		return f"{middle} ({text(self.least, unit)} – {text(self.most, unit)})"

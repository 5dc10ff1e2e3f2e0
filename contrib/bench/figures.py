# SPDX-License-Identifier: BSD-3-Clause
#
# Numbers as people read them, and what a set of rounds comes to.

import statistics


def _scaled(value, steps):
	factor, unit = next((step for step in steps if abs(value) >= step[0]), steps[-1])
	return value / factor, unit


def _three_digits(number, unit):
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
	"""A measured value."""
	return _three_digits(*_scaled(value, STEPS[unit]))


def round_text(value, unit):
	"""A value that somebody chose, with no more digits than it has."""
	number, name = _scaled(value, STEPS[unit])
	return f"{number:g} {name}".strip()


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

# SPDX-License-Identifier: BSD-3-Clause
#
# A plot as SVG: for each backing the IOPS of 4 KiB random reads over the queue depth, a bar for
# each contender (the median), a whisker from the least to the most. Bars, not lines: a quick run
# has but one or three depths. The colours are readable on white and on black.

import math
from xml.sax.saxutils import escape

import contenders
import figures

COLOURS = {"adaptive": "#3b82d9", "always": "#12a594", "qsd": "#e0702c", "fio": "#9463d6",
           "fio-batched": "#c77fb8", "floor": "#8d939c"}
TITLES = {"null": "No disk (null engine)", "warm": "File in the page cache",
          "direct": "The same file, O_DIRECT"}
WIDTH, PANEL, TOP, LEFT, RIGHT = 900, 250, 64, 70, 20
BAR_MOST = 44

STYLE = """
text { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 } .panel { font-size: 13px; font-weight: 600 }
.paper { fill: #ffffff } .grid { stroke: #d8dde3 } .axis { stroke: #57606a }
.whisker { stroke: #24292f; stroke-width: 1.2 } .small { font-size: 10px }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .paper { fill: #0d1117 } .grid { stroke: #30363d }
.axis { stroke: #8b949e } .whisker { stroke: #e6edf3 } }
"""


def _points(outcome, workload_of):
	"""{backing: {depth: {contender: Spread of IOPS, or None where it failed}}}"""
	points = {}
	for title, group in outcome["workloads"].items():
		load = workload_of.get(title)
		if not load or (load.rw, load.block_size, load.queues, load.completion, load.kind,
		                load.disks) != ("randread", 4096, 1, "poll", "speed", 1):
			continue
		for name, result in group["contenders"].items():
			values = [metrics["iops"] for metrics in result["rounds"]]
			if name in COLOURS:
				depths = points.setdefault(load.backing, {})
				depths.setdefault(load.depth, {})[name] = \
					figures.Spread(values) if values and not result["error"] else None
	return points


def _step(most):
	"""A round distance of grid lines: about five of them."""
	raw = most / 5
	power = 10 ** math.floor(math.log10(raw))
	return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)


class _Panel:
	"""One backing, its upper edge at y."""

	def __init__(self, y, backing, depths):
		self.y, self.backing, self.depths = y, backing, depths
		self.names = [name for name in COLOURS if any(name in at for at in depths.values())]
		most = max((spread.most for at in depths.values() for spread in at.values() if spread),
		           default=1)
		self.step = _step(most)
		self.limit = self.step * math.ceil(most * 1.04 / self.step)
		self.base, self.height = y + PANEL - 52, PANEL - 52 - 28

	def _at(self, value):
		return self.base - self.height * value / self.limit

	def draw(self):
		yield f'<text class="panel" x="{LEFT}" y="{self.y + 14}">{TITLES[self.backing]}</text>'
		for number in range(round(self.limit / self.step) + 1):
			value = number * self.step
			y = self._at(value)
			kind = "grid" if number else "axis"
			yield (f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
			       f'y1="{y:.1f}" y2="{y:.1f}"/>')
			yield (f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
			       f'{figures.round_text(value, "IOPS")}</text>')
		room = (WIDTH - LEFT - RIGHT) / len(self.depths)
		for number, depth in enumerate(sorted(self.depths)):
			middle = LEFT + room * (number + 0.5)
			yield (f'<text x="{middle:.1f}" y="{self.base + 17}" text-anchor="middle">'
			       f'{depth}</text>')
			yield from self._bars(middle, room, depth)
		yield (f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{self.base + 34}" '
		       'text-anchor="middle">requests in flight</text>')

	def _bars(self, middle, room, depth):
		width = min(BAR_MOST, room * 0.84 / len(self.names))
		left = middle - width * len(self.names) / 2
		for number, name in enumerate(self.names):
			if name in self.depths[depth]:
				yield from self._bar(left + width * number, width, name, depth)

	def _bar(self, x, width, name, depth):
		spread, centre = self.depths[depth][name], x + width / 2
		if not spread:
			yield (f'<text class="small" text-anchor="start" transform="translate('
			       f'{centre + 3:.1f} {self.base - 5}) rotate(-90)">{name} failed</text>')
			return
		top = self._at(spread.median)
		value = figures.text(spread.median, "IOPS")
		yield (f'<rect x="{x + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}" '
		       f'height="{self.base - top:.1f}" fill="{COLOURS[name]}">'
		       f'<title>{name}, depth {depth}: {escape(spread.text("IOPS"))}</title></rect>')
		yield (f'<line class="whisker" x1="{centre:.1f}" x2="{centre:.1f}" '
		       f'y1="{self._at(spread.least):.1f}" y2="{self._at(spread.most):.1f}"/>')
		if width >= 34:
			yield (f'<text class="small" x="{centre:.1f}" '
			       f'y="{self._at(spread.most) - 4:.1f}" text-anchor="middle">{value}</text>')


def _legend(names):
	x = LEFT
	for name in names:
		yield f'<rect x="{x}" y="38" width="11" height="11" fill="{COLOURS[name]}"/>'
		yield (f'<text x="{x + 16}" y="48">{name}<title>'
		       f'{escape(contenders.DESCRIPTIONS[name])}</title></text>')
		x += 34 + 8 * len(name)


def draw(outcome, workload_of):
	"""The SVG's text, or None where nothing of the kind was measured."""
	points = _points(outcome, workload_of)
	if not points:
		return None
	panels = [_Panel(TOP + PANEL * number, backing, points[backing]) for number, backing in
	          enumerate(backing for backing in TITLES if backing in points)]
	names = [name for name in COLOURS if any(name in panel.names for panel in panels)]
	height = TOP + PANEL * len(panels)
	parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
	         f'width="{WIDTH}" height="{height}" role="img">',
	         "<title>IOPS of 4 KiB random reads over the queue depth</title>",
	         f"<style>{STYLE}</style>",
	         f'<rect class="paper" fill="#ffffff" width="{WIDTH}" height="{height}"/>',
	         f'<text class="title" x="{LEFT}" y="24">4 KiB random reads in a second</text>',
	         *_legend(names)]
	for panel in panels:
		parts += panel.draw()
	return "\n".join(parts) + "\n</svg>"

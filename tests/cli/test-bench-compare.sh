#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# contrib/bench/compare measures a tiny row, writes its table, JSON and plot, tells what could not
# be measured, and ends its children when it is told to stop. From the environment: VUBLKD, SRCDIR,
# BUILDDIR, TMPDIR (tests/run sets them). What the figures are does not matter here.
# shellcheck disable=SC2317 # passes() calls the functions
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

COMPARE=$SRCDIR/contrib/bench/compare
readonly ROW='^null 4 KiB randread depth 32: adaptive vs qsd$'

compare()
{
	"${COMMAND[@]}" "$@"
}

lists_rows()
{
	(($("$COMPARE" --list | wc -l) > 15)) &&
		(($("$COMPARE" --full --list | wc -l) > 200)) &&
		[[ $("$COMPARE" --list --only="$ROW" | wc -l) == 1 ]]
}

measures()
{
	compare --only="$ROW" --output="$TMPDIR/out"
}

has_table()
{
	cat "$TMPDIR/out/results.md"
	grep -Eq '^\| null 4 KiB randread depth 32: adaptive vs qsd \|.*x \| .* \| (met|\*\*NOT MET\*\*)(, disturbed)? \|$' \
		"$TMPDIR/out/results.md"
}

# in_json EXPRESSION: is it true of the results?
in_json()
{
	python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
g = next(iter(r["workloads"].values()))["contenders"]
sys.exit(not eval(sys.argv[2]))' "$TMPDIR/out/results.json" "$1"
}

names_no_place()
{
	grep -q 'contrib/bench/compare' "$TMPDIR/out/results.md" || return
	! grep -F -e "$TMPDIR" -e "$SRCDIR" -e "$BUILDDIR" "$TMPDIR"/out/results.{md,json,svg}
}

plot_is_xml()
{
	python3 -c 'import sys, xml.dom.minidom as m
d = m.parse(sys.argv[1])
assert d.documentElement.tagName == "svg"
assert len(d.getElementsByTagName("rect")) >= 5' "$TMPDIR/out/results.svg"
}

updates_document()
{
	printf 'before\n<!-- results -->\nold\n<!-- end -->\nafter\n' >"$TMPDIR/doc.md"
	"$COMPARE" --from="$TMPDIR/out/results.json" --update-doc="$TMPDIR/doc.md" >/dev/null || return
	cat "$TMPDIR/doc.md"
	[[ $(head -n 1 "$TMPDIR/doc.md") == before && $(tail -n 1 "$TMPDIR/doc.md") == after ]] &&
		grep -q 'adaptive vs qsd' "$TMPDIR/doc.md" && ! grep -q '^old$' "$TMPDIR/doc.md" &&
		[[ -s $TMPDIR/doc.svg ]]
}

# A peer that cannot be had fails its rows, says so, and does not end the run.
tells_of_failure()
{
	local status

	compare --rounds=1 --only="$ROW" --qsd="$TMPDIR/nothing" >"$TMPDIR/failed.md"
	status=$?
	cat "$TMPDIR/failed.md"
	((status == 1)) && grep -q 'NOT MEASURED' "$TMPDIR/failed.md" &&
		grep -q "qsd: .*nothing cannot be started" "$TMPDIR/failed.md"
}

refuses()
{
	local status

	"$COMPARE" "$@"
	status=$?
	((status == 2))
}

# The back-ends that compare has started, by their command line.
children()
{
	grep -lz -- "$TMPDIR/[c]ompare-" /proc/[0-9]*/cmdline 2>/dev/null
}

stops_with_its_children()
{
	local pid round

	"${COMMAND[@]}" --seconds=60 --only="$ROW" >"$TMPDIR/stopped" 2>&1 &
	pid=$!
	for ((round = 0; round < 200; round++)); do
		[[ -n $(children) ]] && break
		sleep 0.05
	done
	if [[ -z $(children) ]]; then
		cat "$TMPDIR/stopped"
		return 1
	fi
	kill -TERM "$pid"
	wait "$pid"
	# One that was just being started is killed by the kernel, a moment after its parent's end.
	for ((round = 0; round < 100; round++)); do
		[[ -z $(children) ]] && break
		sleep 0.05
	done
	children
	[[ -z $(children) && -z $(find "$TMPDIR" -name '*compare-*') ]]
}

for program in python3 qemu-storage-daemon; do
	if ! command -v "$program" >/dev/null; then
		echo "1..0 # SKIP $program is not installed"
		exit 77
	fi
done
export TMPDIR=${TMPDIR:-/var/tmp}
COMMAND=("$COMPARE" --vublkd="$VUBLKD" --dir="$TMPDIR" --size=16M --rounds=2 --seconds=0.2
	--idle-seconds=0.2 --retries=0)
passes 'the rows can be listed' lists_rows
passes 'a row is measured' measures
passes 'the table has the row' has_table
passes 'the JSON has all rounds' in_json '[len(g[name]["rounds"]) for name in g] == [2, 2]'
passes 'the JSON has what the generator said' in_json \
	'all(m["raw"]["ios"] > 0 for c in g.values() for m in c["rounds"])'
passes 'the JSON has the machine' in_json 'r["runs"][0]["cpu"] and r["runs"][0]["versions"]["qsd"]'
passes 'the plot is an SVG' plot_is_xml
passes 'no file tells where on this machine it was made' names_no_place
passes 'a document is updated between its markers' updates_document
passes 'a row that cannot be measured is told of' tells_of_failure
passes 'a wrong option is refused' refuses --only='('
passes 'told to stop, it leaves no process and no file' stops_with_its_children
cases_end

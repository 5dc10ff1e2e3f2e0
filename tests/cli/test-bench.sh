#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vublk-bench does what it says: it counts right, finds wrong data, prints well-formed JSON, and
# refuses what it cannot do in one clear line. From the environment: VUBLKD, SRCDIR, BUILDDIR, TMPDIR.
# shellcheck disable=SC2001,SC2317 # ok() calls the functions
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

WORK=$(mktemp -d "${TMPDIR:-/tmp}/vublk-bench.XXXXXX") || exit 1
DEADLINE=$((30 * ${TEST_SLOW_FACTOR:-1})) # seconds, for what takes a moment
declare -A PID # of the daemons, by name

cleanup()
{
	((${#PID[@]} == 0)) || kill "${PID[@]}" 2>/dev/null
	wait
	rm -rf -- "$WORK"
}
trap cleanup EXIT

# wait_for FILE REGEX COUNT: until so many lines of the file match.
wait_for()
{
	local end=$((SECONDS + DEADLINE))

	while (($(grep -c "$2" "$1") < $3)); do
		((SECONDS < end)) || { echo "Bail out! $1: no '$2'"; exit 1; }
		read -r -t 0.02 <> <(:)
	done
}

# serve NAME OPTION...: a daemon on $WORK/NAME.sock, its log in $WORK/NAME.log.
serve()
{
	local name=$1

	shift
	: >"$WORK/$name.log"
	"$VUBLKD" --socket-path="$WORK/$name.sock" "$@" >>"$WORK/$name.log" 2>&1 &
	PID[$name]=$!
	wait_for "$WORK/$name.log" serving 1
}

# run STATUS NAME OPTION...: measures that daemon: JSON in $WORK/out, messages in $WORK/err.
run()
{
	local expected=$1 name=$2 status

	shift 2
	"$BENCH" --socket-path="$WORK/$name.sock" --json "$@" >"$WORK/out" 2>"$WORK/err"
	status=$?
	((status == expected)) || { echo "exit status $status: $*"; cat "$WORK/err"; }
}

# holds EXPRESSION: of the result r; printed if it does not.
holds()
{
	python3 - "$WORK/out" "$1" <<-'END'
	import json, sys
	r = json.load(open(sys.argv[1]))
	if not eval(sys.argv[2]):
	    print("not so:", sys.argv[2], "of", r)
	END
}

# refuses STATUS REGEX OPTION...: with one line, which matches.
refuses()
{
	local expected=$1 regex=$2 status

	shift 2
	"$BENCH" "$@" >"$WORK/out" 2>"$WORK/err"
	status=$?
	((status == expected)) || echo "exit status $status: $*"
	[[ ! -s $WORK/out ]] || echo "prints something: $*"
	[[ $(wc -l <"$WORK/err") == 1 ]] || echo "not one line: $*"
	grep -qE -- "^vublk-bench: .*$regex" "$WORK/err" || cat "$WORK/err"
}

refuses_options()
{
	local socket=--socket-path=/nonexistent

	refuses 2 'socket-path=PATH is missing'
	refuses 2 'unknown option .--sokket' --sokket
	refuses 2 'did you mean --seconds' "$socket" --sec=1
	refuses 2 'is given twice' "$socket" --seconds=1 --seconds=1
	refuses 2 'given twice, which takes --compare' "$socket" "$socket"
	refuses 2 'needs --socket-path=PATH twice' --compare "$socket"
	refuses 2 '--rounds goes only with' "$socket" --rounds=2
	refuses 2 'neither --compare nor --floor' --floor --beside="$WORK/image.sock"
	refuses 2 'goes only with --beside' "$socket" --beside-depth=2
	refuses 2 'exclude each other' "$socket" --beside="$WORK/image.sock" --count=5
	refuses 2 'needs a ring of 60000 entries' "$socket" --beside="$WORK/image.sock" \
		--beside-depth=20000 --descriptors=direct
	refuses 2 'unexpected argument' "$socket" read
	refuses 2 'needs a value' "$socket" --rw
	refuses 2 'is empty' "$socket" --rw=
	refuses 2 'takes no value' "$socket" --json=yes
	refuses 2 "must be read.*not 'trim'" "$socket" --rw=trim
	refuses 2 'read-percent goes only' "$socket" --read-percent=10
	refuses 2 'from 0 to 100' "$socket" --rw=rw --read-percent=101
	refuses 2 'multiple of 512' "$socket" --block-size=513
	refuses 2 'power of two' "$socket" --queue-size=100
	refuses 2 'needs a ring of 384 entries' "$socket" --descriptors=direct --queue-depth=128 \
		--queue-size=128
	refuses 2 'a number from 1' "$socket" --queue-depth=0
	refuses 2 'more than --num-queues' "$socket" --threads=2
	refuses 2 'number of seconds' "$socket" --seconds=1e3
	refuses 2 'above 0' "$socket" --seconds=0
	refuses 2 'exclude each other' "$socket" --seconds=1 --count=1
	refuses 2 'processors' "$socket" --cpu-affinity=3-1
	refuses 2 '--floor goes with neither' --floor "$socket"
	refuses 2 'does not go with --floor' --floor --verify
	refuses 1 'cannot connect to /nonexistent: No such file' "$socket"
}

# What the back-end cannot do is said, too.
refuses_what_is_not_there()
{
	refuses 1 '--num-queues is 3, the back-end has 2' --socket-path="$WORK/null.sock" \
		--num-queues=3
	refuses 1 'the disk at 67108864' --socket-path="$WORK/null.sock" --size=65M
	refuses 1 'few for a block' --socket-path="$WORK/null.sock" --offset=64M
	refuses 1 'read-only' --socket-path="$WORK/read-only.sock" --rw=write
	refuses 1 'cannot start a thread' --socket-path="$WORK/null.sock" --cpu-affinity=4095
}

has_the_promised_shape()
{
	# So many that the kernel, which looks at a running thread now and then, has charged it.
	run 0 null --count=300000
	holds 'list(r) == ["socket", "seconds", "ios", "errors", "iops", "bytes_per_second",
		"latency_ns", "kicks_per_io", "calls_per_io", "backend"]'
	holds 'list(r["latency_ns"]) == ["min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]'
	holds 'list(r["backend"]) == ["pid", "cpu_ns_per_io", "syscalls_per_io", "memory_bytes"]'
	holds "r['socket'] == '$WORK/null.sock' and r['backend']['pid'] == ${PID[null]}"
	holds 'r["errors"] == 0 and abs(r["ios"] / r["seconds"] / r["iops"] - 1) < 0.01'
	holds 'abs(r["iops"] * 4096 / r["bytes_per_second"] - 1) < 0.01'
	holds 'r["backend"]["cpu_ns_per_io"] > 0 and r["backend"]["memory_bytes"] > 100000'
	holds 'sorted(list(r["latency_ns"].values())[2:]) == list(r["latency_ns"].values())[2:]'
	holds '0 < r["latency_ns"]["min"] <= r["latency_ns"]["mean"] <= r["latency_ns"]["max"]'
}

# Exactly so many, however they are spread, and whatever was in flight before.
counts_exactly()
{
	run 0 null --count=1
	holds 'r["ios"] == 1'
	run 0 null --count=1001 --queue-depth=32 --num-queues=2 --threads=2 --warmup=0.05
	holds 'r["ios"] == 1001'
	run 0 null --count=333 --queue-depth=100 --num-queues=2 --completion=call --ring=packed
	holds 'r["ios"] == 333'
}

every_ring_works()
{
	local ring descriptors event_idx completion

	for ring in split packed; do
		for descriptors in direct indirect; do
			for event_idx in on off; do
				for completion in poll call; do
					run 0 image --verify --rw=randrw --queue-depth=16 --count=5000 \
						--ring="$ring" --descriptors="$descriptors" \
						--event-idx="$event_idx" --completion="$completion"
					holds 'r["ios"] == 5000 and r["errors"] == 0'
				done
			done
		done
	done
}

notifies_like_a_driver()
{
	local ring event_idx

	for ring in split packed; do
		for event_idx in on off; do
			# Longer than the index space, where there is a processor for each: an event index
			# may not be met again. (One call comes when a ring starts, perhaps late.)
			run 0 null --ring="$ring" --event-idx="$event_idx" --warmup=0.05 --seconds=0.3 \
				--queue-depth=16
			holds 'r["calls_per_io"] * r["ios"] < 1.5 and r["kicks_per_io"] <= 1'
			# Who of the two finds time to sleep is chance, but not both are always awake.
			run 0 image --ring="$ring" --event-idx="$event_idx" --completion=call --count=500
			holds 'r["calls_per_io"] <= 1.1 and r["kicks_per_io"] <= 1'
			holds 'r["calls_per_io"] + r["kicks_per_io"] > 0'
		done
	done
}

# The floor polls: whoever obeys its wish for no kicks gives none.
floor_needs_no_kicks()
{
	local ring event_idx descriptors

	for ring in split packed; do
		for event_idx in on off; do
			for descriptors in direct indirect; do
				"$BENCH" --floor --json --count=500 --queue-depth=8 --ring="$ring" \
					--event-idx="$event_idx" --descriptors="$descriptors" \
					>"$WORK/out" 2>&1
				holds 'r["kicks_per_io"] == 0 and r["ios"] > 0'
			done
		done
	done
}

keeps_the_rate()
{
	run 0 null --rate=2000 --count=200
	holds 'r["seconds"] > 0.095'
	run 0 null --rate=2000 --count=200 --completion=call --queue-depth=4 --num-queues=2
	holds 'r["seconds"] > 0.095'
}

# One byte of 4 MiB is changed: one block is wrong, and the sector is named.
finds_a_wrong_byte()
{
	run 0 image --verify --rw=write --size=4M --count=1024 --queue-depth=8
	run 0 image --verify --rw=read --size=4M --count=1024 --queue-depth=8
	printf '\xff\x00\xff' | dd of="$WORK/image" bs=1 seek=1000001 count=1 conv=notrunc status=none
	run 1 image --verify --rw=read --size=4M --count=1024 --queue-depth=8
	holds 'r["ios"] == 1024 and r["errors"] == 1'
	grep -q 'wrong data: sector 1953, bytes 64 to 71' "$WORK/err" || cat "$WORK/err"
}

# A back-end that writes nothing is found out, even by who has written the same there before.
finds_what_is_not_read()
{
	run 1 null --verify --rw=rw --count=1000 --size=64K
	holds 'r["errors"] > 0'
}

# The back-end's process may not write behind the first half of its image.
counts_errors()
{
	run 1 limited --count=256 --rw=write
	holds 'r["ios"] == 256 and r["errors"] == 128'
	grep -q '128 requests failed' "$WORK/err" || cat "$WORK/err"
}

has_another_beside()
{
	local ring

	for ring in split packed; do
		run 0 null --beside="$WORK/image.sock" --ring="$ring" --beside-depth=16 \
			--seconds=0.3 --completion=call
		holds 'r["ios"] > 0 and r["errors"] == 0 and r["beside"]["iops"] > 0'
		holds 'r["backend"]["cpu_ns_per_io"] is None'
	done
	run 1 null --beside="$WORK/none.sock" --seconds=0.1
	grep -q 'beside: cannot connect' "$WORK/err" || cat "$WORK/err"
}

compares()
{
	"$BENCH" --compare --socket-path="$WORK/null.sock" --socket-path="$WORK/image.sock" --rounds=3 \
		--count=500 --json >"$WORK/out" 2>"$WORK/err" || cat "$WORK/err"
	holds 'list(r) == ["a", "b", "ratio", "ratio_min", "ratio_max", "rounds"] and r["rounds"] == 3'
	holds 'r["a"]["socket"].endswith("null.sock") and r["b"]["socket"].endswith("image.sock")'
	holds 'abs(r["a"]["iops"] / r["b"]["iops"] / r["ratio"] - 1) < 0.01'
	holds '0 < r["ratio_min"] <= r["ratio_max"]'
}

# in_the_middle NAME SIGNAL WHOM: starts a long measurement of that daemon, and sends the signal to
# it or to the daemon as soon as they are connected. Sets RESULT, its exit status.
in_the_middle()
{
	local name=$1 signal=$2 whom=$3 before pid

	before=$(grep -c 'is connected' "$WORK/$name.log")
	"$BENCH" --socket-path="$WORK/$name.sock" --json --seconds=1000 >"$WORK/out" 2>"$WORK/err" &
	pid=$!
	wait_for "$WORK/$name.log" 'is connected' $((before + 1))
	kill "-$signal" "${whom:-$pid}"
	wait "$pid"
	RESULT=$?
}

ends_early()
{
	in_the_middle null INT ''
	((RESULT == 0)) || cat "$WORK/err"
	holds 'r["errors"] == 0 and r["seconds"] < 900'
}

sees_the_end_of_the_back_end()
{
	in_the_middle victim KILL "${PID[victim]}" 2>/dev/null
	((RESULT == 1)) || echo "exit status $RESULT"
	[[ $(wc -l <"$WORK/err") == 1 ]] || cat "$WORK/err"
	grep -q 'closed the connection' "$WORK/err" || cat "$WORK/err"
}

if ! command -v python3 >/dev/null; then
	echo "1..0 # SKIP python3 is not installed"
	exit 77
fi
if [[ ! -x $BENCH ]]; then
	echo "Bail out! $BENCH is not built"
	exit 1
fi
truncate -s 64M "$WORK/image" "$WORK/read-only"
truncate -s 1M "$WORK/limited"
trap '' XFSZ # of the one that is limited below
serve null --engine=null --size=64M --num-queues=2
serve image --blk-file="$WORK/image" --cache=writeback
serve read-only --blk-file="$WORK/read-only" --read-only --cache=writeback
serve limited --blk-file="$WORK/limited" --cache=writeback
prlimit --pid "${PID[limited]}" --fsize=$((512 * 1024))
serve victim --engine=null --size=64M
disown "${PID[victim]}" # its end is nothing to be told of
ok 'options are refused with one clear line' refuses_options
ok 'what the back-end does not have is said' refuses_what_is_not_there
ok 'the JSON has the promised shape' has_the_promised_shape
ok '--count is exact' counts_exactly
ok 'every kind of ring moves the right data' every_ring_works
ok 'it notifies and is notified as a driver' notifies_like_a_driver
ok 'the floor gets no kicks' floor_needs_no_kicks
ok 'the rate is kept' keeps_the_rate
ok '--verify finds a wrong byte' finds_a_wrong_byte
ok '--verify finds what was not read' finds_what_is_not_read
ok 'failed requests are counted' counts_errors
ok '--beside keeps another disk busy' has_another_beside
ok '--compare compares' compares
ok 'an interrupt ends it early' ends_early
ok 'the end of the back-end is seen' sees_the_end_of_the_back_end
cases_end

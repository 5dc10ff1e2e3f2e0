#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# System calls of the daemon for each request, counted by strace(1).
# timeout: 120
# shellcheck disable=SC2317 # ok() calls the functions
# shellcheck source=tests/cost/lib.sh
. "$(dirname "$0")/lib.sh"

readonly FEW=20 # batches
MANY=220
readonly AROUND=350 # system calls of the start and the end

# count BATCHES DAEMON-OPTION... -- CLIENT-OPTION...: prints how many system calls that took, and how
# much CPU time, us.
count()
{
	local batches=$1 daemon client total cpu

	shift
	split_options "$@"
	serve counted strace -f -c -o "$WORK/counts" "$VUBLKD" "${daemon[@]}" >&2
	lockstep counted batches="$batches" "${client[@]}" >&2 || return
	cpu=$(cat "/proc/$(child_of "$DAEMON")"/task/*/schedstat | awk '{ ns += $1 } END { print int(ns / 1000) }')
	end_daemon >&2 || return
	total=$(awk '$NF == "total" { print $4 }' "$WORK/counts")
	echo "${total:?strace has counted nothing} $cpu"
}

# costs BOUND DEPTH DAEMON-OPTION... -- CLIENT-OPTION...: system calls for a request. On a busy machine
# a batch may be seen in parts, which can only add to them. So one of some attempts within the bound
# is enough.
costs()
{
	local bound=$1 depth=$2 few many attempt

	shift 2
	for attempt in 1 2 3; do
		few=$(count "$FEW" "$@" depth="$depth") && many=$(count "$MANY" "$@" depth="$depth") || return
		at_most "system calls per request, attempt $attempt" \
			"$(awk "BEGIN { print (${many% *} - ${few% *}) / (($MANY - $FEW) * $depth) }")" "$bound" &&
			return
	done
	cat "$WORK/counts"
	return 1
}

# The null engine makes no system call but to look at its watches: once in 64 rounds with completions,
# and once in 1024 without, for which a processor takes at least 10 us. A batch is one round, or two.
looks_now_and_then()
{
	local batches=4000 all cpu

	read -r all cpu < <(count "$batches" --engine=null --size=64M --poll=always -- poll) || return
	at_most "system calls of $batches batches, in $cpu us" "$all" \
		$((batches * 2 / 64 + cpu / 10 + AROUND))
}

needs strace
strace -f -o /dev/null true || { echo "1..0 # SKIP strace may not trace here"; exit 77; }
make_image "$WORK/image" 8
file=(--blk-file="$WORK/image" --cache=writeback)

ok 'null engine, depth 32, both look: a look at the watches now and then' looks_now_and_then
# One io_uring_enter(2) for 32 reads, which end in it: 1/32, and a little for the odd batch that is
# seen in two parts.
ok 'file in the page cache, depth 32, both look' costs 0.04 32 "${file[@]}" --poll=always -- poll
# Two to enter: submit and sleep, and once more after the completion. Two for the kick, which is
# read until nothing is left (it may be a pipe). Two for the call, since a write to a descriptor of
# the front-end's might wait.
MANY=1020
ok 'file in the page cache, depth 1, both sleep' costs 6.1 1 "${file[@]}" --poll=off --
MANY=220
# The same six for 32.
ok 'file in the page cache, depth 32, both sleep' costs 0.19 32 "${file[@]}" --poll=off --
# No calls, no kicks; at worst each completion ends a sleep of its own.
ok 'O_DIRECT, depth 32, both look' costs 1.1 32 --blk-file="$WORK/image" --poll=always -- poll
finish

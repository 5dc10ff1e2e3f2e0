#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# At rest the daemon costs nothing: for two seconds none of its threads runs, be it for the shortest
# moment (where no request ever came the control thread looks after 2, 6, 14, 30 and 62 s, so of two
# times two seconds one has to be so); and it is small. What the kernel has counted for each thread
# tells (a system call takes a thread that runs).
# timeout: 60
# shellcheck disable=SC2317 # ok() calls the functions
# shellcheck source=tests/cost/lib.sh
. "$(dirname "$0")/lib.sh"

readonly SECONDS_OF_REST=2
# Of the daemon's own memory, without the guest's. It has about 1 MiB; more than 8 would mean that
# something grows with the requests, or that what is only reserved is touched.
readonly MEMORY=$((8 << 20)) # bytes
# After the last request a worker looks for a moment (POLL_AUTO_MOST, 32 us), and a lone ring may be
# hot as long. So long, with a wide margin for a busy machine, may it take until all is at rest.
readonly SETTLING=20 # tenths of a second
# So long after a session's beginning the control thread first looks whether the guest's memory is
# shared, and if no request has come, again after twice the time (FIRST_PAUSE_NS,
# src/disk/sharing.c).
readonly LOOK=2.2 # seconds
# A ring without a kick descriptor is looked at every 50 us (POLL_NS, src/worker/worker.c).
readonly LOOKS=20000 # a second
readonly HALF_A_MINUTE=600 # twentieths of a second
declare -A PID
NAMES=()

pause()
{
	read -r -t "$1" <> <(:)
}

# All that a process has run so far: for each thread the ns, the time slices, and how often it slept.
snapshot()
{
	grep -H '' "/proc/$1"/task/*/schedstat 2>/dev/null
	grep ctxt_switches "/proc/$1"/task/*/status
}

sleeps_of()
{
	awk '/^voluntary/ { n += $2 } END { print n }' "/proc/$1"/task/*/status
}

memory_of()
{
	awk '/^Private_(Clean|Dirty):/ { kib += $2 } END { print kib * 1024 }' "/proc/$1/smaps_rollup"
}

# begin NAME DAEMON-OPTION... -- CLIENT-OPTION...: a daemon, and a client that does its work and then
# stays connected.
begin()
{
	local name=$1 daemon client

	shift
	split_options "$@"
	serve "$name" "$VUBLKD" --blk-file="$WORK/image" --cache=writeback --no-lock "${daemon[@]}"
	PID[$name]=$DAEMON
	NAMES+=("$name")
	"$LOCKSTEP" "$WORK/$name" hold "${client[@]}" <"$WORK/hold" >"$WORK/$name.out" 2>&1 9>&- &
}

# The client has done its work.
is_done()
{
	local i

	for ((i = 0; i < HALF_A_MINUTE; i++)); do
		grep -q ios= "$WORK/$1.out" && return
		pause 0.05
	done
	cat "$WORK/$1.out"
	return 1
}

settles()
{
	local i before now

	now=$(snapshot "${PID[$1]}")
	for ((i = 0; i < SETTLING; i++)); do
		before=$now
		pause 0.1
		now=$(snapshot "${PID[$1]}")
		[[ $now == "$before" ]] && return
	done
	diff <(echo "$before") <(echo "$now")
}

# The second snapshot of daemon $1 is the first one; where no request came, or the third the second.
rests()
{
	[[ -s $WORK/$1.0 ]] || return
	diff "$WORK/$1.0" "$WORK/$1.1" && return
	[[ $1 == *-unused ]] && diff "$WORK/$1.1" "$WORK/$1.2"
}

snapshots()
{
	local name

	for name in "${NAMES[@]}"; do
		snapshot "${PID[$name]}" >"$WORK/$name.$1"
	done
}

is_small()
{
	at_most bytes "$(memory_of "${PID[$1]}")" "$MEMORY"
}

# But does look: at least once in a hundred times 50 us, however busy the machine is.
looks_at_times()
{
	local ms=$2 n=$3

	at_most "looks in $ms ms" "$n" $((LOOKS * ms / 1000)) && ((n > LOOKS * ms / 1000 / 100))
}

make_image "$WORK/image" 8
mkfifo "$WORK/hold"
exec 9<>"$WORK/hold" # which ends the clients when it is closed
for workers in 1 4; do
	for ring in split packed; do
		options=(depth=32 batches=3200 queues="$workers")
		[[ $ring == split ]] || options+=(packed)
		begin "$workers-$ring-busy" --num-workers="$workers" -- "${options[@]}"
		begin "$workers-$ring-unused" --num-workers="$workers" -- "${options[@]}" batches=0
	done
done
begin unkicked -- no-kick
for name in "${NAMES[@]}"; do
	ok "$name: the work is done" is_done "$name"
done
pause "$LOOK"
for name in "${NAMES[@]}"; do
	[[ $name == unkicked ]] || ok "$name: comes to rest" settles "$name"
done

snapshots 0
before=$(sleeps_of "${PID[unkicked]}") start=${EPOCHREALTIME/./}
pause "$SECONDS_OF_REST"
sleeps=$(($(sleeps_of "${PID[unkicked]}") - before)) ms=$(((${EPOCHREALTIME/./} - start) / 1000))
snapshots 1
pause "$SECONDS_OF_REST"
snapshots 2

for name in "${NAMES[@]}"; do
	if [[ $name == unkicked ]]; then
		ok 'a ring without a kick descriptor is looked at now and then' \
			looks_at_times unkicked "$ms" "$sleeps"
	else
		ok "$name: nothing runs for $SECONDS_OF_REST s" rests "$name"
	fi
	ok "$name: is small" is_small "$name"
done
exec 9>&-
for name in "${NAMES[@]}"; do
	DAEMON=${PID[$name]}
	end_daemon >"$WORK/end" || cat "$WORK/end"
done
finish

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Notifications cost a system call here and an exit of the guest there. Nobody is to be told what
# he does not want to know: kicks while the worker looks, calls while the driver looks.
# timeout: 60
# shellcheck disable=SC2317 # ok() calls the functions
# shellcheck source=tests/cost/lib.sh
. "$(dirname "$0")/lib.sh"

# Over 65536 requests: an event index that is not moved along is met again after so many.
readonly BATCHES=2500

# A client that looks at its ring, served by a worker that does. Bounds: none, ever. That the
# avail_event or the flags were right once is not enough, so this is long.
nobody_tells()
{
	lockstep always poll batches="$BATCHES" "$@" || return
	at_most kicks "$kicks" 0 && at_most calls "$calls" 0
}

# A client that sleeps. A batch that is published at once is told of once, so: a call a batch.
# And it takes at least one to wake who sleeps: none would mean that nothing was measured.
one_call_a_batch()
{
	lockstep always batches=500 "$@" || return
	at_most 'calls for 500 batches' "$calls" 500 && ((calls > 0)) && at_most kicks "$kicks" 0
}

# Without polling a batch takes a kick, and no more.
one_kick_a_batch()
{
	lockstep off batches=500 "$@" || return
	at_most 'calls for 500 batches' "$calls" 500 && at_most 'kicks' "$kicks" 500 &&
		((calls > 0 && kicks > 0))
}

serve always "$VUBLKD" --engine=null --size=64M --poll=always
always=$DAEMON
serve off "$VUBLKD" --engine=null --size=64M --poll=off
for ring in split packed; do
	for event_idx in event-idx no-event-idx; do
		options=()
		[[ $ring == split ]] || options+=("$ring")
		[[ $event_idx == event-idx ]] || options+=("$event_idx")
		ok "$ring, $event_idx: both look: no kick, no call" nobody_tells "${options[@]}"
		ok "$ring, $event_idx: the driver sleeps: a call a batch" one_call_a_batch "${options[@]}"
		ok "$ring, $event_idx: both sleep: a kick and a call a batch" \
			one_kick_a_batch "${options[@]}"
	done
done
end_daemon >"$WORK/end" && DAEMON=$always && end_daemon >>"$WORK/end"
ok 'both daemons end well' [ $? = 0 ]
finish

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Nothing is allocated on the I/O path: ten times the requests take not one malloc() or mmap() more.
# timeout: 60
# shellcheck disable=SC2317 # ok() calls the functions
# shellcheck source=tests/cost/lib.sh
. "$(dirname "$0")/lib.sh"

COUNTER=$BUILDDIR/tests/cost/count-malloc.so

# count BATCHES DAEMON-OPTION... -- CLIENT-OPTION...: prints how much that has allocated.
count()
{
	local batches=$1 daemon client

	shift
	split_options "$@"
	rm -f "$WORK/count"
	serve counted env LD_PRELOAD="$COUNTER" COUNT_MALLOC_FILE="$WORK/count" "$VUBLKD" \
		"${daemon[@]}" >&2
	lockstep counted batches="$batches" "${client[@]}" >&2 && end_daemon >&2 && cat "$WORK/count"
}

# allocates_at_most BOUND DAEMON-OPTION... -- CLIENT-OPTION...: in 2880 requests, the first 320 not
# counted.
allocates_at_most()
{
	local bound=$1 few many

	shift
	few=$(count 10 "$@") && many=$(count 100 "$@") || return
	# A daemon that starts allocates something, or nothing has been counted.
	((few > 10)) || { echo "counted $few in all"; return 1; }
	at_most "allocations of 2880 requests" $((many - few)) "$bound"
}

[[ -e $COUNTER ]] || bail_out "$COUNTER is not built"
make_image "$WORK/image" 8
for engine in null io_uring libaio; do
	disk=(--engine="$engine" --blk-file="$WORK/image")
	[[ $engine != null ]] || disk=(--engine=null --size=64M)
	if [[ $engine == io_uring ]] && ! "$BUILDDIR/tests/no-uring" --probe >/dev/null; then
		ok "$engine # SKIP io_uring is not to be had" true
		continue
	fi
	for options in '' direct packed 'packed direct' inflight 'packed inflight'; do
		# shellcheck disable=SC2086 # words are meant to be split
		ok "$engine, ${options:-split}" allocates_at_most 0 "${disk[@]}" -- $options
	done
done
# Buffers for requests that must be bounced are used again; there are never more than requests in
# flight, but it may take a while until all of these have met in the disk.
ok 'bounce buffers' allocates_at_most 32 --blk-file="$WORK/image" -- unaligned
finish

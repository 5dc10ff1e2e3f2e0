# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2001,SC2030,SC2031 # the subshell has a list of its own
#
# What the scripts of tests/cost share: a daemon, perhaps under a tool that counts; the client whose
# work is the same each time (lockstep.c); and bounds.
#
# Theory of operation. Costs that are counted, not timed, are the same on any machine and under any
# load, if the work is the same. Start and end cost something too; so a run of few batches is
# compared with one of many, and the difference is what the batches between cost.
#
# From the environment: VUBLKD, SRCDIR, BUILDDIR, TMPDIR.
set -u -o pipefail
export LC_ALL=C

SRCDIR=${SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
BUILDDIR=${BUILDDIR:-$SRCDIR/build}
VUBLKD=${VUBLKD:-$BUILDDIR/src/vublkd}
LOCKSTEP=$BUILDDIR/tests/cost/lockstep
WORK=$(mktemp -d "${TMPDIR:-/tmp}/vublkd-cost.XXXXXX") || exit 1
DEADLINE=$((30 * ${TEST_SLOW_FACTOR:-1})) # seconds
CASES=0
STATUS=0
STARTED=() # daemons that have not been ended
DAEMON='' # the last one's process, or that of the tool around it

end_jobs()
{
	local pid

	for pid in "${STARTED[@]}"; do
		[[ -n $pid ]] || continue
		kill -KILL "$(child_of "$pid")" "$pid" 2>/dev/null
	done
	wait 2>/dev/null
}
trap 'end_jobs; rm -rf -- "$WORK"' EXIT

bail_out()
{
	echo "Bail out! $*"
	exit 1
}

# The process that $1 has started; or itself.
child_of()
{
	local child=''

	read -r child 2>/dev/null <"/proc/$1/task/$1/children"
	child=${child%% *}
	echo "${child:-$1}"
}

# ok DESCRIPTION COMMAND...: a case that passes if the command does, in a subshell. What it prints is
# shown.
ok()
{
	local description=$1 output result=ok

	shift
	output=$(STARTED=(); trap end_jobs EXIT; "$@" 2>&1) || result='not ok' STATUS=1
	echo "$result $((++CASES)) - $description"
	[[ -z $output ]] || sed 's/^/# /' <<<"$output"
}

finish()
{
	echo "1..$CASES"
	exit "$STATUS"
}

# split_options DAEMON-OPTION... -- CLIENT-OPTION...: sets the caller's arrays `daemon` and `client`.
split_options()
{
	daemon=() client=()
	while [[ $1 != -- ]]; do
		daemon+=("$1")
		shift
	done
	# shellcheck disable=SC2034 # for the caller
	client=("${@:2}")
}

# serve NAME COMMAND...: runs the daemon (command, options) until it listens on $WORK/NAME.
serve()
{
	local name=$1 end=$((SECONDS + DEADLINE))

	shift
	: >"$WORK/$name.log"
	"$@" --socket-path="$WORK/$name" >>"$WORK/$name.log" 2>&1 &
	DAEMON=$!
	STARTED+=("$DAEMON")
	until grep -q serving "$WORK/$name.log"; do
		if ((SECONDS >= end)) || ! kill -0 "$DAEMON" 2>/dev/null; then
			cat "$WORK/$name.log"
			bail_out "$* does not serve"
		fi
		read -r -t 0.02 <> <(:)
	done
}

# Ends the last daemon, in an orderly way. Around it there may be a tool, which ends with it.
end_daemon()
{
	kill -TERM "$(child_of "$DAEMON")"
	STARTED=("${STARTED[@]/$DAEMON/}")
	wait "$DAEMON" || { cat "$WORK"/*.log; echo "the daemon's exit status is $?"; return 1; }
}

# lockstep NAME OPTION...: the client's work; sets what it prints as variables ios, kicks, calls.
lockstep()
{
	local name=$1 out

	shift
	out=$("$LOCKSTEP" "$WORK/$name" "$@") || { cat "$WORK/$name.log"; return 1; }
	# shellcheck disable=SC2034 # for the caller
	read -r ios kicks calls <<<"${out//[a-z=]/ }"
}

# A file of $2 MiB that is in the page cache and on the disk.
make_image()
{
	dd if=/dev/urandom of="$1" bs=1M count="$2" conv=fsync status=none
	cat "$1" >/dev/null
}

# at_most WHAT COUNT BOUND [UNIT]: both may be fractions. Shows them; fails if it is more.
at_most()
{
	awk -v what="$1" -v count="$2" -v bound="$3" -v unit="${4:-}" 'BEGIN {
		printf "%s: %g%s, at most %g\n", what, count, unit, bound
		exit !(count <= bound)
	}'
}

needs()
{
	local program

	for program; do
		command -v "$program" >/dev/null && continue
		echo "1..0 # SKIP $program is not installed"
		exit 77
	done
}

[[ -x $LOCKSTEP ]] || bail_out "$LOCKSTEP is not built"

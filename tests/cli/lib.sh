# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What the tests of command lines share: where things are, and cases in TAP. Sourced. From the
# environment: SRCDIR, BUILDDIR, VUBLKD (tests/run sets them). A test ends with cases_end.
# shellcheck disable=SC2034 # those who source this use them
set -u -o pipefail
export LC_ALL=C

SRCDIR=${SRCDIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
BUILDDIR=${BUILDDIR:-$SRCDIR/build}
VUBLKD=${VUBLKD:-$BUILDDIR/src/vublkd}
BENCH=$BUILDDIR/contrib/bench/vublk-bench
CTL=${VUBLKCTL:-$BUILDDIR/src/vublkctl}
CASES=0
STATUS=0

# case_is RESULT DESCRIPTION OUTPUT
case_is()
{
	[[ $1 == ok ]] || STATUS=1
	echo "$1 $((++CASES)) - $2"
	[[ -z $3 ]] || echo "# ${3//$'\n'/$'\n'# }"
}

# passes DESCRIPTION COMMAND...: a case that passes if the command does. What it says is told if not.
passes()
{
	local description=$1 output

	shift
	if output=$("$@" 2>&1); then
		case_is ok "$description" ''
	else
		case_is 'not ok' "$description" "$output"
	fi
}

# ok DESCRIPTION COMMAND...: a case that passes if the command does and says nothing.
ok()
{
	local description=$1 output result=ok

	shift
	output=$("$@" 2>&1) || result='not ok'
	[[ -z $output ]] || result='not ok'
	case_is "$result" "$description" "$output"
}

# await COMMAND...: until it succeeds, or for so long that it never will. It is tried each AWAIT_EVERY
# seconds.
await()
{
	local end=$((SECONDS + 20 * ${TEST_SLOW_FACTOR:-1}))

	until "$@"; do
		((SECONDS < end)) || return 1
		sleep "${AWAIT_EVERY:-0.02}"
	done
}

# sessions SOCKET N: so many front-ends, one after the other, get an answer.
sessions()
{
	timeout $((20 * ${TEST_SLOW_FACTOR:-1})) python3 - "$1" "$2" <<-'END'
	import socket, struct, sys
	for i in range(int(sys.argv[2])):
	    s = socket.socket(socket.AF_UNIX)
	    s.connect(sys.argv[1])
	    s.sendall(struct.pack("=III", 1, 1, 0)) # GET_FEATURES
	    assert len(s.recv(100)) == 20
	    s.close()
	END
}

cases_end()
{
	echo "1..$CASES"
	exit $STATUS
}

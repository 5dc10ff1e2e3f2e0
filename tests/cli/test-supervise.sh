#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vublkd --supervise: the daemon as the child of vublkd-keeper. What that does is tested by
# unit/test-keeper*.c; here it is the real daemon that it starts.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called by passes
. "$(dirname "$0")/lib.sh"
cd "$TMPDIR" || exit 1

truncate -s 1M image

# The processes that PID has started.
children_of()
{
	local file stat

	# One by one, for each may be gone by then.
	for file in /proc/[0-9]*/stat; do
		{ read -r stat <"$file"; } 2>/dev/null || continue
		[[ $stat =~ ^([0-9]+)\ \(.*\)\ [A-Z]\ $1\  ]] && echo "${BASH_REMATCH[1]}"
	done
}

# start ARG...: KEEPER, and DAEMON when the socket is there.
start()
{
	rm -f socket
	"$VUBLKD" --supervise --blk-file=image --socket-path=socket "$@" 2>log &
	KEEPER=$!
	await test -S socket
	DAEMON=$(children_of "$KEEPER")
}

# Sets DAEMON to the one that follows; not in a subshell.
has_another_daemon()
{
	local now

	now=$(children_of "$KEEPER")
	[[ $now && $now != "$DAEMON" ]] && DAEMON=$now
}

has_ended_with()
{
	[[ $STATUS_OF_KEEPER == "$1" ]] || { echo "status $STATUS_OF_KEEPER"; return 1; }
}

# fails STATUS TEXT COMMAND...: with that status, at once, and says that.
fails()
{
	local status=$1 text=$2 output

	shift 2
	output=$(timeout $((20 * ${TEST_SLOW_FACTOR:-1})) "$@" 2>&1 >/dev/null)
	[[ $? == "$status" && $output == *"$text"* ]] || { echo "$output"; return 1; }
}

### A daemon that is killed #######################################################################

is_a_daemon_with()
{
	local line

	line=$(tr '\0' ' ' <"/proc/$DAEMON/cmdline")
	echo "$line"
	[[ $line == "$VUBLKD --blk-file=image --socket-path=socket $* " &&
		$(<"/proc/$DAEMON/comm") == vublkd && $(<"/proc/$KEEPER/comm") == vublkd-keeper ]]
}

is_told_of_the_keeper()
{
	tr '\0' '\n' <"/proc/$DAEMON/environ" | grep -qE '^NOTIFY_SOCKET=@' &&
		tr '\0' '\n' <"/proc/$DAEMON/environ" | grep -qE '^FDSTORE=[1-9]'
}

start --serial --supervise
passes "the daemon has the command line but for --supervise" is_a_daemon_with --serial --supervise
passes "it is told of the keeper" is_told_of_the_keeper
passes "a front-end is served" sessions socket 1
kill -KILL "$DAEMON"
await has_another_daemon
passes "one that is killed is followed by another one" test -e "/proc/$DAEMON"
passes "which is the same to look at" await is_a_daemon_with --serial --supervise
passes "a front-end is served again" await sessions socket 1
passes "the log tells" grep -q '^vublkd-keeper: warning: process .* was killed by signal 9' log
kill -HUP "$KEEPER"
passes "SIGHUP comes to the daemon" await grep -q '^vublkd: info: SIGHUP' log
kill -TERM "$KEEPER"
wait "$KEEPER"
STATUS_OF_KEEPER=$?
passes "SIGTERM ends both" has_ended_with 0
passes "and the socket goes, too" test ! -e socket

### A keeper that is killed #######################################################################

has_ended()
{
	[[ ! -e /proc/$DAEMON ]]
}

start
kill -KILL "$KEEPER"
wait "$KEEPER" 2>/dev/null
passes "the daemon goes on without its keeper" sessions socket 1
passes "and says so" await grep -q 'the session will end with this process' log
kill -TERM "$DAEMON"
passes "it ends as ever" await has_ended

### A socket of systemd's #########################################################################

# As systemd.socket(5) has it: the socket outlives the daemon.
activate()
{
	python3 - "$VUBLKD" --supervise --blk-file=image 2>log <<-'END' &
	import os, socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.bind("activated")
	s.listen()
	os.dup2(s.fileno(), 3) if s.fileno() != 3 else os.set_inheritable(3, True)
	os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="disk.socket")
	os.execv(sys.argv[1], sys.argv[1:])
	END
}

activate
KEEPER=$!
await test -S activated
passes "a socket of LISTEN_FDS is served" await sessions activated 1
DAEMON=$(children_of "$KEEPER")
kill -KILL "$DAEMON"
passes "and by the next daemon" await sessions activated 1
await has_another_daemon
passes "which is another one" test -e "/proc/$DAEMON"
kill -TERM "$KEEPER"
await test ! -e "/proc/$KEEPER"
wait

### What is wrong #################################################################################

passes "a wrong command line is no matter for restarts" \
	fails 2 "unknown option '--blk-fil=image'" "$VUBLKD" --supervise --blk-fil=image
passes "--fd would be another descriptor" \
	fails 2 "--supervise and --fd exclude each other" "$VUBLKD" --supervise --fd=0 --blk-file=image
passes "who never gets ready is given up, with his status" \
	fails 1 "giving up" "$VUBLKD" --supervise --blk-file=missing --socket-path=socket
passes "the keeper's log has the daemon's level" \
	fails 1 "vublkd-keeper: error: it has ended 5 times" \
	"$VUBLKD" --supervise --log-level=error --blk-file=missing --socket-path=socket
says_no_warning()
{
	! "$VUBLKD" --supervise --log-level=error --blk-file=missing --socket-path=socket 2>&1 | grep warning
}
passes "and says nothing less urgent" says_no_warning
passes "the keeper by itself says what to do" \
	fails 2 "use vublkd --supervise" "$(dirname "$VUBLKD")/vublkd-keeper"

# Where there is none beside it, it is the installed one.
cp "$VUBLKD" alone
mapfile -t paths < <(grep -aoE '/[[:print:]]*/vublkd-keeper' alone)
installed=${paths[0]}
if [[ ! -e $installed ]]; then
	passes "a keeper that is missing is named" \
		fails 1 "cannot execute $installed" ./alone --supervise --blk-file=image --socket-path=socket
else
	case_is 'ok' "a keeper that is missing is named # SKIP $installed is installed" ''
fi
cases_end

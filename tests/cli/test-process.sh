#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The daemon as a process among others: standard descriptors that are closed, signals, and a standard
# error that nobody reads.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called by passes
. "$(dirname "$0")/lib.sh"
cd "$TMPDIR" || exit 1

truncate -s 1M image
touch log

# start: with whatever redirections the caller has; returns when the socket is there.
start()
{
	"$VUBLKD" --blk-file=image --socket-path=socket &
	PID=$!
	await socket_is_there
}

socket_is_there()
{
	[[ -S socket ]]
}

has_logged()
{
	grep -q -- "$1" log
}

# Ends with status 0, and takes its socket along: a case.
stop()
{
	local status

	kill -TERM "$PID"
	wait "$PID"
	status=$?
	if [[ $status == 0 && ! -e socket ]]; then
		case_is ok "SIGTERM stops it" ''
	else
		case_is 'not ok' "SIGTERM stops it" "status $status; $(ls)"
	fi
}

### Standard descriptors ##########################################################################

is_null()
{
	local fd

	for fd in 0 1 2; do
		[[ $(readlink "/proc/$PID/fd/$fd") == /dev/null ]] || { ls -l "/proc/$PID/fd"; return 1; }
	done
}

start <&- >&- 2>&-
passes "closed standard descriptors are nothing else's" is_null
passes "a front-end is served" sessions socket 1
stop

### Signals #######################################################################################

start 2>log
for signal in HUP USR2 USR1; do
	kill -s $signal "$PID"
done
passes "SIGUSR1 is answered in the log" await has_logged 'no front-end is connected'
passes "SIGHUP is, too" await has_logged 'SIGHUP: '
passes "and SIGUSR2" await has_logged 'SIGUSR2: '
passes "none of them ends it" sessions socket 1
stop

### A log that nobody reads #######################################################################

mkfifo pipe
exec {reader}<>pipe
start 2>pipe
# Full to the last byte, as that of a service whose reader has stopped.
python3 - <<'END'
import os
fd = os.open("pipe", os.O_WRONLY | os.O_NONBLOCK)
try:
    while True:
        os.write(fd, b"x" * 4096)
except BlockingIOError:
    pass
END
passes "front-ends are served" sessions socket 400
# With room again it tells of what it could not say.
dd if=pipe of=/dev/null bs=4096 count=8 iflag=nonblock status=none 2>/dev/null
kill -USR1 "$PID"
# (read ends when the line is there)
tells_lost()
{
	local line

	while read -r -t 5 -u "$reader" line; do
		[[ $line == *'lines of the log are lost'* ]] && return
	done
	return 1
}
passes "lost lines are told" tells_lost
stop
exec {reader}<&-

### A front-end that comes and goes ###############################################################

start 2>log
passes "front-ends are served" sessions socket 1000
few_lines()
{
	(($(wc -l <log) < 200)) || { wc -l log; return 1; }
}
passes "not each of them is told of" few_lines
stop
cases_end

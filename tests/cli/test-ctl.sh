#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# vublkctl: every command with a real daemon, its exit status, and whoever else may listen there
# (ctl_fake.py).
# shellcheck disable=SC2317 # tries() calls the functions
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

DIR=$(mktemp -d) || exit 1
DAEMON=
FAKE=
export VUBLKCTL_SOCKET=$DIR/api
cleanup()
{
	local pid

	for pid in $DAEMON $FAKE; do
		kill "$pid" 2>/dev/null
	done
	wait
	rm -rf "$DIR"
}
trap cleanup EXIT

# tries DESCRIPTION FUNCTION: a case. Of what was tried more than once the last is told.
tries()
{
	local output result=ok

	: >"$DIR/why"
	output=$("$2" 2>&1) || result='not ok'
	[[ $result == ok ]] || output+=$(<"$DIR/why")
	case_is "$result" "$1" "${output:0:2000}"
}

# gives STATUS PATTERN COMMAND...: it exits so, and what it says (both outputs) matches.
gives()
{
	local status=$1 pattern=$2 output

	shift 2
	output=$("$@" 2>&1)
	local got=$?
	[[ $got == "$status" && $output =~ $pattern ]] && return
	echo "${*##*/}: status $got, not $status, or not '$pattern': $output" >"$DIR/why"
	return 1
}

# ctl STATUS PATTERN ARGUMENT...
ctl()
{
	local status=$1 pattern=$2

	shift 2
	gives "$status" "$pattern" timeout $((20 * ${TEST_SLOW_FACTOR:-1})) "$CTL" "$@"
}

# holds all|lines EXPRESSION: python's, of x, which is the JSON on standard input, or a list of its lines.
holds()
{
	python3 -c 'import json, sys
text = sys.stdin.read()
x = json.loads(text) if sys.argv[1] == "all" else [json.loads(line) for line in text.splitlines()]
assert eval("(" + sys.argv[2] + ")"), text' "$@"
}

start_daemon()
{
	mkdir -p "$DIR/conf"
	truncate -s 4M "$DIR/a.img" "$DIR/b.img"
	"$VUBLKD" --api-socket="$DIR/api" --config-dir="$DIR/conf" 2>"$DIR/log" &
	DAEMON=$!
	await test -S "$DIR/api"
}

# ---- without a daemon ----

command_lines()
{
	ctl 2 'a command is missing' &&
		ctl 2 "unknown command 'x'" x &&
		ctl 2 'it is list$' list x &&
		ctl 2 'it is add NAME' add a &&
		ctl 2 'name is empty' show '' && ctl 2 'name is empty' events '' &&
		ctl 2 'it is events \[NAME\]$' events a b && ctl 2 'count does not go with' events --count=1 &&
		ctl 2 'force does not go with list' list --force &&
		ctl 2 'count does not go with show' show a --count=1 &&
		ctl 2 'json does not go with metrics' --json metrics &&
		ctl 2 "unknown option '--jso'" --jso list &&
		ctl 2 "unknown option '-j'" -j list &&
		ctl 2 'socket needs a value' list --socket &&
		ctl 2 'at most 107' --socket="$(printf 'x%.0s' {1..108})" list &&
		VUBLKCTL_SOCKET=$(printf 'x%.0s' {1..108}) ctl 2 'at most 107' list &&
		ctl 2 'timeout' --timeout=0 list &&
		ctl 2 'interval' --interval=0.01 top &&
		ctl 2 'count' --count=0 top &&
		ctl 2 "'=x' names no option" add a =x &&
		ctl 2 'serial. is given twice' add a serial=1 serial=2 &&
		ctl 2 'not UTF-8' add a serial=$'\xff' &&
		ctl 0 '^vublkctl [0-9]' --version &&
		ctl 0 'Commands:' x --help
}

nobody_is_there()
{
	ctl 3 'no vublkd can be reached at .*/nobody: No such file' --socket="$DIR/nobody" list &&
		ctl 3 "at $DIR: " --socket "$DIR" list &&
		ctl 3 'reached' status && ctl 3 'reached' top && ctl 3 'reached' events && ctl 3 'reached' add a serial=1 &&
		python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$DIR/dead" &&
		ctl 3 'Connection refused' --socket="$DIR/dead" list
}

# ---- with one ----

process()
{
	ctl 0 "process   $DAEMON" status &&
		ctl 0 'WORKER.*0 ' workers &&
		ctl 0 'vublkd_build_info' metrics &&
		http_proxy=http://127.0.0.1:1 ctl 0 'version' status &&
		ctl 1 'nobody is there who would start' upgrade &&
		"$CTL" status --json | holds all 'x["disks"]["all"] == 0' &&
		"$CTL" workers --json | holds all 'x[0]["index"] == 0'
}

a_disk_comes_and_goes()
{
	ctl 0 '^$' add a "blk-file=$DIR/a.img" "socket-path=$DIR/a.sock" read-only serial=A &&
		ctl 0 'a +served +no +4.0M +io_uring|libaio +api +.*/a.img' list &&
		ctl 0 'serial = A.*read-only|read-only.*serial = A' show a &&
		ctl 0 '4194304 bytes' show a &&
		"$CTL" show a --json | holds all 'x["read-only"] is True and x["counters"]["kicks"] == 0' &&
		sessions "$DIR/a.sock" 1 &&
		ctl 0 '^$' set a read-only= serial=B &&
		"$CTL" show a --json | holds all \
			'"read-only" not in x["options"] and x["options"]["serial"] == "B"' &&
		ctl 1 'serial.*20' set a serial=xxxxxxxxxxxxxxxxxxxxx &&
		ctl 1 'sreial is nothing that a disk' set a sreial=1 &&
		truncate -s 8M "$DIR/a.img" &&
		ctl 0 '8.0M \(8388608 bytes\)' resize a &&
		ctl 0 '^$' remove a &&
		ctl 1 "there is no disk 'a'" show a && ctl 1 'no disk' remove a &&
		[[ ! -e $DIR/a.sock ]] &&
		"$CTL" list --json | holds all 'x == []'
}

failures_are_told()
{
	ctl 1 "disk 'b' has failed: .*/missing.*No such file" add b "blk-file=$DIR/missing" \
		"socket-path=$DIR/b.sock" &&
		ctl 0 'b +failed' list && ctl 0 'error +.*No such file' show b &&
		ctl 1 'not served' resize b &&
		ctl 0 '^$' set b "blk-file=$DIR/b.img" &&
		ctl 0 'served' list &&
		ctl 1 'letters, digits' add .b "blk-file=$DIR/a.img" "socket-path=$DIR/c.sock" &&
		ctl 1 'nothing at this path' add ../b serial=1 &&
		ctl 1 'letters, digits' add 'b?force=true' serial=1 &&
		ctl 1 "no disk 'b%20'" show 'b%20' &&
		ctl 0 '"leaving"' remove --json b &&
		ctl 0 '"opening"' add b "blk-file=$DIR/b.img" "socket-path=$DIR/b.sock" --no-wait --json &&
		await ctl 0 'b +served' list &&
		ctl 0 '^$' remove --no-wait b && await ctl 1 'no disk' show b
}

a_connected_disk_stays_unless_forced()
{
	local front_end

	"$CTL" add a "blk-file=$DIR/a.img" "socket-path=$DIR/a.sock" || return 1
	python3 - "$DIR/a.sock" >/dev/null 2>&1 <<-'END' &
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.connect(sys.argv[1])
	s.recv(1)
	END
	front_end=$!
	await ctl 0 'a +served +yes' list &&
		ctl 1 'front-end is connected' remove a &&
		ctl 1 'connected' set a serial=2 &&
		ctl 0 '^$' remove a --force && wait "$front_end" && ctl 0 '^NAME[^\n]*$' list
}

reload_tells_of_errors()
{
	printf 'blk-file = %s\nsocket-path = %s\n' "$DIR/b.img" "$DIR/f.sock" >"$DIR/conf/f.conf"
	ctl 0 '^$' reload && await ctl 0 'f +served.*file' list || return 1
	echo 'nonsense = 1' >"$DIR/conf/g.conf"
	ctl 1 '1 thing is wrong' reload && ctl 1 '"errors": 1' reload --json || return 1
	rm "$DIR"/conf/*
	ctl 0 '^$' reload && await ctl 0 '^NAME[^\n]*$' list
}

top_shows_what_is_done()
{
	"$CTL" add n "blk-file=$DIR/b.img" "socket-path=$DIR/n.sock" || return 1
	"$BENCH" --socket-path="$DIR/n.sock" --seconds=60 >/dev/null 2>&1 &
	local bench=$!
	await ctl 0 'n +served +yes' list &&
		"$CTL" top --json --count=2 --interval=0.3 >"$DIR/top" &&
		holds lines 'len(x) == 2 and x[1]["disks"][0]["read-per-s"] > 0 and
			x[1]["disks"][0]["latency-ns"] > 0 and x[1]["workers"][0]["cpu-percent"] > 0' <"$DIR/top"
	local result=$?
	kill "$bench"
	wait "$bench" 2>/dev/null
	((result == 0)) && await ctl 0 'n +served +no' list && "$CTL" remove n
}

# In the background a script's children ignore SIGINT, unless they are told not to.
listen()
{
	env --default-signal=INT "$CTL" events "$@" &
}

# Each line is there when it has happened, and SIGINT is the usual end.
events_are_told_as_they_happen()
{
	local all one json

	listen >"$DIR/all"
	all=$!
	listen b >"$DIR/one"
	one=$!
	listen --json >"$DIR/json"
	json=$!
	# When they listen is to be seen by what they hear.
	hears()
	{
		"$CTL" add b "blk-file=$DIR/b.img" "socket-path=$DIR/b.sock" && "$CTL" remove b &&
			grep -q ' b .* removed$' "$DIR/all" && grep -q removed "$DIR/one" && grep -q removed "$DIR/json"
	}
	await hears || return 1
	"$CTL" add a "blk-file=$DIR/a.img" "socket-path=$DIR/a.sock" iops-total=1000 &&
		sessions "$DIR/a.sock" 1 && "$CTL" set a iops-total=2000 && "$CTL" remove a &&
		await grep -Eq '^20[0-9TZ:.-]+  a +changed +iops-total$' "$DIR/all" &&
		await grep -q '"disk": "a", "event": "removed"' "$DIR/json" &&
		await grep -Eq '^20[0-9TZ:.-]+  a +removed$' "$DIR/all" || return 1
	holds lines '[e["event"] for e in x if e["disk"] == "a"] ==
		["served", "connected", "disconnected", "changed", "removed"]' <"$DIR/json" || return 1
	kill -INT "$all" "$one" && kill "$json" && wait "$all" && wait "$one" && wait "$json" || return 1
	! grep ' a ' "$DIR/one"
}

to_full()
{
	"$CTL" "$@" >/dev/full
}

full_outputs_are_errors()
{
	gives 1 'standard output: No space' to_full status &&
		gives 1 'standard output: No space' to_full top --interval=0.1 || return 1
	while "$CTL" add a "blk-file=$DIR/a.img" "socket-path=$DIR/a.sock" && "$CTL" remove a; do :; done &
	local busy=$!
	gives 1 'standard output: No space' to_full events
	local result=$?
	kill "$busy"
	wait "$busy" 2>/dev/null
	"$CTL" remove a 2>/dev/null
	return "$result"
}

# The end of the daemon is that of its events.
the_daemon_ends()
{
	"$CTL" events >"$DIR/all" 2>&1 &
	local listener=$!
	await hears_of_a || return 1
	kill "$DAEMON"
	wait "$listener"
	[[ $? == 3 ]] && grep -q "^vublkctl: vublkd at $DIR/api has ended$" "$DIR/all"
}

hears_of_a()
{
	"$CTL" add a "blk-file=$DIR/a.img" "socket-path=$DIR/a.sock" && "$CTL" remove a && grep -q removed "$DIR/all"
}

tries 'wrong command lines have status 2' command_lines
tries 'where nobody is there the status is 3' nobody_is_there
start_daemon
tries 'the process is shown' process
tries 'a disk comes, is seen, changes and goes' a_disk_comes_and_goes
tries 'what has failed is told' failures_are_told
tries 'a connected disk stays unless forced' a_connected_disk_stays_unless_forced
tries 'reload tells of errors' reload_tells_of_errors
tries 'top shows what is done' top_shows_what_is_done
tries 'events are told as they happen' events_are_told_as_they_happen
tries 'a full standard output is an error' full_outputs_are_errors
tries 'events end with the daemon' the_daemon_ends
wait "$DAEMON"
DAEMON=

# ---- with one that is started again ----

# Of a copy, so that another one can be installed.
start_supervised()
{
	mkdir "$DIR/bin"
	cp "$VUBLKD" "$(dirname "$VUBLKD")/vublkd-keeper" "$DIR/bin"
	"$DIR/bin/vublkd" --supervise --api-socket="$DIR/api" --config-dir="$DIR/conf" 2>"$DIR/log" &
	DAEMON=$!
	await ctl 0 version status
}

# A front-end whose connection is to last, once its disk is there.
start_front_end()
{
	mkfifo "$DIR/ask" "$DIR/answer"
	python3 - "$DIR" <<-'END' &
	import socket, struct, sys, time
	s = socket.socket(socket.AF_UNIX)
	while s.connect_ex(sys.argv[1] + "/a.sock"):
	    time.sleep(0.01)
	while True:
	    with open(sys.argv[1] + "/ask", encoding="ascii") as ask:
	        ask.read()
	    s.sendall(struct.pack("=III", 1, 1, 0)) # GET_FEATURES
	    n = len(s.recv(100))
	    with open(sys.argv[1] + "/answer", "w", encoding="ascii") as answer:
	        print(n, file=answer)
	    if not n:
	        break
	END
	FAKE=$!
}

front_end_is_answered()
{
	local limit=$((20 * ${TEST_SLOW_FACTOR:-1}))

	timeout "$limit" tee "$DIR/ask" <<<'?' >/dev/null && [[ $(timeout "$limit" cat "$DIR/answer") == 20 ]]
}

disks_are_there_after_an_upgrade()
{
	"$CTL" add a "blk-file=$DIR/a.img" "socket-path=$DIR/a.sock" iops-total=100 &&
		"$CTL" add b "blk-file=$DIR/b.img" "socket-path=$DIR/b.sock" read-only &&
		"$CTL" add gone "blk-file=$DIR/b.img" "socket-path=$DIR/gone.sock" read-only || return 1
	front_end_is_answered &&
		ctl 0 'before +process ([0-9]+), version .*now +process [0-9]+, version .*disks +3 served, after' upgrade &&
		front_end_is_answered && await ctl 0 'a +served +yes' list &&
		"$CTL" set a iops-total=200 && "$CTL" set b serial=B && "$CTL" remove gone &&
		"$CTL" upgrade --json | holds all 'x["disks"]["served"] == 2' &&
		ctl 0 'iops-total = 200' show a && ctl 0 'serial = B' show b && front_end_is_answered &&
		"$CTL" show a --json | holds all 'x["origin"] == "api" and x["connected"]'
}

pid_of_daemon()
{
	"$CTL" status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])'
}

is_another_than()
{
	local now

	now=$(pid_of_daemon 2>/dev/null) && [[ $now && $now != "$1" ]]
}

disks_are_there_after_a_kill()
{
	local before

	before=$(pid_of_daemon)
	kill -KILL "$before"
	await is_another_than "$before" && await ctl 0 'a +served +yes' list && front_end_is_answered &&
		ctl 0 'iops-total = 200' show a && ctl 1 "no disk 'gone'" show gone
}

# What is to be served now cannot be, for its image has gone.
an_upgrade_that_loses_a_disk_is_told()
{
	mv "$DIR/b.img" "$DIR/c.img" || return 1
	ctl 1 "the disk 'b' was served, and is failed now" upgrade && front_end_is_answered
	local result=$?
	mv "$DIR/c.img" "$DIR/b.img"
	return "$result"
}

an_upgrade_is_not_awaited()
{
	local before

	before=$(pid_of_daemon)
	ctl 0 '^$' upgrade --no-wait && await is_another_than "$before" && front_end_is_answered
}

what_does_not_get_ready_is_told()
{
	printf '#!/bin/sh\nexit 1\n' >"$DIR/bin/new" && chmod +x "$DIR/bin/new" && mv "$DIR/bin/new" "$DIR/bin/vublkd" || return 1
	ctl 1 'did not get ready, and the executable before serves again' upgrade && front_end_is_answered &&
		"$CTL" status --json | holds all 'x["fallback"] and x["ready"]' || return 1
	cp "$VUBLKD" "$DIR/bin/new" && mv "$DIR/bin/new" "$DIR/bin/vublkd" &&
		ctl 0 'served, after' upgrade && "$CTL" status --json | holds all 'not x["fallback"]' && front_end_is_answered
}

# From then on it is the file's, under its front-end.
a_disk_is_made_permanent()
{
	printf 'blk-file = %s\nsocket-path = %s\niops-total = 300\n' "$DIR/a.img" "$DIR/a.sock" >"$DIR/conf/a.conf"
	ctl 0 'served, after' upgrade && front_end_is_answered &&
		"$CTL" show a --json | holds all 'x["origin"] == "file" and x["connected"] and x["options"]["iops-total"] == 300' &&
		ctl 0 'served, after' upgrade && front_end_is_answered && [[ $(grep -c 'told the disk is forgotten' "$DIR/log") == 1 ]]
}

start_supervised
start_front_end
tries 'disks are there after an upgrade' disks_are_there_after_an_upgrade
tries 'disks are there after a kill' disks_are_there_after_a_kill
tries 'an upgrade that loses a disk is told' an_upgrade_that_loses_a_disk_is_told
tries 'an upgrade need not be awaited' an_upgrade_is_not_awaited
tries 'what does not get ready is told' what_does_not_get_ready_is_told
tries 'a disk is made permanent under its front-end' a_disk_is_made_permanent
kill "$DAEMON" "$FAKE"
wait "$DAEMON" "$FAKE" 2>/dev/null
DAEMON=
FAKE=

# ---- with somebody else ----

start_fake()
{
	mkdir "$DIR/fake"
	python3 "$SRCDIR/tests/cli/ctl_fake.py" "$DIR/fake" >/dev/null 2>"$DIR/fake.log" &
	FAKE=$!
	await test -e "$DIR/fake/ready"
}

# fake MODE STATUS PATTERN ARGUMENT...
fake()
{
	VUBLKCTL_SOCKET=$DIR/fake/$1 ctl "${@:2}"
}

rubbish_is_refused()
{
	fake rubbish 1 'is no vublkd' list && fake closes 1 'is no vublkd' list &&
		fake no-json 1 'is no JSON' list && fake number 1 'is no JSON' list &&
		fake null 1 'is no JSON' status && fake object 1 'is no list' list &&
		fake list 1 'is no object' show a && fake list-of-numbers 1 'no vublkd: a disk' list &&
		fake object 1 'no vublkd' status && fake object 1 'no vublkd' show a &&
		fake object 1 'no vublkd' reload && fake object 1 'no vublkd' upgrade && fake list-of-numbers 1 'no number index' workers &&
		fake list-of-numbers 1 'no vublkd' top && fake negative 1 'no number size' list &&
		fake text-size 1 'no number size' list && fake no-state 1 'no vublkd: a disk' list &&
		fake options-list 1 'no options' list && fake no-histogram 1 'a histogram' show a &&
		fake rings 1 'a queue has no number index' show a && fake stateless 1 'has no state' show a && fake object 1 'no vublkd' add a serial=1 &&
		fake moved 1 'status 302' list
}

events_are_read()
{
	fake events 3 '^2026-11-29T13:20:00.123Z  a +connected
2026-11-29T13:20:00.123Z  a +grown +4096 bytes
2026-11-29T13:20:00.123Z  b +connected
- +- +missed +3 events
vublkctl: vublkd at .* has ended$' events &&
		fake events 3 '^2026[^ ]*  b +connected
- .*missed +3 events
vublkctl: [^{]*$' events b &&
		fake events 3 '^\{"time": "2026-11-29T13:20:00.123Z", "disk": "b", "event": "connected"\}
\{"event": "missed", "detail": "3"\}
vublkctl: [^{]*$' events b --json
}

rubbish_is_no_event()
{
	fake rubbish 1 'is no vublkd' events && fake closes 1 'is no vublkd' events &&
		fake events-no-json 1 'a +connected.*an event is no JSON' events &&
		fake events-number 1 'an event is no JSON' events && fake object 3 'has ended' events &&
		fake events-text 1 'no vublkd: an event: event is no text' events &&
		fake line 1 'a line without end' events && fake headers 1 'headers without end' events &&
		fake many 1 'so many are told' events && fake silent 4 'in time' events --timeout=0.2 &&
		fake events-evil 3 ' a\?\[31m\?\?\?5m +a\?\[31m\?\?\?5m +a\?\[31m' events &&
		fake events-evil 3 '"a.u001B\[31m.u0007\?.u009B5m"' events --json
}

too_much_is_refused()
{
	fake body 1 'more than 64 MiB' list && fake headers 1 'headers without end' list
}

what_takes_too_long_has_status_4()
{
	fake silent 4 'no answer .* in time' list --timeout=0.2 &&
		fake drips 4 'in time' list --timeout=0.2 &&
		fake silent 4 'in time' top --timeout=0.2 &&
		fake opening 4 "'a' is not served after 0.5 s" add a serial=1 --timeout=0.5 &&
		fake leaving 4 "'a' is not gone after 0.5 s" remove a --timeout=0.5
}

control_characters_are_not_printed()
{
	fake evil 0 'a\?\[31m\?\?\?5m' list && fake evil 0 '"a.u001B\[31m.u0007\?.u009B5m"' list --json &&
		fake status 1 'it is\?\[31m broken' list
}

names_are_escaped()
{
	fake echo 1 '/v1/disks/a%2Fb%3Fc%20%25%C3%A4%0A$' show $'a/b?c %\xc3\xa4\n'
}

limits_and_queues_are_shown()
{
	fake throttled 0 'limits +iops-write 500, in bursts 1000 for 1 s
 +bps-read 10M
throttled +now, by iops-write: 3 requests wait
 +1000 requests so far, for 2.5 s, of all queues

.*
QUEUE  STATE +WORKER  IN FLIGHT  HELD .*
0 +running +1 +7 +3 .*
1 +a\?\[31m\?\?\?5m +0 .*
broken +queue 1: a\?\[31m\?\?\?5m$' show a &&
		fake histogram 0 'limits +none
throttled +never
' show a
}

latencies_are_computed()
{
	fake histogram 0 'read +100 +97.7K +0 +0 +1.5 us +<1.0 us +<8.2 us +longest' show a
}

rates_are_computed()
{
	fake top 0 ' 3 disks served
DISK.*
fast +[3-5][0-9]{3} +0 +0 +[3-5]\.[0-9] +0.0 +2.0 us +7 +2
slow +([6-9][0-9]|1[0-4][0-9]) .*
idle +0 +0 +0 +0.0 +0.0 +- +0 +0

WORKER.*
0 +[3-6][0-9]\.[0-9] +0.0 +[3-6][0-9]\.[0-9] +2$' top --count=1 --interval=0.5
}

# Not by time: SIGINT, whenever it comes, is the usual end.
top_is_interrupted()
{
	local pid

	# In the background a script's children ignore SIGINT, unless they are told not to.
	env --default-signal=INT "$CTL" --socket="$DIR/fake/top" top --interval=0.1 >"$DIR/out" &
	pid=$!
	await grep -q fast "$DIR/out"
	kill -INT "$pid"
	wait "$pid"
}

# On a terminal it clears the screen, ends when q is pressed, and leaves the terminal as it was.
q_ends_top_on_a_terminal()
{
	timeout $((20 * ${TEST_SLOW_FACTOR:-1})) python3 - "$CTL" --socket="$DIR/fake/top" top --interval=0.2 <<-'END'
	import os, pty, subprocess, sys, termios
	master, slave = pty.openpty()
	before = termios.tcgetattr(slave)
	child = subprocess.Popen(["setsid", "--ctty", *sys.argv[1:]], stdin=slave, stdout=slave, stderr=slave)
	seen = b""
	while seen.count(b"\033[2J") < 2:
	    seen += os.read(master, 4096)
	assert not termios.tcgetattr(slave)[3] & termios.ICANON
	os.write(master, b"xq")
	assert child.wait() == 0, seen
	assert termios.tcgetattr(slave) == before
	while not seen.endswith(b"\033[?7h"):
	    seen += os.read(master, 4096)
	assert b"fast" in seen, seen
	END
}

start_fake
tries 'rubbish is refused' rubbish_is_refused
tries 'events are read' events_are_read
tries 'what is no event is refused' rubbish_is_no_event
tries 'too much is refused' too_much_is_refused
tries 'what takes too long has status 4' what_takes_too_long_has_status_4
tries 'control characters are not printed' control_characters_are_not_printed
tries 'names are escaped' names_are_escaped
tries 'limits and queues are shown' limits_and_queues_are_shown
tries 'latencies are computed' latencies_are_computed
tries 'rates are computed' rates_are_computed
tries 'SIGINT ends top' top_is_interrupted
tries 'q ends top on a terminal' q_ends_top_on_a_terminal
cases_end

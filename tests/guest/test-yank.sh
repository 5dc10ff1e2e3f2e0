#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# QEMU hangs up by itself (QMP "yank") while a guest writes and reads, again and again, and connects
# again each time. Unlike after a daemon's death somebody still serves at that moment: where QEMU
# says that a ring goes on is where it was when it hung up, and we have gone on. No request may be
# lost or given back twice, and no ring may be found broken. With split rings and with packed ones,
# two queues each.
#
#	VUBLKD_TEST_YANKS=60	how often
# shellcheck disable=SC2317 # load_life calls them
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "qemu-storage-daemon does not track what is in flight"
# shellcheck source-path=SCRIPTDIR source=load.sh
. "$(dirname "$0")/load.sh"

yanks=${VUBLKD_TEST_YANKS:-12}

yank()
{
	session_ends
	qmp yank '{"instances": [{"type": "chardev", "id": "c0"}]}'
}

# Lines of QEMU's in which it says that it has hung up, and could not ask where the rings stopped.
hang_ups()
{
	grep -ac 'ring restore failed' "$WORK/guest.err"
}

has_hung_up()
{
	(($(hang_ups) > $1)) || gone "$GUEST_PID"
}

# Requests have piled up, and QEMU has hung up, before the daemon goes on: whatever it completes then
# is behind the index that QEMU has noted.
yank_unseen()
{
	local seen

	work_on
	seen=$(hang_ups)
	yank
	wait_until "$STOP_DEADLINE" has_hung_up "$seen" || give_up "QEMU does not hang up"
}

# yank_again_and_again KIND
yank_again_and_again()
{
	local i

	beats_await $((WRITERS + 1))
	for ((i = 0; i < yanks; i++)); do
		case $((i % 3)) in
		0) daemon_stands_still yank_unseen ;;
		1) # with much in flight
			daemon_stands_still work_on
			work_at_once
			yank
			;;
		2)
			work_on
			yank
			;;
		esac
		daemon_runs
		beats_await 1
	done
	beats_await $((WRITERS + 1))
	ok "$1 rings: hung up $yanks times, and the guest goes on"
	check "no ring is broken" no grep -E "ring is invalid:" "$DAEMON_LOG"
	echo "# $1 rings: $(taken_over) requests were in flight when a session ended"
}

export MONITOR=1
load_lives yank_again_and_again
guest_end

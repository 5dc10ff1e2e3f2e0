#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# The daemon is killed (SIGKILL), and stopped (SIGTERM), again and again while a guest writes and
# reads, and started again each time: the guest sees a pause and nothing else. No request is lost
# (each writer comes to its end), none fails (neither in the guest's programs nor in its kernel's
# log), and the data is right: at once, at the end, after a reboot, and in the host's opinion. With
# split rings and with packed ones, two queues each.
# shellcheck disable=SC2317 # load_life calls them
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "qemu-storage-daemon does not track what is in flight"

# shellcheck source-path=SCRIPTDIR source=load.sh
. "$(dirname "$0")/load.sh"

rounds=17 stops=2 # 20 kills

# start_after COMMAND: ends the daemon by the command and starts another one. (The rings have to run
# before the next end, or QEMU loses the device.)
start_after()
{
	"$1"
	daemon_restart
	daemon_runs
}

# kill_again_and_again KIND
kill_again_and_again()
{
	local i kills=$rounds

	beats_await $((WRITERS + 1))
	for ((i = 0; i < rounds; i++)); do
		if ((i % 5)); then pile_up; else work_on; fi
		start_after daemon_kill
		# Every fifth is killed at once, perhaps in the middle of what it has taken over.
		if ((i % 5 == 2)); then
			start_after daemon_kill
			kills=$((kills + 1))
		fi
		((i * stops % rounds + stops < rounds)) || start_after daemon_terminate
		beats_await $((WRITERS + 1))
	done
	ok "$1 rings: killed $kills times, stopped $stops times, and the guest goes on"
	echo "# $1 rings: $(taken_over) requests were taken over from a daemon that was killed"
	# Chance has it so with each kill; with 20 of them it is none any more.
	((kills < 20)) || check "some requests were in flight at a kill" [ "$(taken_over)" -gt 0 ]
}

load_lives kill_again_and_again
guest_end

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# Sessions that outlive their process, with front-ends that cannot reconnect: QEMU without reconnect=,
# and User-mode Linux, which tracks no requests either. Under --supervise the daemon is killed, and
# upgraded, again and again: before the guest's first instruction (-S), while firmware and kernel
# start, under a checksummed load, while QEMU is stopped, and while it is at rest. QEMU must not
# notice: it says nothing. No request is lost, fails or is done twice, and the data is right.
# shellcheck disable=SC2317 # load_life calls them
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "qemu-storage-daemon's sessions end with it"

# shellcheck source-path=SCRIPTDIR source=load.sh
. "$(dirname "$0")/load.sh"

daemon_is_kept

# kill_again_and_again KIND
kill_again_and_again()
{
	local i

	beats_await $((WRITERS + 1))
	for ((i = 0; i < 20; i++)); do
		if ((i % 5)); then pile_up; else work_on; fi
		if ((i % 4 == 3)); then daemon_upgrade; else daemon_replace; fi
		# Every fifth is killed at once, perhaps in the middle of what it has taken over.
		((i % 5 == 2)) && daemon_replace
		load_goes_on
	done
	ok "$1 rings: killed 19 times, upgraded 5 times, and the guest goes on"
	check "some requests were in flight at a kill" [ "$(taken_over)" -gt 0 ]
	while_it_is_stopped
}

# Twice and more in a row: nothing of the rings runs in between.
while_it_is_stopped()
{
	qmp stop
	daemon_replace
	daemon_upgrade
	daemon_replace
	qmp cont
	load_goes_on
	ok "a guest that is stopped meanwhile goes on"
}

cat >>"$GUEST_SCRIPT" <<'END'
small()
{
	wait_for_disk /dev/vda || return
	make_fs
	write_files /mnt/files 20
}

begin_uml()
{
	wait_for_disk /dev/vda || return
	make_fs
	start_load /mnt/load /dev/vda
}
END

### A guest that has not begun, and one that starts ###############################################

before_it_begins()
{
	local QEMU KERNEL MODULE_TREE INITRD QEMU_WORDS=-S kills=0

	truncate -s 64M "$image"
	daemon_start "--blk-file=$image" --supervise --log-level=debug
	find_guest
	qemu_whole_command "$INITRD"
	guest_launch "${QEMU[@]}"
	wait_until "$STOP_DEADLINE" grep -q GET_CONFIG "$DAEMON_LOG" || give_up "QEMU does not connect"
	daemon_replace
	daemon_upgrade
	daemon_replace
	qmp cont
	# Firmware, the kernel, and its driver, each at some moment.
	for ((kills = 0; kills < 15; kills++)); do
		console_has '^@@ready;$' && break
		work_on
		sleep 0.2
		daemon_replace
	done
	guest_wait_ready
	echo "# killed $kills times while it booted"
	ok "a guest boots whose back-end is killed before and meanwhile"
	guest_call small
	# At rest.
	daemon_replace
	daemon_replace
	guest_call verify_files /mnt/files "$VALUE"
	guest_call leave
	guest_poweroff
	check_image_fsck "$image"
	daemon_stop
}

### User-mode Linux ###############################################################################

user_mode_linux()
{
	local i

	truncate -s 96M "$image"
	daemon_start "--blk-file=$image" --supervise --log-level=info
	uml_start
	guest_call begin_uml
	beats_await $((WRITERS + 1))
	for ((i = 0; i < 20; i++)); do
		if ((i % 2)); then pile_up; else work_on; fi
		if ((i % 4 == 3)); then daemon_upgrade; else daemon_replace; fi
		load_goes_on
	done
	ok "User-mode Linux: killed 15 times, upgraded 5 times, and the guest goes on"
	guest_call end_load /mnt/load
	guest_call verify_files /mnt/load "$VALUE"
	guest_call leave_load
	guest_poweroff
	check_image_fsck "$image"
	daemon_stop
}

export MONITOR=1
before_it_begins
export DAEMON_OPTIONS=--supervise
load_lives kill_again_and_again
MONITOR=''
# It is the same one on Debian 13.
[[ $VUBLKD_VARIANT == debian13 ]] || user_mode_linux
guest_end

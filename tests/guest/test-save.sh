#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A guest that reads and writes is saved to a file, as libvirt does it, and restored by another QEMU
# with another daemon. Its load goes on, no request is lost or fails, and what the daemon had read
# into its memory is there. With split rings and with packed ones, two queues each.
# shellcheck disable=SC2317 # load_life calls them
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
# shellcheck source-path=SCRIPTDIR source=load.sh
. "$(dirname "$0")/load.sh"
# shellcheck source-path=SCRIPTDIR source=moves.sh
. "$(dirname "$0")/moves.sh"

export QUEUES=2 MONITOR=1 MEMORY=192M

save_and_restore()
{
	guest_call know 12
	beats_await $((WRITERS + 1))
	for file in first second; do
		guest_call forget 48
		guest_call recall
		save "$WORK/$file"
		restore "$WORK/$file"
		guest_call check_recalled
	done
}

load_lives save_and_restore
guest_end

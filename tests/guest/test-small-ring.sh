#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A ring of 64 entries without indirect descriptors: with --seg-max=62 no request of the guest's has
# more pieces than it carries. With the default of 126 the guest waits for room for ever.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "about an option of ours"

image=$WORK/disk.img
truncate -s 64M "$image"

cat >"$GUEST_SCRIPT" <<'END'
# Writes 512 adjacent pages in an order in which no two lie side by side in memory.
write_shuffled()
{
	local i

	for i in $(seq 0 511); do
		dd if=/dev/zero of="$1" bs=4k count=1 seek=$((i * 37 % 512)) conv=notrunc || return
	done 2>/dev/null
	sync
}

large_requests()
{
	wait_for_disk /dev/vda || return
	check_is "pieces of a request" 62 "$(cat /sys/block/vda/queue/max_segments)"
	make_fs
	write_files /mnt/files 40
	check "pages that lie all over the memory are written" write_shuffled /mnt/shuffled
	check "umount" umount /mnt
	check_kernel_is_happy
}
END

daemon_start "--blk-file=$image" --seg-max=62
QEMU_DISK_OPTIONS=,queue-size=64,indirect_desc=off
qemu_start
guest_call large_requests
guest_poweroff
check_image_fsck "$image"

daemon_stop
guest_end

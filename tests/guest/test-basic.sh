#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 240
#
# The life of a disk: a guest makes a file system, writes, verifies and discards; reboots (the same
# QEMU makes new rings) and verifies; is reset in the middle of writing, repairs and verifies; dies
# in the middle of writing, QEMU and all; a new QEMU comes to the same daemon with an old-fashioned
# device, repairs and verifies; at last the host looks at the image.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin

image=$WORK/disk.img
size=$((192 * 1024 * 1024))
truncate -s "$size" "$image"

cat >"$GUEST_SCRIPT" <<'END'
make()
{
	wait_for_disk /dev/vda || return
	check_is "capacity in bytes" "$1" "$(blockdev --getsize64 /dev/vda)"
	check_is "read-only flag" 0 "$(cat /sys/block/vda/ro)"
	make_fs
	write_files /mnt/first 60
}

flush()
{
	local before=$(flushes vda)

	dd if=/dev/zero of=/mnt/flushed bs=4k count=1 conv=fsync 2>/dev/null || return
	check "fsync of a file becomes a flush of the disk" [ "$(flushes vda)" -gt "$before" ]
}

fill()
{
	dd if=/dev/urandom of=/mnt/big bs=1M count=32 conv=fsync 2>/dev/null
}

trim()
{
	rm /mnt/big
	sync
	check "fstrim" fstrim /mnt
}

# The device alone, without a file system that could hide something. Its last 4 MiB belong to
# nobody: the file system of the tests is smaller.
raw()
{
	local at=$((64 * 1024 * 1024))

	dd if=/dev/urandom of=/dev/vda bs=1M seek=64 count=4 conv=fsync 2>/dev/null
	check_is "before zeroing" data "$(poke read /dev/vda $at 65536)"
	check "BLKZEROOUT of 1 MiB" poke zero /dev/vda $at 1048576
	check_is "after zeroing" zeros "$(poke read /dev/vda $at 1048576)"
	check_is "behind the zeroed range" data "$(poke read /dev/vda $((at + 1048576)) 4096)"
	check "blkdiscard of the whole disk" blkdiscard /dev/vda
}

modern()
{
	check "VERSION_1" has_feature 32
	check "EVENT_IDX" has_feature 29
	check "INDIRECT_DESC" has_feature 28
}

legacy()
{
	check_fails "no VERSION_1" has_feature 32
	check_fails "no EVENT_IDX" has_feature 29
	check_fails "no INDIRECT_DESC" has_feature 28
}

# This guest will not end well: it is at it when the host kills it or it resets itself.
write_on()
{
	write_files "/mnt/$1" 5
	for i in 1 2 3; do
		(while :; do write_files "/mnt/$1-$i" 40; done) >/dev/null 2>&1 &
	done
}

reset_now()
{
	echo b >/proc/sysrq-trigger
}
END

check_discard()
{
	local before after

	before=$(blocks_of "$image")
	guest_call fill
	check "32 MiB written occupy blocks" [ "$(blocks_of "$image")" -ge $((before + 65000)) ]
	guest_call trim
	after=$(blocks_of "$image")
	check "fstrim frees the image's blocks ($after left, $before before)" \
		[ "$after" -le $((before + 2000)) ]
}

daemon_start "--blk-file=$image"

qemu_start
guest_call make "$size"
first=$VALUE
guest_call modern
[[ $VUBLKD_PEER == qsd ]] || guest_call flush # it says "write through"
check_discard
guest_call leave
check_image_fsck "$image"

guest_reboot
guest_call verify_again /mnt/first "$first"
guest_call write_on second
second=$VALUE
guest_tell reset_now
guest_wait_ready
guest_call verify_again /mnt/first "$first"
guest_call verify_files /mnt/second "$second"
guest_call check_kernel_is_happy

guest_call write_on third
third=$VALUE
kill -KILL "$GUEST_PID"
wait "$GUEST_PID" 2>/dev/null
check "the daemon survives its front-end's sudden death" alive "$DAEMON_PID"

old=,disable-modern=on,disable-legacy=off,event_idx=off,indirect_desc=off
[[ $VUBLKD_PEER == qsd ]] && old='' # it knows modern devices only
QEMU_DISK_OPTIONS=$old qemu_start
guest_call verify_again /mnt/first "$first"
[[ -z $old ]] || guest_call legacy
guest_call verify_files /mnt/second "$second"
guest_call verify_files /mnt/third "$third"
guest_call leave
check_image_fsck "$image"
guest_call raw
check "a discarded image is empty ($(blocks_of "$image") blocks)" [ "$(blocks_of "$image")" -le 16 ]
guest_poweroff

daemon_stop
guest_end

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a guest is told about the disk and can set: block sizes, topology, serial, queues, write
# cache; with a file system on 4096-byte blocks and two processors that write at the same time,
# also while QEMU stops and goes on (which drains each ring and starts it where it was). The rings
# are packed; then QEMU stops and goes on with split ones, too.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin

image=$WORK/disk.img
size=$((128 * 1024 * 1024))
truncate -s "$size" "$image"

cat >"$GUEST_SCRIPT" <<'END'
look()
{
	local queue=/sys/block/vda/queue

	wait_for_disk /dev/vda || return
	check_is "capacity in bytes" "$1" "$(blockdev --getsize64 /dev/vda)"
	check_is "logical block size" 4096 "$(cat $queue/logical_block_size)"
	[ "$2" = qsd ] && return
	check_is "physical block size" 16384 "$(cat $queue/physical_block_size)"
	check_is "optimal I/O size" 65536 "$(cat $queue/optimal_io_size)"
	check_is "serial" "guest test 4711" "$(cat /sys/block/vda/serial)"
	check_rings packed
}

queues()
{
	check_is "number of queues" 2 "$(ls /sys/block/vda/mq | wc -l)"
}

# How often queue $1 has interrupted.
interrupts()
{
	awk -v name="virtio0-req.$1" '$NF == name { print $2 + $3 }' /proc/interrupts
}

# Binds this subshell (whose number $$ does not tell) to the processors of mask $1.
stay_on()
{
	taskset -p "$1" "$(exec sh -c 'echo $PPID')" >/dev/null
}

two_writers()
{
	local before0 before1

	make_fs -o discard
	before0=$(interrupts 0) before1=$(interrupts 1)
	(stay_on 1 && write_files /mnt/zero 40) >/run/zero &
	(stay_on 2 && write_files /mnt/one 40) >/run/one
	wait
	check "queue 0 was used" [ "$(interrupts 0)" -gt "${before0:-0}" ]
	check "queue 1 was used" [ "$(interrupts 1)" -gt "${before1:-0}" ]
	verify_files /mnt/zero "$(sed 's/@@value //' /run/zero)"
	verify_files /mnt/one "$(sed 's/@@value //' /run/one)"
}

# The host stops and continues QEMU while this runs.
write_and_verify()
{
	(write_files /mnt/three 40 >/run/three) &
	write_files /mnt/two 40 >/run/two
	wait
	verify_files /mnt/two "$(sed 's/@@value //' /run/two)"
	verify_files /mnt/three "$(sed 's/@@value //' /run/three)"
}

# The guest that has split rings does only this.
split()
{
	wait_for_disk /dev/vda || return
	check_rings split
	check "mount" mount /dev/vda /mnt
}

cache_mode()
{
	cat /sys/block/vda/cache_type
}

# Sets the mode of the device itself (virtio's wce field), not only the kernel's idea of it.
set_cache_mode()
{
	echo "$1" >/sys/block/vda/cache_type
}

write_cache()
{
	local before

	[ "$1" = qsd ] || check_is "write cache at first" "write back" "$(cache_mode)"
	check "set it to write through" set_cache_mode "write through"
	check_is "write cache then" "write through" "$(cache_mode)"
	check_is "write cache of the queue" "write through" "$(cat /sys/block/vda/queue/write_cache)"
	before=$(flushes vda)
	write_files /mnt/through 10
	check_is "flushes while in write-through mode" 0 $(($(flushes vda) - before))
	check "set it to write back" set_cache_mode "write back"
	check_is "write cache at last" "write back" "$(cache_mode)"
	before=$(flushes vda)
	write_files /mnt/back 10
	check "fsync flushes again" [ "$(flushes vda)" -gt "$before" ]
	verify_files /mnt/through "$(sha256sum </mnt/through/SUMS | cut -c 1-64)"
}
END

# stop_and_go FUNCTION: calls it in the guest and stops QEMU again and again meanwhile.
stop_and_go()
{
	local times=0 failed=$FAILED

	guest_tell "$1"
	while ((times < 30)) && ! console_has "$DONE"; do
		qmp stop
		qmp cont
		times=$((times + 1))
	done
	guest_await "$1" "$failed"
	check "QEMU was stopped at least 3 times (it was $times)" [ "$times" -ge 3 ]
}

options=(--block-size=4096)
if [[ $VUBLKD_PEER != qsd ]]; then
	options+=(--physical-block-size=16384 --optimal-io-size=65536 "--serial=guest test 4711")
fi
daemon_start "--blk-file=$image" --num-queues=2 "${options[@]}"
QEMU_DISK_OPTIONS=,packed=on QUEUES=2 MONITOR=1 qemu_start
guest_call look "$size" "$VUBLKD_PEER"
guest_call queues
guest_call two_writers
stop_and_go write_and_verify
guest_call write_cache "$VUBLKD_PEER"
guest_call leave
guest_poweroff

QUEUES=2 MONITOR=1 qemu_start
guest_call split
stop_and_go write_and_verify
guest_call leave
guest_poweroff
check_image_fsck "$image"

daemon_stop
guest_end

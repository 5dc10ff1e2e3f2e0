#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# --iopoll on a device that has queues to be polled: the guest's virtio disk, which has one once its
# driver is loaded with poll_queues=1. The vublkd in question runs in the guest, on that disk and on
# a file on it, and protocol tests drive it there. (The disk comes from a vublkd on the host, as in
# the other guest tests.)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin

case $VUBLKD_PEER-$VUBLKD_VARIANT in
vublkd-io_uring | vublkd-any) ;;
*) skip_all "the vublkd that is tested is the one in the guest; the variant io_uring has it" ;;
esac

image=$WORK/disk.img
truncate -s $((64 * 1024 * 1024)) "$image"

cat >"$GUEST_SCRIPT" <<'END'
# How often the driver has been asked whether its queue without an interrupt has completed
# something. The kernel's tracer counts it.
count_polls()
{
	mount -t tracefs tracing /sys/kernel/tracing && cd /sys/kernel/tracing || return
	echo 'p:polls virtblk_poll' >kprobe_events && echo 1 >events/kprobes/polls/enable
	cd /
}

polls()
{
	awk '$1 == "polls" { print $2 }' /sys/kernel/tracing/kprobe_profile
}

serves()
{
	timeout 3 vublkd --iopoll --blk-file=/dev/vda --socket-path=/run/s >/run/said 2>&1
	grep -q 'serving' /run/said
}

without_queues()
{
	wait_for_disk /dev/vda || return
	check_is "the disk cannot be polled" 0 "$(cat /sys/block/vda/queue/io_poll)"
	check_fails "--iopoll is refused" serves
	check_is "in one line" 1 "$(wc -l </run/said)"
	check "that says what to do" grep virtio_blk.poll_queues /run/said
}

with_queues()
{
	rmmod virtio_blk && insmod /modules/virtio_blk.ko poll_queues=1 || return
	wait_for_disk /dev/vda || return
	check_is "the disk can be polled" 1 "$(cat /sys/block/vda/queue/io_poll)"
	check "a vublkd serves it" serves
	count_polls
}

# run_proto DIRECTORY OPTION TEST CASE: the protocol test's own image is made there. Sets POLLS.
run_proto()
{
	local before status

	before=$(polls)
	TMPDIR=$1 VUBLKD=/sbin/vublkd VUBLKD_EXTRA=$2 FE_STRESS_SECONDS=1 "/sbin/$3" "$4" >/run/proto 2>&1
	status=$?
	POLLS=$(($(polls) - before))
	[ "$status" -ne 0 ] && cat /run/proto
	return "$status"
}

# An image in a file system: reads are polled for.
file_system()
{
	make_fs
	check "reads of a file" run_proto /mnt --iopoll test-request reads_what
	check "they were polled for (asked $POLLS times)" [ "$POLLS" -gt 0 ]
	check "writes to it" run_proto /mnt --iopoll test-request writes_into
	check "umount" umount /mnt
}

# The disk itself, which takes the place of the test's image: reads and writes are polled for.
device()
{
	mkdir /run/t
	export VUBLKD_WRAPPER=/sbin/on-device
	check "random requests to the disk" run_proto /run/t --iopoll test-stress event_idx
	check "they were polled for (asked $POLLS times)" [ "$POLLS" -gt 0 ]
	check "the same without polling" run_proto /run/t --cache=none test-stress event_idx
	check_is "times asked" 0 "$POLLS"
	check_kernel_is_happy
}
END

# The guest's own copies of the programs.
programs=$WORK/programs
mkdir -p "$programs/sbin"
for program in "$VUBLKD" "$BUILDDIR/tests/proto/test-stress" "$BUILDDIR/tests/proto/test-request"; do
	copy_program "$programs" "$program" || give_up "cannot copy $program"
done

cat >"$programs/sbin/on-device" <<'END'
#!/bin/sh
# on-device VUBLKD ARG...: runs it on the disk in place of the image, whose name the disk gets.
for word; do
	case $word in
	--blk-file=*)
		image=${word#*=}
		[ -b "$image" ] && continue
		dd if=/dev/zero of=/dev/vda bs=1M count=64 oflag=direct status=none
		rm "$image"
		mknod "$image" b $(cat /sys/block/vda/dev | tr : ' ')
		;;
	esac
done
exec "$@"
END
chmod +x "$programs/sbin/on-device"

daemon_start "--blk-file=$image" --num-queues=2
QUEUES=2 GUEST_TREE=$programs qemu_start
guest_call without_queues
guest_call with_queues
guest_call file_system
guest_call device
guest_poweroff

daemon_stop
guest_end

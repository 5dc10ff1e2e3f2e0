#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# A guest whose disk is behind an IOMMU: each request's memory is mapped for it alone, translated by
# QEMU, and taken away when it has ended. Files are written and verified, the driver lets go of the
# device and takes it again, and the guest boots once more. Under --supervise the daemon is killed while
# files are verified: what is mapped the next one asks for again, on the same connection.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "qemu-storage-daemon has no IOTLB"

image=$WORK/disk.img
size=$((192 * 1024 * 1024))

cat >"$GUEST_SCRIPT" <<'END'
disk_driver=/sys/bus/virtio/drivers/virtio_blk

make()
{
	wait_for_disk /dev/vda || return
	check "the device is in a group of the IOMMU's" [ -e /sys/kernel/iommu_groups/0 ]
	check_is "VIRTIO_F_ACCESS_PLATFORM is negotiated" 1 \
		"$(cut -c 34 /sys/block/vda/device/features)"
	make_fs
	write_files /mnt/first 20
	cd /
	umount /mnt
}

# The device is stopped, and its rings are made anew elsewhere.
rebind()
{
	local device

	for device in "$disk_driver"/virtio*; do
		device=${device##*/}
		check "the driver lets go" sh -c "echo $device >$disk_driver/unbind"
		check "and takes it again" sh -c "echo $device >$disk_driver/bind"
		break
	done
	wait_for_disk /dev/vda || return
}

verify()
{
	verify_again /mnt/first "$1"
	rm -rf /mnt/more
	write_files /mnt/more 10 >/dev/null
	cd /mnt/more && check "and those of more files" sha256sum -c SUMS
	cd /
	leave
}

END

QEMU_DISK_OPTIONS=,iommu_platform=on,ats=on,disable-legacy=on
QEMU_MACHINE_OPTIONS=,kernel-irqchip=split
QEMU_IOMMU='-device intel-iommu,device-iotlb=on,intremap=off'
truncate -s "$size" "$image"
daemon_is_kept
daemon_start "--blk-file=$image" --num-queues=2 --supervise
# Strict: QEMU 7.2 tells of no other invalidations, unless the guest uses ATS.
QUEUES=2 KERNEL_OPTIONS="intel_iommu=on iommu.strict=1" qemu_start
guest_call make
sum=$VALUE
guest_tell verify "$sum"
for _ in {1..5}; do
	sleep 0.2
	daemon_replace
done
guest_await "verify while the daemon is killed" "$FAILED"
guest_call rebind
guest_call verify "$sum"
guest_reboot
guest_call verify "$sum"
# Until the guest's kernel has set it up, and when it has let go of it, there is nothing behind.
GUEST_EXPECTED='vtd_iova_to_slpte|vtd_iommu_translate|Unexpected IOTLB|Fail to lookup the translated'
guest_poweroff
daemon_stop
check_image_fsck "$image"
guest_end

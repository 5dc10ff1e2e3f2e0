#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# --read-only: a guest can read everything and change nothing. All refusals here are the guest
# kernel's own, who knows that the disk is read-only and sends it no write (not even by dirty pages
# of a mapping); test-boot.sh shows that the device refuses one that comes all the same.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin

image=$WORK/disk.img
mkdir "$WORK/content"
head -c 3000000 /dev/urandom >"$WORK/content/file"
(cd "$WORK/content" && sha256sum file >SUMS)
sum=$(sha256sum <"$WORK/content/SUMS" | cut -c 1-64)
truncate -s 32M "$image"
mke2fs -q -t ext4 -d "$WORK/content" "$image" || give_up "mke2fs fails on the host"
before=$(sha256sum <"$image")

cat >"$GUEST_SCRIPT" <<'END'
read_all()
{
	wait_for_disk /dev/vda || return
	check_is "read-only flag" 1 "$(cat /sys/block/vda/ro)"
	# busybox tries once more with "ro" when "rw" is refused.
	check "mount" mount -o rw /dev/vda /mnt
	check_is "mounted" ro "$(awk '$2 == "/mnt" { print substr($4, 1, 2) }' /proc/mounts)"
	verify_files /mnt "$1"
	check "umount" umount /mnt
	check_kernel_is_happy
}

write_all()
{
	check_fails "writing is refused" dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync
	blockdev --setrw /dev/vda
	check_fails "also after blockdev --setrw" dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync
	check_fails "discarding is refused" blkdiscard /dev/vda
}
END

daemon_start "--blk-file=$image" --read-only
qemu_start
guest_call read_all "$sum"
guest_call write_all
guest_poweroff
check "the image is unchanged" [ "$(sha256sum <"$image")" == "$before" ]

daemon_stop
guest_end

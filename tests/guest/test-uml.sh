#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A User-mode Linux guest, whose front-end is not QEMU's: it writes with checksums and verifies,
# is started anew, and verifies again. First through the host's page cache, then not.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin

image=$WORK/disk.img
size=$((64 * 1024 * 1024))
truncate -s "$size" "$image"

GUEST_SCRIPT=$WORK/guest.sh
cat >"$GUEST_SCRIPT" <<'END'
make()
{
	wait_for_disk /dev/vda || return
	check_is "capacity in bytes" "$1" "$(blockdev --getsize64 /dev/vda)"
	check "mkfs.ext4" mkfs.ext4 -q /dev/vda
	check "mount" mount /dev/vda /mnt
	write_files /mnt/files 60
}

verify()
{
	wait_for_disk /dev/vda || return
	check "mount" mount /dev/vda /mnt
	verify_files /mnt/files "$1"
}

leave()
{
	check "umount" umount /mnt
	check "the guest's e2fsck finds the disk clean" e2fsck -fn /dev/vda
	check_kernel_is_happy
}
END

cache=()
[[ $VUBLKD_PEER == qsd ]] || cache=(--cache=writeback)
daemon_start "--blk-file=$image" "${cache[@]}"
uml_start
guest_call make "$size"
sum=$VALUE
guest_call verify_files /mnt/files "$sum"
guest_call leave
guest_poweroff
daemon_stop
check_image_fsck "$image"

daemon_start "--blk-file=$image"
uml_start
guest_call verify "$sum"
guest_call leave
guest_poweroff

daemon_stop
guest_end

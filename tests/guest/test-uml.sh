#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A User-mode Linux guest, whose front-end is not QEMU's: it writes with checksums and verifies,
# is started anew, and verifies again. All of it without eventfds; first through the host's page cache,
# then not.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin

image=$WORK/disk.img
size=$((64 * 1024 * 1024))
truncate -s "$size" "$image"

cat >"$GUEST_SCRIPT" <<'END'
make()
{
	wait_for_disk /dev/vda || return
	check_is "capacity in bytes" "$1" "$(blockdev --getsize64 /dev/vda)"
	make_fs
	write_files /mnt/files 60
}
END

cache=()
[[ $VUBLKD_PEER == qsd ]] || cache=(--cache=writeback)
daemon_start "--blk-file=$image" "${cache[@]}"
uml_start
guest_call make "$size"
sum=$VALUE
uml_is_inband
guest_call verify_files /mnt/files "$sum"
guest_call leave
guest_poweroff
daemon_stop
check_image_fsck "$image"

daemon_start "--blk-file=$image"
uml_start
guest_call verify_again /mnt/files "$sum"
uml_is_inband
guest_call leave
guest_poweroff

daemon_stop
guest_end

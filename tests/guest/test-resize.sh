#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 240
#
# The image is made larger under a guest, and the guest has a larger disk, without being started again:
# at once; and when that was done while no daemon was there. With QEMU, and with User-mode Linux.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "qemu-storage-daemon is told of a resize by its monitor"

image=$WORK/disk.img
MIB=$((1024 * 1024))

cat >"$GUEST_SCRIPT" <<'END'
is_large()
{
	[ "$(cat /sys/block/vda/size)" -eq "$(($1 * 2048))" ]
}

# has_size MIB: at once, or soon; and its last MiB is written, and read past the page cache.
has_size()
{
	local tries=0

	wait_for_disk /dev/vda || return
	until is_large "$1" || [ "$tries" -gt 200 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	check_is "capacity in sectors" "$(($1 * 2048))" "$(cat /sys/block/vda/size)"
	head -c 1048576 /dev/urandom >/run/random
	check "the last MiB is written" dd if=/run/random of=/dev/vda bs=1M seek="$(($1 - 1))" \
		oflag=direct status=none
	check_is "and read" "$(sha256sum </run/random)" \
		"$(dd if=/dev/vda bs=1M skip="$(($1 - 1))" iflag=direct status=none | sha256sum)"
	check_kernel_is_happy
}
END

# start KIND: a guest on a disk of 64 MiB, that has been used.
start()
{
	rm -f "$image"
	truncate -s "$((64 * MIB))" "$image"
	daemon_start "--blk-file=$image" --log-level=debug
	"$1_start"
	guest_call has_size 64
}

# grow MIB
grow()
{
	truncate -s "$(($1 * MIB))" "$image"
}

finish()
{
	guest_poweroff
	daemon_stop
	check "nobody has made the image larger" [ "$(stat -c %s "$image")" -eq "$(($1 * MIB))" ]
}

start qemu
grow 96
guest_call has_size 96

# QEMU reads the size when the device is made, and not again by itself when it has reconnected.
daemon_kill
grow 128
daemon_restart
daemon_runs
guest_call has_size 128

# The next one meets a guest that knows it.
daemon_kill
daemon_restart
daemon_runs
guest_call has_size 128
grow 130
guest_call has_size 130
guest_reboot
guest_call has_size 130
finish 130

start uml
uml_is_inband
grow 80
guest_call has_size 80
finish 80
guest_end

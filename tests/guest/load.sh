# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A guest under a checksummed load whose back-end has a hard life: what several tests
# share. Sourced after lib.sh's guest_begin.

export WRITERS=4 # of start_load
image=$WORK/disk.img
VERIFY_VALUE=''

cat >"$GUEST_SCRIPT" <<'END'
begin()
{
	wait_for_disk /dev/vda || return
	check_is "number of queues" 2 "$(ls /sys/block/vda/mq | wc -l)"
	check_rings "$1"
	make_fs
	start_load /mnt/load /dev/vda
}

# know FILES: as many of 1 MiB, whose checksums are in memory.
know()
{
	local i=0

	mkdir -p /mnt/known && cd /mnt/known || return
	while [ "$i" -lt "$1" ]; do
		head -c 1048576 /dev/urandom >"$i" || return
		i=$((i + 1))
	done
	sha256sum * >/run/known && sync
	cd /
}

leave_load()
{
	leave
	check_is "requests that wait for their end" "0 0" "$(xargs </sys/block/vda/inflight)"
}
END

# Lets some of the guest's work be done, so that each end meets another moment of it.
work_on()
{
	sleep "0.$(printf %03d $((RANDOM % 150)))"
}

# The same, up to 2 ms: too short for a sleep.
work_at_once()
{
	local until=$((${EPOCHREALTIME/./} + RANDOM % 2000))

	while ((${EPOCHREALTIME/./} < until)); do :; done
}

# daemon_stands_still COMMAND...: runs it between two signals. An emulated guest is slower than the
# disk, so there is seldom much in flight; now its requests pile up.
daemon_stands_still()
{
	local pid

	pid=$(daemon_serving)
	kill -STOP "$pid"
	"$@"
	kill -CONT "$pid"
}

# All that has piled up is taken at once; up to 2 ms later whoever calls this does something to it.
pile_up()
{
	daemon_stands_still work_on
	work_at_once
}

# The load goes on from here.
load_goes_on()
{
	beats_begin
	beats_await $((WRITERS + 1))
}

# load_life KIND FUNCTION: a guest with that kind of rings and two queues, from an empty disk to the
# host's look at it; in between the function (which gets the kind) does to its back-end what it likes.
# The words of DAEMON_OPTIONS are the daemon's.
load_life()
{
	head -c $((96 * 1024 * 1024)) /dev/urandom >"$image" # for reading holes is no I/O
	# shellcheck disable=SC2086 # words
	daemon_start "--blk-file=$image" --num-queues=2 --log-level=debug ${DAEMON_OPTIONS:-}
	QUEUES=2 qemu_start
	guest_call begin "$1"
	"$2" "$1"
	guest_call end_load /mnt/load
	VERIFY_VALUE=$VALUE
	guest_call verify_files /mnt/load "$VERIFY_VALUE"
	guest_call leave_load
	guest_reboot
	guest_call verify_again /mnt/load "$VERIFY_VALUE"
	guest_call leave_load
	guest_poweroff
	check_image_fsck "$image"
	daemon_stop
}

# load_lives FUNCTION: with split rings and with packed ones. What these two differ in is vublkd's, so
# that one kind is enough for another QEMU.
load_lives()
{
	[[ $VUBLKD_VARIANT == debian13 ]] || QEMU_DISK_OPTIONS='' load_life split "$1"
	QEMU_DISK_OPTIONS=,packed=on load_life packed "$1"
}

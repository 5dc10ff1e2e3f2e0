#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Memory comes and goes under a guest that reads and writes: DIMMs are plugged and unplugged, and a
# virtio-mem device grows and shrinks, again and again. What comes is where the guest's buffers lie
# then, for Linux takes pages of files and of processes from the movable zone first, and everything
# else from the normal one; there is nothing in them (all it was booted with is below 4 GiB, in
# DMA32) but what has been plugged. What goes has been emptied by the guest before, under I/O. The
# daemon is killed while memory is there, and memory comes and goes while there is no daemon.
# With split rings and the memory registered with io_uring, and with packed ones; two queues each.
# shellcheck disable=SC2317 # load_life calls them
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "qemu-storage-daemon does not track what is in flight"
# shellcheck source-path=SCRIPTDIR source=load.sh
. "$(dirname "$0")/load.sh"

readonly MIB=$((1024 * 1024))
readonly KNOWN=8   # files of 1 MiB that are read into what was plugged
readonly DIMM=128  # MiB: a memory block of Linux's is as large

cat >>"$GUEST_SCRIPT" <<'END'
# What becomes of memory that is plugged.
online()
{
	echo "online_$1" >/sys/devices/system/memory/auto_online_blocks
}

# zone ZONE REGEX: the sum of what /proc/zoneinfo says of it in such lines.
zone()
{
	awk -v zone="$1" -v item="$2" '
		/^Node/ { here = $4 == zone }
		here && $1 ~ item { sum += $2 } END { print sum + 0 }' /proc/zoneinfo
}

# has_memory ZONE MIB: now, or soon.
has_memory()
{
	local tries=0

	until [ "$(zone "$1" '^present$')" -eq "$(($2 * 256))" ] || [ "$tries" -gt 300 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	check_is "MiB of zone $1" "$2" "$(($(zone "$1" '^present$') / 256))"
}

# read_into ZONE: the known files come from the disk, right, and lie there.
read_into()
{
	local before pages size

	cd /mnt/known || return
	echo 3 >/proc/sys/vm/drop_caches
	before=$(zone "$1" '^nr_zone_(in)?active_file$')
	check "files read into zone $1 are right" sha256sum -c /run/known
	pages=$(($(zone "$1" '^nr_zone_(in)?active_file$') - before))
	size=$(($(wc -l </run/known) * 256))
	check "and their pages lie there: $pages of $size" [ "$pages" -ge "$((size / 2))" ]
	cd /
}
END

# plug NUMBER
plug()
{
	qmp object-add "{\"qom-type\": \"memory-backend-memfd\", \"id\": \"memory$1\",
		\"size\": $((DIMM * MIB)), \"share\": true}"
	qmp device_add "{\"driver\": \"pc-dimm\", \"id\": \"dimm$1\", \"memdev\": \"memory$1\"}"
}

is_unplugged()
{
	qmp query-memory-devices
	[[ $QMP_ANSWER != *"\"id\": \"dimm$1\""* ]]
}

# unplug NUMBER: the guest is asked for it.
unplug()
{
	qmp device_del "{\"id\": \"dimm$1\"}"
}

# unplug_end NUMBER: and has given it.
unplug_end()
{
	wait_until "$CALL_DEADLINE" is_unplugged "$1" ||
		give_up "the guest keeps DIMM $1: $QMP_ANSWER"
	qmp object-del "{\"id\": \"memory$1\"}"
}

virtio_mem_has()
{
	qmp qom-get '{"path": "/machine/peripheral/vm", "property": "size"}'
	[[ $QMP_ANSWER == *": $(($1 * MIB))"[!0-9]* ]]
}

virtio_mem_ask()
{
	qmp qom-set "{\"path\": \"/machine/peripheral/vm\", \"property\": \"requested-size\",
		\"value\": $(($1 * MIB))}"
}

# virtio_mem MIB: that much of it. Linux waits for 50 s when it could not empty a block at once,
# unless it is asked for something else.
virtio_mem()
{
	local deadline=$((SECONDS + CALL_DEADLINE))

	virtio_mem_ask "$1"
	until wait_until "$SLOW" virtio_mem_has "$1"; do
		((SECONDS < deadline)) || give_up "virtio-mem does not come to $1 MiB: $QMP_ANSWER"
		virtio_mem_ask $(($1 + 2))
		virtio_mem_ask "$1"
	done
}

# messages NAME: how many of that name have come.
messages()
{
	grep -c ": $1" "$DAEMON_LOG"
}

# The next daemon, which is told of all the memory there is.
next_daemon()
{
	daemon_restart
	daemon_runs
	beats_await $((WRITERS + 1))
}

# Other memory comes to the place of DIMM 1. QEMU 10.0 sends the next daemon a descriptor then that
# it has closed, fails, and tries the same for ever.
dimm_replaced()
{
	local removed

	[[ $VUBLKD_VARIANT != debian13 ]] || return 0
	removed=$(messages REM_MEM_REG)
	unplug 1
	unplug_end 1
	plug 1
	guest_call has_memory Movable $((2 * DIMM))
	check "the daemon was told of the DIMM that went" \
		[ "$(messages REM_MEM_REG)" -eq $((removed + 1)) ]
}

dimms()
{
	local added

	added=$(messages ADD_MEM_REG)
	plug 0
	plug 1
	guest_call has_memory Movable $((2 * DIMM))
	load_goes_on
	check "the daemon was told of the DIMMs that came" \
		[ "$(messages ADD_MEM_REG)" -eq $((added + 2)) ]
	dimm_replaced
	guest_call read_into Movable
}

dimms_and_deaths()
{
	daemon_stands_still work_on
	daemon_kill
	next_daemon
	guest_call read_into Movable
	# One goes and one comes while nobody is there to be told.
	daemon_kill
	plug 2
	unplug 0
	next_daemon
	unplug_end 0
	guest_call has_memory Movable $((2 * DIMM))
	guest_call read_into Movable
	unplug 1
	unplug 2
	unplug_end 1
	unplug_end 2
	guest_call has_memory Movable 0
	load_goes_on
}

virtio_mem_life()
{
	local KERNEL MODULE_TREE

	find_kernel
	if ! grep -q '/virtio_mem\.ko' "$MODULE_TREE/modules.dep"; then
		ok "virtio-mem # SKIP the guests' kernel has no module virtio_mem"
		return
	fi
	virtio_mem 256
	guest_call has_memory Movable 256
	guest_call read_into Movable
	daemon_stands_still work_on
	daemon_kill
	next_daemon
	virtio_mem 128
	guest_call read_into Movable
	virtio_mem 0
	guest_call has_memory Movable 0
	virtio_mem 256
	virtio_mem 0
	load_goes_on
}

# Of the normal zone is what the guest's driver allocates, too: the tables of indirect descriptors.
# It cannot be given back.
for_good()
{
	guest_call online kernel
	plug 3
	guest_call has_memory Normal "$DIMM"
	guest_call read_into Normal
	daemon_kill
	next_daemon
}

come_and_go()
{
	guest_call know "$KNOWN"
	guest_call online movable
	guest_call has_memory Normal 0
	beats_await $((WRITERS + 1))
	for part in dimms dimms_and_deaths virtio_mem_life for_good; do
		"$part"
		echo "# $1 rings: $part, after $SECONDS s"
	done
}

export MONITOR=1 QUEUES=2 MEMORY=256M GUEST_MODULES=virtio_mem
export QEMU_MEMORY_OPTIONS=,slots=4,maxmem=2G
QEMU_WORDS="-object memory-backend-memfd,id=vmem,size=512M,share=on,reserve=off"
QEMU_WORDS+=" -device virtio-mem-pci,id=vm,memdev=vmem,requested-size=0"
export QEMU_WORDS
# Where there is io_uring.
fixed=--fixed-buffers
[[ $VUBLKD_VARIANT != @(libaio|nouring) && -z $("$BUILDDIR/tests/no-uring" --probe) ]] || fixed=''

# On Debian 12 and 13 it is one of these; by hand both.
if [[ $VUBLKD_VARIANT != debian13 ]]; then
	# What virtio-mem gives back is a hole in memory that is registered.
	DAEMON_EXPECTED="holes have been punched into the guest's memory"
	QEMU_DISK_OPTIONS='' DAEMON_OPTIONS=$fixed load_life split come_and_go
fi
if [[ $VUBLKD_VARIANT == @(debian13|any) ]]; then
	DAEMON_EXPECTED=''
	QEMU_DISK_OPTIONS=,packed=on DAEMON_OPTIONS='' load_life packed come_and_go
fi
guest_end

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# One process, many disks. A guest writes two disks and reads them back, all the time. Meanwhile a
# third one is added by the API, plugged into the guest, used, unplugged, and removed by the API; a
# second guest has a life on a fourth; and the process is killed and started again, several times.
# At the end each image holds what its disk was given.
# shellcheck disable=SC2317 # wait_until calls some
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "qemu-storage-daemon is not told of disks like this"
need curl curl

readonly KILLS=3 KIB=1024
api=$WORK/api

cat >"$GUEST_SCRIPT" <<'END'
# begin: the disks are those that they should be.
begin()
{
	local disk

	for disk in vda=NR-0 vdb=NR-1; do
		wait_for_disk "/dev/${disk%=*}" || return
		check_is "serial number of ${disk%=*}" "${disk#*=}" \
			"$(cat "/sys/class/block/${disk%=*}/serial")"
	done
	mkdir /run/load
}

# writer DISK PART: four places in turn, each of 64 KiB, in one half of the disk, get random bytes,
# whose checksum has been taken, and are read back past the page cache; until it is told to stop.
writer()
{
	local me="/run/load/$1.$2" n=0 at sum found

	: >"$me.rounds"
	while [ ! -e /run/load/stop ]; do
		at=$(($2 * 4 + n % 4))
		head -c 65536 /dev/urandom >"$me.data"
		sum=$(sha256sum <"$me.data")
		dd if="$me.data" of="/dev/$1" bs=64k seek="$at" oflag=direct conv=notrunc \
			status=none || return
		found=$(dd if="/dev/$1" bs=64k skip="$at" count=1 iflag=direct status=none |
			sha256sum)
		[ "$found" = "$sum" ] || echo "round $n: $1 is wrong at $at"
		echo "$sum" >"$me.sum$((n % 4))"
		n=$((n + 1))
		echo "$n" >>"$me.rounds"
	done
}

start_writers()
{
	local disk part

	for disk in vda vdb; do
		for part in 0 1; do
			writer "$disk" "$part" >"/run/load/$disk.$part.errors" 2>&1 &
		done
	done
}

rounds()
{
	wc -l <"$1" 2>/dev/null || echo 0
}

# goes_on: each writer has written, anew, and read that back.
goes_on()
{
	local disk part tries=0 file before

	for disk in vda vdb; do
		for part in 0 1; do
			file=/run/load/$disk.$part.rounds
			before=$(rounds "$file")
			until [ "$(rounds "$file")" -ge "$((before + 2))" ]; do
				tries=$((tries + 1))
				[ "$tries" -lt 400 ] || return
				sleep 0.1
			done
		done
	done
}

# stop_writers: none of them has had an error, and all that they wrote last is there.
stop_writers()
{
	local errors disk part n sum

	touch /run/load/stop
	wait
	errors=$(cat /run/load/*.errors)
	check_is "errors while writing and reading" none "${errors:-none}"
	for disk in vda vdb; do
		for part in 0 1; do
			for n in 0 1 2 3; do
				sum=$(dd if="/dev/$disk" bs=64k skip="$((part * 4 + n))" count=1 \
					iflag=direct status=none | sha256sum)
				[ "$sum" = "$(cat "/run/load/$disk.$part.sum$n")" ] ||
					not_ok "$disk is wrong at $((part * 4 + n))"
			done
		done
	done
	check_kernel_is_happy
}

# sum_of DISK: the value is that of its first 512 KiB.
sum_of()
{
	echo "@@value $(dd if="/dev/$1" bs=64k count=8 iflag=direct status=none |
		sha256sum | cut -c 1-64)"
}

# use DISK SERIAL: as much of it.
use()
{
	local sum

	wait_for_disk "/dev/$1" || return
	# Its link in /sys/block comes later.
	check_is "serial number of $1" "$2" "$(cat "/sys/class/block/$1/serial")"
	head -c 524288 /dev/urandom >/run/data
	sum=$(sha256sum </run/data)
	dd if=/run/data of="/dev/$1" bs=64k oflag=direct conv=notrunc,fsync status=none || return
	check_is "what was written to $1" "$sum" \
		"$(dd if="/dev/$1" bs=64k count=8 iflag=direct status=none | sha256sum)"
	rm /run/data
}

has_gone()
{
	local tries=0

	while [ -b "/dev/$1" ] && [ "$tries" -lt 200 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	check "$1 has gone" [ ! -b "/dev/$1" ]
}
END

### The daemon ####################################################################################

# All disks are in files, or told by the API.
daemon_command()
{
	# shellcheck disable=SC2206 # the wrapper and the extras are words, none or one
	COMMAND=(${VUBLKD_WRAPPER:-} "$VUBLKD" ${VUBLKD_EXTRA:-} "$@")
}

# The place of disk $1; that of the first is lib.sh's.
socket_of()
{
	if (($1)); then echo "$WORK/d$1.sock"; else echo "$SOCKET"; fi
}

# Has QEMU set up its rings on both disks with the daemon that runs now?
both_are_set_up()
{
	tail -n "+$((DAEMON_LOG_SEEN + 1))" "$DAEMON_LOG" | awk '
		/: d[01]: SET_VRING_ENABLE/ { enabled[$3] = 1 }
		/: d[01]: SET_STATUS/ && enabled[$3] { found[$3] = 1 }
		END { exit length(found) < 2 }' || gone "$DAEMON_PID"
}

both_run()
{
	wait_until "$STOP_DEADLINE" both_are_set_up || give_up "QEMU does not come back"
	alive "$DAEMON_PID" || give_up "the daemon lives on after a restart"
}

# ask METHOD PATH [BODY]: the answer is in ANSWER.
ask()
{
	ANSWER=$(curl -sS --max-time "$STOP_DEADLINE" --unix-socket "$api" -X "$1" \
		${3:+--data "$3"} "http://localhost/v1/$2" 2>&1)
}

# disk_says NAME REGEX
disk_says()
{
	ask GET "disks/$1"
	[[ $ANSWER =~ $2 ]]
}

check_says()
{
	check "$1: the API says $2" wait_until "$STOP_DEADLINE" disk_says "$1" "$2" ||
		echo "# $ANSWER"
}

# An emulated guest is slower than its disks: now each writer waits for one, and all that has come
# is taken at once.
pile_up()
{
	kill -STOP "$DAEMON_PID"
	sleep 0.2
	kill -CONT "$DAEMON_PID"
}

### A disk that comes and goes ####################################################################

is_unplugged()
{
	qmp qom-list '{"path": "/machine/peripheral"}'
	[[ $QMP_ANSWER != *'"name": "disk2"'* ]]
}

third_disk()
{
	ask PUT disks/d2 "{\"blk-file\": \"$WORK/2.img\", \"socket-path\": \"$(socket_of 2)\",
		\"serial\": \"NR-2\"}"
	check_says d2 '"state": "served"'
	qmp chardev-add "{\"id\": \"c2\", \"backend\": {\"type\": \"socket\", \"data\": {
		\"addr\": {\"type\": \"unix\", \"data\": {\"path\": \"$(socket_of 2)\"}},
		\"server\": false, \"reconnect\": 1}}}"
	qmp device_add '{"driver": "vhost-user-blk-pci", "id": "disk2", "bus": "rp0",
		"chardev": "c2", "num-queues": 1}'
	guest_call use vdc NR-2
	check_says d2 '"connected": true'
	guest_call sum_of vdc
	ask DELETE disks/d2
	check "a disk that is in use is not removed" [ "${ANSWER/is connected/}" != "$ANSWER" ]
	qmp device_del '{"id": "disk2"}'
	wait_until "$CALL_DEADLINE" is_unplugged || give_up "the guest keeps its disk: $QMP_ANSWER"
	guest_call has_gone vdc
	qmp chardev-remove '{"id": "c2"}'
	check_says d2 '"connected": false'
	ask DELETE disks/d2
	check_says d2 'there is no disk'
	check "its socket goes along" [ ! -e "$(socket_of 2)" ]
	check_image 2 "$VALUE"
}

check_image()
{
	check "the image of d$1 holds what its guest has written" \
		[ "$(head -c $((512 * KIB)) "$WORK/$1.img" | sha256sum | cut -c 1-64)" = "$2" ]
}

### Another guest #################################################################################

# In a subshell: all that is the first guest's stays what it is.
second_life()
{
	trap 'kill -KILL "$GUEST_PID" 2>/dev/null' EXIT
	SOCKET=$(socket_of 3) CONSOLE=$WORK/console2.log GUEST_PID='' QEMU_WORDS='' MONITOR=''
	mkdir "$WORK/second"
	WORK=$WORK/second
	qemu_start
	guest_call use vda NR-3
	guest_call sum_of vda
	guest_poweroff
	WORK=${WORK%/second}
	check_image 3 "$VALUE"
}

second_guest()
{
	local line

	(second_life) >"$WORK/second.out"
	while read -r line; do
		case $line in
		ok* | not*) tap "$line" ;;
		*) echo "$line" ;;
		esac
	done <"$WORK/second.out"
	check "the second guest came to its end" grep -q "image of d3" "$WORK/second.out"
}

### The whole #####################################################################################

mkdir "$WORK/conf"
for i in 0 1 3; do
	printf '%s\n' "blk-file = $WORK/$i.img" "socket-path = $(socket_of "$i")" "serial = NR-$i" \
		>"$WORK/conf/d$i.conf"
done
for i in 0 1 2 3; do
	head -c $((4096 * KIB)) /dev/urandom >"$WORK/$i.img" # for reading holes is no I/O
done
daemon_start "--config-dir=$WORK/conf" "--api-socket=$api" --num-workers=2 --log-level=debug

QEMU_WORDS="-chardev socket,id=c1,path=$(socket_of 1),reconnect=1"
QEMU_WORDS+=" -device vhost-user-blk-pci,chardev=c1,num-queues=1"
QEMU_WORDS+=" -device pcie-root-port,id=rp0,chassis=1"
export QEMU_WORDS MONITOR=1
qemu_start
guest_call begin
guest_call start_writers
guest_call goes_on
third_disk
guest_call goes_on
second_guest
guest_call goes_on
for ((i = 0; i < KILLS; i++)); do
	pile_up
	daemon_kill
	daemon_restart
	both_run
	guest_call goes_on
done
echo "# $(taken_over) requests were taken over from a daemon that was killed"
guest_call stop_writers
guest_call sum_of vda
first=$VALUE
guest_call sum_of vdb
guest_poweroff
check_image 0 "$first"
check_image 1 "$VALUE"
daemon_stop
guest_end

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A domain of libvirt's with a disk of vublkd's, as README.md shows it, and what libvirt does with a
# domain: define, start, suspend, resume, save, restore, managedsave, migrate, destroy. All that
# under a load whose contents are verified.
#
# libvirt is a real one, in system mode, twice: two hosts of ours on this machine. A host is a few
# namespaces and a libvirtd that finds directories and configuration of its own where it looks for
# them, and nobody to talk to but virsh; nothing of it stays on the machine.
# shellcheck disable=SC2317 # check and wait_until call them
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

### In the namespaces #############################################################################

# host_enter NAME DIR: process 1 of a host, whose files are in DIR. (It waits for the processes that
# libvirtd leaves to it. With its end all of them end.)
host_enter()
{
	local dir=$2 file

	set -eu
	mkdir -p "$dir"/{etc,run,log,drivers}
	echo "$1" >/proc/sys/kernel/hostname
	cat >"$dir/etc/libvirtd.conf" <<-END
		auth_unix_ro = "none"
		auth_unix_rw = "none"
		host_uuid = "$(</proc/sys/kernel/random/uuid)"
		log_outputs = "3:stderr"
	END
	# The files are root's alone: so QEMU is root's.
	cat >"$dir/etc/qemu.conf" <<-END
		user = "root"
		group = "root"
		dynamic_ownership = 0
		security_driver = "none"
		cgroup_controllers = []
		namespaces = []
		stdio_handler = "file"
	END
	# This user must be known, though it is not used; the package that makes it starts services.
	for file in passwd group; do
		{
			grep -v ^libvirt-qemu: "/etc/$file"
			echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin' |
				if [[ $file == group ]]; then cut -d: -f 1-4; else cat; fi
		} >"$dir/$file"
		mount --bind "$dir/$file" "/etc/$file"
	done
	# The other drivers are for what the machine has.
	ln -s /usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so "$dir/drivers"
	mount --bind "$dir/etc" /etc/libvirt
	mount --bind "$dir/log" /var/log
	mount --bind "$dir/run" /run
	mount -t tmpfs lib /var/lib
	mount -t tmpfs cache /var/cache
	mount -t tmpfs cgroup /sys/fs/cgroup
	LIBVIRT_DRIVER_DIR=$dir/drivers libvirtd --config /etc/libvirt/libvirtd.conf &
	wait $!
	exit
}

[[ ${1:-} != host ]] || host_enter "$2" "$3"

### Outside of them ###############################################################################

need libvirtd libvirt-daemon
need virsh libvirt-clients
need unshare util-linux
unshare --pid --fork --mount --uts --net --ipc true 2>/dev/null ||
	skip_all "there are no namespaces here that root could make"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "qemu-storage-daemon does not track what is in flight"
# shellcheck source-path=SCRIPTDIR source=load.sh
. "$(dirname "$0")/load.sh"
# shellcheck source-path=SCRIPTDIR source=moves.sh
. "$(dirname "$0")/moves.sh"

# uri HOST
uri()
{
	echo "qemu+unix:///system?socket=$WORK/$1/run/libvirt/libvirt-sock"
}

host_answers()
{
	virsh -c "$(uri "$1")" hostname >/dev/null 2>&1 || gone "$GUEST_PID"
}

# host_start NAME: it is that of the current side.
host_start()
{
	unshare --pid --fork --kill-child --mount-proc --uts --net --ipc \
		"$0" host "$1" "$WORK/$1" </dev/null >>"$WORK/guest.err" 2>&1 &
	GUEST_PID=$!
	wait_until "$BOOT_DEADLINE" host_answers "$1" ||
		give_up "libvirtd of host $1 does not answer"
	alive "$GUEST_PID" || give_up "libvirtd of host $1 runs"
}

# A pair of pipes is the guest's console, on whichever host it is.
console_make()
{
	local fd

	mkfifo "$WORK"/console.{in,out} || exit 1
	: >"$CONSOLE"
	# Opened for both, so that they outlive a QEMU.
	exec {GUEST_IN}<>"$WORK/console.in" {fd}<>"$WORK/console.out"
	cat <&"$fd" >>"$CONSOLE" &
	CONSOLE_PID=$!
	trap 'kill "$CONSOLE_PID"; guest_cleanup' EXIT
}

# Prints the domain, with its disk on $SOCKET.
domain()
{
	local type=qemu

	[[ ${VUBLKD_TEST_KVM:-} == 1 ]] && type=kvm
	cat <<-END
		<domain type='$type'>
		  <name>guest</name>
		  <uuid>4dea22b3-1d52-d8f3-2516-782e98ab3fa0</uuid>
		  <memory unit='MiB'>192</memory>
		  <memoryBacking>
		    <source type='memfd'/>
		    <access mode='shared'/>
		  </memoryBacking>
		  <vcpu>2</vcpu>
		  <cpu mode='maximum'/>
		  <os>
		    <type arch='x86_64' machine='q35'>hvm</type>
		    <kernel>$KERNEL</kernel>
		    <initrd>$INITRD</initrd>
		    <cmdline>console=ttyS0 panic=-1 quiet init_on_alloc=0</cmdline>
		  </os>
		  <features><acpi/></features>
		  <devices>
		    <disk type='vhostuser' device='disk'>
		      <driver name='qemu' type='raw' queues='2'/>
		      <source type='unix' path='$SOCKET'>
		        <reconnect enabled='yes' timeout='1'/>
		      </source>
		      <target dev='vda' bus='virtio'/>
		    </disk>
		    <serial type='pipe'><source path='$WORK/console'/></serial>
		    <controller type='usb' model='none'/>
		    <memballoon model='none'/>
		  </devices>
		</domain>
	END
}

# v VERB ARG...: virsh does it with the host of the current side; a case.
v()
{
	local from=$SECONDS

	check "virsh $1" virsh -c "$(uri "$HOST")" "$@" ||
		give_up "virsh $1 took $((SECONDS - from)) s"
}

is_state()
{
	[[ $(virsh -c "$(uri "$HOST")" domstate guest 2>&1) == "$1" ]]
}

# goes_on WHEN: what comes now was done since then.
goes_on()
{
	check "the domain runs on host $HOST" is_state running
	load_goes_on
	ok "the guest goes on after $1"
}

# in_memory COMMAND...: what the device has read into the guest's memory before is there after it.
in_memory()
{
	guest_call forget 48
	guest_call recall
	"$@"
	guest_call check_recalled
}

# v_held VERB ARG...: v, while the daemon stands still for a moment: so there is something in flight
# when its rings are to stop.
v_held()
{
	local pid

	kill -STOP "$DAEMON_PID"
	{
		sleep 0.3
		kill -CONT "$DAEMON_PID"
	} &
	pid=$!
	v "$@"
	wait "$pid"
}

save_and_restore()
{
	v_held save guest "$WORK/saved"
	check "the domain is off" is_state "shut off"
	v restore "$WORK/saved"
	goes_on "save and restore"
}

managedsave_and_start()
{
	v_held managedsave guest
	v start guest
	goes_on "managedsave and start"
}

# The daemon of host $1, which the guest's disk has there, and libvirt are the other side.
there_make()
{
	local fd=$GUEST_IN

	change_sides
	GUEST_IN=$fd
	side_make
	host_start "$1"
	domain >"$WORK/there.xml"
	change_sides
}

# migrate HOST [OPTION]...: the guest stands meanwhile.
migrate()
{
	local here=$HOST

	v_held migrate guest --desturi "$(uri "$1")" --migrateuri "unix://$WORK/migration" \
		--xml "$WORK/there.xml" "${@:2}"
	check "the domain is off on host $here" no is_state running
	domain >"$WORK/there.xml" # the way back
	change_sides
	HOST=$1
	goes_on "migration"
}

# Beside what is expected when a daemon dies.
qemu_complaints()
{
	cat "$WORK"/[ab]/log/libvirt/qemu/guest.log | grep -a 'qemu-system-x86_64: ' |
		grep -avE "terminating on signal 15|${GUEST_EXPECTED:-^\$}"
}

# The host ends, and with it all that runs on it.
host_stop()
{
	kill -KILL "$GUEST_PID" # unshare(1) lets it have nothing less
	wait "$GUEST_PID" 2>/dev/null
	GUEST_PID=''
}

MONITOR_IN='' MONITOR_OUT='' MONITOR_READY='' # nobody has a monitor but libvirt
head -c $((96 * 1024 * 1024)) /dev/urandom >"$image"
daemon_start "--blk-file=$image" --num-queues=2 --log-level=debug
console_make
HOST=a
host_start a
find_guest
domain >"$WORK/domain.xml"

v define "$WORK/domain.xml"
v start guest
guest_wait_ready
guest_call begin split
guest_call know 12
goes_on "its start"

v suspend guest
check "the domain is paused" is_state paused
v resume guest
goes_on "suspend and resume"

in_memory save_and_restore
in_memory managedsave_and_start

# The domain's disk connects again.
daemon_kill
daemon_restart
daemon_runs
goes_on "a restart of the daemon"

there_make b
in_memory migrate b
in_memory migrate a --p2p
change_sides
host_stop
daemon_stop
change_sides
OTHER_PIDS=''

guest_call end_load /mnt/load
VERIFY_VALUE=$VALUE
guest_call verify_files /mnt/load "$VERIFY_VALUE"
guest_call start_load /mnt/more /dev/vda
goes_on "verification"
v destroy guest
check "the domain is off" is_state "shut off"

# From now on somebody keeps the daemon's sessions. A domain that is suspended connects to nobody again.
daemon_stop
daemon_is_kept
daemon_start "--blk-file=$image" --num-queues=2 --log-level=debug --supervise
v start guest
guest_wait_ready
guest_call verify_again /mnt/load "$VERIFY_VALUE"
guest_call start_load /mnt/more /dev/vda
goes_on "its start"
v suspend guest
daemon_replace
daemon_upgrade
daemon_replace
v resume guest
goes_on "restarts of the daemon while it was suspended"
guest_call end_load /mnt/more
guest_call verify_files /mnt/more "$VALUE"
guest_call leave_load
guest_tell poweroff -f
check "the domain ends with its guest" wait_until "$STOP_DEADLINE" is_state "shut off"
v undefine guest
host_stop
check "QEMU has nothing to complain about" no qemu_complaints
check_image_fsck "$image"
daemon_stop
guest_end

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 120
#
# The units under a real systemd, which is process 1 of a machine of its own (tests/cli/machine) in
# the root of Debian 13: they never give up. Whatever happens to a disk, it is served again as soon as
# it can be, without anybody's help.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called by passes
. "$(dirname "$0")/lib.sh"

readonly ROOT=$BUILDDIR/debian13/root BUILT=$BUILDDIR/debian13/build
readonly UNIT=$BUILDDIR/contrib/systemd/vublkd@.service
readonly KILLS=8 TRIES=6 # the default of systemd gives up at five starts in 10 s
DIR=$(mktemp -d "${TMPDIR:-/var/tmp}/systemd.XXXXXX") || exit 1
readonly AWAIT_EVERY=0.2 # to ask systemd is work
MACHINE_PID=''
PID=''
BENCH_PID=''

cleanup()
{
	[[ -z $BENCH_PID ]] || kill "$BENCH_PID" 2>/dev/null
	if [[ -n $MACHINE_PID ]]; then
		kill -TERM "$MACHINE_PID" 2>/dev/null
		wait "$MACHINE_PID"
	fi
	rm -rf --one-file-system -- "$DIR"
}
trap cleanup EXIT
trap 'exit 143' TERM INT HUP

skip_all()
{
	echo "1..0 # SKIP $*"
	exit 0
}

can_run()
{
	((EUID == 0)) || skip_all "only root can make a machine"
	[[ -x $BUILT/src/vublkd ]] || skip_all "there is no root of Debian 13 with vublkd built in it"
	[[ -x $ROOT/usr/lib/systemd/systemd ]] || skip_all "the root of Debian 13 has no systemd"
	unshare --mount --propagation private --pid --fork --uts --ipc --net --cgroup \
		mount -t cgroup2 cgroup2 "$DIR/srv" 2>"$DIR/why" ||
		skip_all "no namespaces with a cgroup2 here: $(tail -n 1 "$DIR/why")"
}

### The machine ###################################################################################

# conf DISK [OPTION]...: /etc/vublkd/DISK.conf, for an image of that name.
conf()
{
	echo "VUBLKD_OPTIONS=--blk-file=/srv/$1.img ${*:2}"
}

# What is added to the root: program and units as they are installed, and little else that starts.
make_tree()
{
	local tree=$DIR/tree etc=$DIR/tree/etc unit

	mkdir -p "$etc/vublkd" "$etc/systemd/system"
	cp "$UNIT" "$SRCDIR/contrib/systemd/vublkd@.socket" "$etc/systemd/system"
	install -D "$BUILT/src/vublkd" "$tree/$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$UNIT")"
	for unit in "$ROOT"/usr/lib/systemd/system/{sysinit,local-fs,sockets,timers,multi-user}.target.wants/*; do
		[[ $unit == *journald.s* || $unit == *journald-dev-log* ]] ||
			ln -sf /dev/null "$etc/systemd/system/${unit##*/}"
	done
	{ grep -v '^kvm:' "$ROOT/etc/group" && echo "kvm:x:999:"; } >"$etc/group"

	cat >"$etc/systemd/system/default.target" <<-'END'
	[Unit]
	Wants=vublkd@killed.service libvirt-guests.service vublkd@late.socket vublkd@wrong.socket
	END
	# What libvirt's does: guests are shut down when it stops, and need their disks for that.
	cat >"$etc/systemd/system/libvirt-guests.service" <<-'END'
	[Service]
	Type=oneshot
	RemainAfterExit=yes
	ExecStart=true
	ExecStop=sh -c 'sleep 1; systemctl is-active vublkd@killed.service >/srv/disk-of-guests'
	END
	# As before systemd 254, where the delay does not grow.
	mkdir "$etc/systemd/system/vublkd@killed.service.d"
	printf '[Service]\nRestartSteps=0\n' >"$etc/systemd/system/vublkd@killed.service.d/old.conf"
	conf killed >"$etc/vublkd/killed.conf"
	conf late >"$etc/vublkd/late.conf"
	conf wrong --blk-size=512 >"$etc/vublkd/wrong.conf"
	truncate -s 16M "$DIR/srv/killed.img" "$DIR/srv/wrong.img"
}

machine_is_up()
{
	[[ -s $DIR/pid ]] && PID=$(<"$DIR/pid") && is_active killed
}

machine_boots()
{
	await machine_is_up || { cat "$DIR/machine.log"; machine journalctl -b --no-pager; return 1; }
}

# machine COMMAND...: runs it there.
machine()
{
	nsenter --target "$PID" --mount --uts --ipc --net --pid --cgroup -- "$@"
}

is_active()
{
	[[ $(property "$1.service" ActiveState) == active ]] 2>/dev/null
}

# property DISK.KIND NAME
property()
{
	machine systemctl show --value --property "$2" "vublkd@$1" 2>/dev/null
}

is_property()
{
	local value

	value=$(property "$1" "$2")
	[[ $value == "$3" ]] || { echo "$2: $value"; return 1; }
}

socket()
{
	echo "/proc/$PID/root/run/vublkd/$1.sock"
}

# Is it the same as it was at the beginning?
socket_stays()
{
	[[ $(stat -c %i "$(socket "$1")") == "$2" ]]
}

# knock DISK...: a front-end that waits for its disk connects every second, and is not answered.
knock()
{
	local disk sockets=()

	for disk; do
		sockets+=("$(socket "$disk")")
	done
	python3 - "${sockets[@]}" 2>/dev/null <<-'END'
	import socket, sys
	for path in sys.argv[1:]:
	    socket.socket(socket.AF_UNIX).connect(path)
	END
}

# A front-end of the disk is answered on the one connection, whatever systemd does.
stays_connected()
{
	python3 - "$(socket "$1")" "$PID" "vublkd@$1.service" $((20 * ${TEST_SLOW_FACTOR:-1})) <<-'END'
	import socket, struct, subprocess, sys
	path, pid, unit, limit = sys.argv[1:]
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(float(limit))
	s.connect(path)
	def ask():
	    s.sendall(struct.pack("=III", 1, 1, 0)) # GET_FEATURES
	    assert len(s.recv(100)) == 20
	ask()
	for how in ("restart",), ("kill", "--kill-whom=main", "--signal=KILL"), ("kill", "--kill-whom=main", "--signal=USR2"):
	    subprocess.run(["nsenter", "--target", pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--",
	                    "systemctl", how[0], *how[1:], unit], check=True)
	    ask()
	END
}

### What happens to the disks #####################################################################

# Kills it, as soon as it runs again, but not more often than every 1.3 s; others are tried meanwhile.
kill_again_and_again()
{
	local i

	for ((i = 0; i < KILLS; i++)); do
		await is_active killed || return
		machine systemctl kill --kill-whom=main --signal=KILL vublkd@killed.service
		knock late wrong
		sleep 1.3
	done
	await is_active killed
}

tried_often()
{
	local tries

	tries=$(property "$1.service" NRestarts)
	((tries >= TRIES))
}

nothing_has_failed()
{
	machine systemctl list-units --failed --no-legend --plain
}

image_is_locked()
{
	grep ":$(stat -c %i "$DIR/srv/$1.img") " /proc/locks
}

socket_is_gone()
{
	[[ ! -e $(socket "$1") ]]
}

unlocked()
{
	! image_is_locked "$1"
}

machine_is_off()
{
	[[ ! -e /proc/$PID ]]
}

# What systemd of this machine thinks of the units. Before 254 it knew no delay that grows.
verify_here()
{
	local units=$DIR/units

	mkdir "$units"
	cp "$DIR"/tree/etc/systemd/system/vublkd@.{service,socket} "$units"
	sed -i "s,^ExecStart=[^ ]*,ExecStart=$VUBLKD," "$units/vublkd@.service"
	! systemd-analyze verify --man=no "$units"/vublkd@disk.{service,socket} 2>&1 |
		grep -vE "Unknown key (name )?'(RestartSteps|RestartMaxDelaySec)'"
}

### The cases #####################################################################################

mkdir "$DIR/srv"
can_run
make_tree
if command -v systemd-analyze >/dev/null; then
	ok "systemd-analyze verify has nothing to say" verify_here
else
	case_is ok "systemd-analyze verify # SKIP it is not installed here" ''
fi
"$SRCDIR/tests/cli/machine" "$DIR" "$ROOT" >"$DIR/machine.log" 2>&1 &
MACHINE_PID=$!
passes "a machine boots, and its disk is served" machine_boots
PID=$(cat "$DIR/pid" 2>/dev/null)
((STATUS == 0)) || cases_end
ok "nor has the machine's own" machine systemd-analyze verify --man=no \
	vublkd@disk.service vublkd@disk.socket
passes "a front-end is served" sessions "$(socket killed)" 1

inode=$(stat -c %i "$(socket killed)")
machine systemctl start --no-block vublkd@late.service vublkd@wrong.service
passes "killed $KILLS times, it runs again" kill_again_and_again
passes "as often as it was killed" is_property killed.service NRestarts $KILLS
passes "its socket has stayed" socket_stays killed "$inode"
passes "a front-end is served" sessions "$(socket killed)" 1
passes "front-ends stay connected while it is restarted, killed, and upgraded" stays_connected killed

passes "without its image it is tried again and again" await tried_often late
truncate -s 16M "$DIR/srv/late.img"
passes "the image comes, and it runs" await is_active late
passes "a front-end is served" sessions "$(socket late)" 1

passes "with a wrong option, too" await tried_often wrong
conf wrong >"/proc/$PID/root/etc/vublkd/wrong.conf"
passes "the option is mended, and it runs" await is_active wrong
passes "a front-end is served" sessions "$(socket wrong)" 1
ok "nothing has failed" nothing_has_failed

"$BENCH" --socket-path="$(socket late)" --rate=100 --completion=call --seconds=600 >"$DIR/bench" 2>&1 &
BENCH_PID=$!
passes "a front-end at work: the image is locked" await image_is_locked late
passes "a service is stopped" machine systemctl stop vublkd@late.service
passes "its image is locked no more" unlocked late
passes "its socket is still there" test -S "$(socket late)"
passes "the next front-end starts it" sessions "$(socket late)" 1
passes "a socket is stopped" machine systemctl stop vublkd@late.socket
passes "it is gone" socket_is_gone late
passes "and so is the service" is_property late.service ActiveState inactive
passes "its image is locked no more" unlocked late

machine systemctl poweroff 2>/dev/null # it may be gone before it answers
passes "the machine goes off" await machine_is_off
passes "guests have had their disk to the last" grep -x active "$DIR/srv/disk-of-guests"
cases_end

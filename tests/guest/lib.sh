# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the guest tests and the demo share: start a vublkd, start a guest on it, call functions in
# the guest and wait for their end, stop both and look whether all was well. Sourced by
# tests/guest/test-*.sh and contrib/demo/demo. Nothing here sleeps and hopes: whatever is waited
# for is looked for until it is there, its process is gone, or its deadline has passed.
#
# The pieces, in the order in which a test uses them:
#	guest_begin			a working directory and a cleanup on every way out
#	daemon_start ARG...		vublkd on $SOCKET, ready to be connected to
#	qemu_start / uml_start		a guest; returns when its init waits for orders
#	guest_call FUNCTION [ARG]...	runs a function of $GUEST_SCRIPT in the guest, shows its cases
#	guest_reboot / guest_poweroff
#	daemon_kill / daemon_terminate	SIGKILL, or SIGTERM, under the guest; then daemon_restart, and
#	beats_await			its I/O goes on
#	daemon_stop			SIGTERM; its status and messages are cases
#	guest_end			the TAP plan
# Their words are TAP. The init of the guests is tests/guest/init.
#
# From the environment: SRCDIR, BUILDDIR, TMPDIR, VUBLKD, VUBLKD_WRAPPER, VUBLKD_EXTRA,
# VUBLKD_VARIANT (tests/run sets them; without it the engine is whatever the host has), and by hand:
#	VUBLKD_PEER=qsd		serve with qemu-storage-daemon instead, to try the tests themselves
#	VUBLKD_TEST_KVM=1	run the guests under KVM instead of TCG
#	VUBLKD_TEST_KEEP=1	do not remove the working directory

set -u
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

GUEST_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SRCDIR=${SRCDIR:-$(cd "$GUEST_LIB/../.." && pwd)}
BUILDDIR=${BUILDDIR:-$SRCDIR/build}
VUBLKD=${VUBLKD:-$BUILDDIR/src/vublkd}
VUBLKD_PEER=${VUBLKD_PEER:-vublkd}
VUBLKD_VARIANT=${VUBLKD_VARIANT:-any}
POKE=$BUILDDIR/tests/guest/poke

readonly SLOW=${TEST_SLOW_FACTOR:-1}
readonly BOOT_DEADLINE=$((90 * SLOW)) # seconds; a boot takes about 4
readonly CALL_DEADLINE=$((60 * SLOW))
readonly STOP_DEADLINE=$((10 * SLOW))
readonly DONE='^@@done [0-9]+;$' # what the guest says after each call

WORK=''            # the working directory
SOCKET=''          # the vhost-user socket
GUEST_SCRIPT=''    # what a test writes the functions to that guest_call can call
CONSOLE=''         # log of the guest's console
DAEMON_PID=''
DAEMON_LOG=''
DAEMON_RESTARTED='' # since daemon_start
DAEMON_LOG_SEEN=0  # lines of it that earlier daemons of this test have written
export DAEMON_EXPECTED='' # extended regex of warnings and errors that the daemon may log
GUEST_EXPECTED=''  # the same of what QEMU may say
GUEST_PID=''
GUEST_IN=''        # fd that writes to the guest's console
CONSOLE_SEEN=0     # lines of it that have been dealt with
BEATS_FROM=0       # bytes of it when the last session ended
CASES=0
FAILED=0           # of them
export VALUE=''    # what the last guest_call had as its value, if any
DAEMON_COMMAND=()  # the words of its command line
GUEST_COMMAND=()

### Cases #########################################################################################

tap()
{
	CASES=$((CASES + 1))
	[[ $1 == not* ]] && FAILED=$((FAILED + 1))
	echo "$*"
}

ok()
{
	tap "ok - $*"
}

not_ok()
{
	tap "not ok - $*"
}

# check DESCRIPTION COMMAND...: one case, passed if the command succeeds.
check()
{
	local what=$1

	shift
	if "$@" >"$WORK/check.out" 2>&1; then
		ok "$what"
		return 0
	fi
	not_ok "$what ($*)"
	sed 's/^/# /' "$WORK/check.out"
	return 1
}

# no COMMAND...: succeeds if the command fails, to turn a check about.
no()
{
	! "$@"
}

# The test cannot go on.
give_up()
{
	not_ok "$*"
	post_mortem daemon "$DAEMON_PID"
	post_mortem guest "$GUEST_PID"
	show_logs
	exit 1
}

skip_all()
{
	echo "$*"
	exit 77
}

# post_mortem NAME PID: has it died already?
post_mortem()
{
	local status

	[[ -n $2 ]] && gone "$2" || return 0
	wait "$2"
	status=$?
	echo "# the $1 is dead, status $status"
}

show_logs()
{
	local file

	for file in "$DAEMON_LOG" "$CONSOLE" "$WORK/guest.err"; do
		[[ -s $file ]] || continue
		echo "# the end of ${file##*/}:"
		tail -n 30 "$file" | tr -d '\r' | sed 's/^/#   /'
	done
}

### Beginning and end #############################################################################

# need COMMAND PACKAGE: before the first case, as a test is skipped whole or not at all.
need()
{
	command -v "$1" >/dev/null || skip_all "$1 is missing (Debian package $2)"
}

guest_begin()
{
	need busybox busybox-static
	need mkfs.ext4 e2fsprogs
	need cpio cpio
	WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/guest.XXXXXX") || exit 1
	SOCKET=$WORK/s
	GUEST_SCRIPT=$WORK/guest.sh
	DAEMON_LOG=$WORK/daemon.log
	CONSOLE=$WORK/console.log
	trap guest_cleanup EXIT
	trap 'exit 143' TERM INT HUP
	[[ $VUBLKD_PEER == qsd || -x $VUBLKD ]] || give_up "there is no $VUBLKD: build it first"
}

guest_cleanup()
{
	local pid

	# The one that serves lives on without its keeper, which is not to start another one.
	[[ -z $DAEMON_PID ]] || kill -STOP "$DAEMON_PID" 2>/dev/null
	for pid in "$GUEST_PID" "$(daemon_serving 2>/dev/null)" "$DAEMON_PID" ${OTHER_PIDS:-}; do
		# User-mode Linux leads a group of its own; its helpers outlive it if it is killed alone.
		kill -KILL "$pid" "-$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	[[ -n ${VUBLKD_TEST_KEEP:-} ]] && echo "# kept: $WORK" && return
	rm -rf -- "$WORK"
}

guest_end()
{
	echo "1..$CASES"
	exit $((FAILED != 0))
}

# wait_until SECONDS COMMAND...: 0 as soon as the command succeeds, 1 after that time.
wait_until()
{
	local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000))

	shift
	until "$@"; do
		((${EPOCHREALTIME/./} < deadline)) || return 1
		sleep 0.05
	done
}

alive()
{
	[[ -n $1 ]] && kill -0 "$1" 2>/dev/null
}

gone()
{
	! alive "$1"
}

### The daemon ####################################################################################

# Sets COMMAND to the daemon's command line for the arguments given.
daemon_command()
{
	# shellcheck disable=SC2206 # the wrapper and the extras are words, none or one
	COMMAND=(${VUBLKD_WRAPPER:-} "$VUBLKD" ${VUBLKD_EXTRA:-} "--socket-path=$SOCKET" "$@")
}

# The same for qemu-storage-daemon, as far as it can do what is asked.
qsd_command()
{
	local arg file='' disk="discard=unmap" export="writable=on,num-queues=4"

	for arg; do
		case $arg in
		--blk-file=*) file=${arg#*=} ;;
		--read-only)
			disk+=",read-only=on"
			export=${export/writable=on/writable=off}
			;;
		--block-size=*) export+=",logical-block-size=${arg#*=}" ;;
		--num-queues=*) export=${export/num-queues=4/num-queues=${arg#*=}} ;;
		--discard=unmap | --log-level=*) ;;
		*) skip_all "qemu-storage-daemon has nothing like $arg" ;;
		esac
	done
	# vublkd's lock lets the disk migrate, its own does not.
	COMMAND=(qemu-storage-daemon
		--blockdev "driver=file,filename=$file,locking=off,node-name=d,$disk"
		--export "type=vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path=$SOCKET,$export")
}

# A socket that is being listened on, told without connecting to it: a connection more could be
# mistaken for the front-end.
socket_listens()
{
	grep -qF -- " $SOCKET" /proc/net/unix && return 0
	gone "$DAEMON_PID" # no use to wait longer
}

# daemon_start ARG...: returns when the socket is there.
daemon_start()
{
	local COMMAND

	if [[ $VUBLKD_PEER == qsd ]]; then
		qsd_command "$@"
	else
		daemon_command "$@"
	fi
	DAEMON_COMMAND=("${COMMAND[@]}")
	DAEMON_RESTARTED=''
	: >"$DAEMON_LOG"
	daemon_launch
}

# Starts $DAEMON_COMMAND, adding to the log.
daemon_launch()
{
	DAEMON_LOG_SEEN=$(wc -l <"$DAEMON_LOG")
	"${DAEMON_COMMAND[@]}" </dev/null >>"$WORK/daemon.out" 2>>"$DAEMON_LOG" &
	DAEMON_PID=$!
	wait_until "$STOP_DEADLINE" socket_listens || give_up "no socket after $STOP_DEADLINE s"
	alive "$DAEMON_PID" || give_up "the daemon ended at once: ${DAEMON_COMMAND[*]}"
}

# daemon_kill: SIGKILL, in the middle of whatever it is at. While nobody serves, QEMU tries to
# connect again each second. QEMU 7.2 loses a device whose back-end dies while its rings do not
# run (before the guest's driver has started them, or while it connects again): see daemon_runs.
daemon_kill()
{
	alive "$DAEMON_PID" || give_up "the daemon is alive before it is killed"
	kill -KILL "$DAEMON_PID"
	# Bash would tell of it on stderr.
	wait "$DAEMON_PID" 2>/dev/null
	daemon_has_ended
}

daemon_has_ended()
{
	DAEMON_PID=''
	[[ -z $GUEST_PID ]] || session_ends
}

# The process that serves: of --supervise the keeper's child.
daemon_serving()
{
	local children

	[[ " ${DAEMON_COMMAND[*]} " == *' --supervise '* ]] || { echo "$DAEMON_PID" && return; }
	children=$(<"/proc/$DAEMON_PID/task/$DAEMON_PID/children")
	echo "${children%% *}"
}

# Daemons are started with --supervise from now on: their sessions outlive them, QEMU need not connect
# again, and the next one is started at once.
daemon_is_kept()
{
	export QEMU_RECONNECT='' VUBLKD_RESTART_PAUSE=0
	DAEMON_EXPECTED+="${DAEMON_EXPECTED:+|}was killed by signal 9|by another process; waiting"
}

# another_serves PID: does one that has come after PID, and is no copy of the keeper still?
another_serves()
{
	local now

	now=$(daemon_serving)
	[[ -n $now && $now != "$1" && $(readlink "/proc/$now/exe") != */vublkd-keeper ]] || gone "$DAEMON_PID"
}

# daemon_replace: kills the one that serves under --supervise, and awaits the next.
daemon_replace()
{
	local pid

	pid=$(daemon_serving)
	kill -KILL "$pid"
	await_another "$pid"
}

# The same in the usual way, by the keeper. One that is killed before it was ready would be followed by
# the one before.
daemon_upgrade()
{
	local pid before

	pid=$(daemon_serving)
	before=$(upgrades)
	kill -USR2 "$DAEMON_PID"
	await_another "$pid"
	wait_until "$STOP_DEADLINE" has_upgraded "$before" || give_up "what was upgraded is not ready"
}

upgrades()
{
	grep -c 'as it is now is ready' "$DAEMON_LOG"
}

has_upgraded()
{
	(($(upgrades) > $1)) || gone "$DAEMON_PID"
}

await_another()
{
	wait_until "$STOP_DEADLINE" another_serves "$1" || give_up "no other daemon comes"
	alive "$DAEMON_PID" || give_up "the keeper lives on"
}

# Beats count from now on.
beats_begin()
{
	BEATS_FROM=$(stat -c %s "$CONSOLE")
}

# What comes from now on is after the end of QEMU's session with the daemon, whoever ends it.
session_ends()
{
	DAEMON_LOG_SEEN=$(wc -l <"$DAEMON_LOG")
	beats_begin
	# It cannot ask any more where the rings stopped.
	GUEST_EXPECTED+="${GUEST_EXPECTED:+|}ring restore failed|Failed to set msg fds|Unexpected end-of-file|Failed to read msg"
}

# daemon_terminate: SIGTERM; its end is a case.
daemon_terminate()
{
	local status begin us

	begin=${EPOCHREALTIME/./}
	kill -TERM "$DAEMON_PID"
	wait_until "$STOP_DEADLINE" gone "$DAEMON_PID" || give_up "the daemon ignores SIGTERM"
	us=$((${EPOCHREALTIME/./} - begin))
	wait "$DAEMON_PID"
	status=$?
	daemon_has_ended
	if ((status)); then
		not_ok "the daemon exits with status 0 on SIGTERM, not $status"
		show_logs
	else
		ok "the daemon exits with status 0 on SIGTERM ($((us / 1000)) ms)"
	fi
}

# The same command and the same socket again; returns when that is there, like daemon_start.
daemon_restart()
{
	DAEMON_RESTARTED=1
	daemon_launch
}

# Has QEMU set up its rings with the daemon that runs now, or is it in vain to wait for it? The
# status that the driver has set comes last.
rings_are_set_up()
{
	tail -n "+$((DAEMON_LOG_SEEN + 1))" "$DAEMON_LOG" | awk '
		/: SET_VRING_ENABLE/ { enabled = 1 }
		/: SET_STATUS/ && enabled { found = 1 }
		END { exit !found }' || gone "$DAEMON_PID"
}

# Waits for that. The daemon must have been started with --log-level=debug.
daemon_runs()
{
	wait_until "$STOP_DEADLINE" rings_are_set_up || give_up "QEMU does not come back"
	alive "$DAEMON_PID" || give_up "the daemon lives on after a restart"
}

# Requests that daemons have taken over from those before them.
taken_over()
{
	awk '/: resubmitting the [0-9]+ requests that were in flight/ { n += $(NF - 5) }
		END { print n + 0 }' "$DAEMON_LOG"
}

# Lines of the daemon's log that nobody expects.
daemon_complaints()
{
	local expected=$DAEMON_EXPECTED

	# The fall-back says so, as it should.
	[[ $VUBLKD_VARIANT == nouring || $VUBLKD_VARIANT == any ]] &&
		expected+="${expected:+|}io_uring is not available"
	# The I/O of one that was killed may not have ended yet.
	[[ -z $DAEMON_RESTARTED ]] ||
		expected+="${expected:+|}the image is .* by another process; waiting"
	grep -aE '(warning|error):|Sanitizer|runtime error|ssertion' "$DAEMON_LOG" |
		grep -avE -- "${expected:-^\$}"
}

has_io_uring()
{
	find "/proc/$(daemon_serving)/fd" -printf '%l\n' | grep -qF 'anon_inode:[io_uring]'
}

# A variant that is not what it says would test another one twice.
check_engine()
{
	case $VUBLKD_PEER-$VUBLKD_VARIANT in
	vublkd-io_uring) check "the daemon uses io_uring" has_io_uring ;;
	vublkd-libaio) check "the daemon uses no io_uring" no has_io_uring ;;
	vublkd-nouring)
		check "the daemon uses no io_uring" no has_io_uring
		check "and says so" grep 'warning: io_uring is not available' "$DAEMON_LOG"
		;;
	esac
}

# The daemon must be alive, end with status 0 when asked to, and have complained about nothing.
daemon_stop()
{
	alive "$DAEMON_PID" || give_up "the daemon is alive at the end"
	ok "the daemon is alive at the end"
	check_engine
	daemon_terminate
	if daemon_complaints >"$WORK/complaints"; then
		not_ok "the daemon logs no unexpected warning or error"
		sed 's/^/# /' "$WORK/complaints"
	else
		ok "the daemon logs no unexpected warning or error"
	fi
}

### The initramfs #################################################################################

# Prints the names of modules $2... of tree $1 and of all that they need, in the order of loading.
module_order()
{
	local tree=$1 name

	shift
	for name; do
		# modules.dep names what is needed last first.
		awk -v name="/$name.ko:" 'index($1, name) {
			for (i = NF; i > 0; i--) { sub(/:$/, "", $i); print $i }
		}' "$tree/modules.dep"
	done | awk '!seen[$0]++'
}

# Copies program $2 with its shared libraries into tree $1.
copy_program()
{
	local root=$1 program lib

	program=$(command -v "$2") || return
	cp -L "$program" "$root/sbin/" || return
	while read -r lib; do
		mkdir -p "$root${lib%/*}" && cp -Ln "$lib" "$root$lib" || return
	done < <(ldd "$program" | grep -o '/[^ ]*')
}

# fill_initramfs ROOT TREE MODULE...: everything but the functions of the test.
fill_initramfs()
{
	local root=$1 tree=$2 module

	shift 2
	mkdir -p "$root"/{bin,sbin,dev,proc,sys,run,mnt,modules} || return
	cp -L "$(command -v busybox)" "$root/bin/busybox" || return
	install -m 755 "$GUEST_LIB/init" "$root/init" || return
	copy_program "$root" mke2fs && ln -s mke2fs "$root/sbin/mkfs.ext4" || return
	copy_program "$root" e2fsck || return
	if [[ -x $POKE ]]; then
		copy_program "$root" "$POKE" || return
	fi
	# Only root can make a device; the guest can do without until it has mounted devtmpfs.
	mknod "$root/dev/console" c 5 1 2>/dev/null
	while read -r module; do
		cp "$tree/$module" "$root/modules/" && echo "${module##*/}" || return
	done < <(module_order "$tree" "$@") >"$root/modules/order"
}

# make_initramfs OUTPUT TREE MODULE...: OUTPUT is there whole or not at all.
make_initramfs()
{
	local output=$1 root status

	shift
	root=$(mktemp -d "$output.XXXXXX") || return
	fill_initramfs "$root" "$@" &&
		(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$output.new" &&
		mv "$output.new" "$output"
	status=$?
	rm -rf -- "$root"
	return "$status"
}

# initramfs NAME TREE MODULE...: prints the path of the initramfs for the kernel whose modules are
# in TREE. Made once per build tree and change of its parts, however many tests ask at once.
initramfs()
{
	local name=$1 cache=$BUILDDIR/tests/guest-cache sum path

	shift
	mkdir -p "$cache" || return
	sum=$(cat "$GUEST_LIB/init" "$GUEST_LIB/lib.sh" "$1/modules.dep" "$(command -v busybox)" \
		"$(command -v mke2fs)" "$(command -v e2fsck)" "$POKE" 2>/dev/null | sha256sum)
	path=$cache/$name-${1##*/}-${sum:0:12}.cpio
	(
		flock 9
		[[ -s $path ]] || make_initramfs "$path" "$@"
	) 9>"$cache/lock" || return
	echo "$path"
}

# with_guest_script BASE: prints the path of that initramfs with $GUEST_SCRIPT as /guest.sh in it, and
# what is in directory $GUEST_TREE, if set. (The kernel unpacks one archive after the other.)
with_guest_script()
{
	local dir=$WORK/initramfs.d

	mkdir -p "$dir" || return
	[[ -z ${GUEST_TREE:-} ]] || cp -R "$GUEST_TREE/." "$dir" || return
	cp "$GUEST_SCRIPT" "$dir/guest.sh" || return
	{
		cat "$1" && (cd "$dir" && find . | cpio --quiet -o -H newc -R 0:0)
	} >"$WORK/initramfs" && echo "$WORK/initramfs"
}

### The guest: what both kinds share ##############################################################

# Prints the number of the first line of the console, after those dealt with, that matches $1.
console_line()
{
	tr -d '\r\0' <"$CONSOLE" | awk -v seen="$CONSOLE_SEEN" -v want="$1" \
		'NR > seen && $0 ~ want { print NR; exit }'
}

# Has a line that matches $1 come, or is it in vain to wait for it?
console_has()
{
	CONSOLE_HIT=$(console_line "$1")
	[[ -n $CONSOLE_HIT ]] || gone "$GUEST_PID" || gone "$DAEMON_PID"
}

# console_wait SECONDS REGEX: sets MARKER to the line awaited and deals with all before it:
# cases told by the guest become ours.
console_wait()
{
	local line from=$((CONSOLE_SEEN + 1))

	CONSOLE_HIT=''
	wait_until "$1" console_has "$2"
	# It may have come with the guest's last breath.
	[[ -n $CONSOLE_HIT ]] || CONSOLE_HIT=$(console_line "$2")
	[[ -n $CONSOLE_HIT ]] || return 1
	CONSOLE_SEEN=$CONSOLE_HIT
	# Of the line awaited the end may be yet to come.
	while read -r line || [[ -n $line ]]; do
		case $line in
		@@tap*) tap "${line#@@tap }" ;;
		@@diag*) echo "#${line#@@diag}" ;;
		@@value*) VALUE=${line#@@value } ;;
		esac
		MARKER=$line
	done < <(tr -d '\r\0' <"$CONSOLE" | sed -n "$from,${CONSOLE_HIT}p")
}

# guest_launch COMMAND...: starts it with a new console on $CONSOLE and $GUEST_IN.
guest_launch()
{
	: >"$CONSOLE"
	: >"$WORK/guest.err"
	CONSOLE_SEEN=0
	BEATS_FROM=0
	GUEST_EXPECTED=''
	guest_spawn "$@"
}

# The same, on the console as it is.
guest_spawn()
{
	GUEST_COMMAND=("$@")
	rm -f "$WORK/console.in"
	mkfifo "$WORK/console.in" || exit 1
	# Opened for both so that neither end waits for the other, nor sees an end of file.
	exec {GUEST_IN}<>"$WORK/console.in"
	"$@" <"$WORK/console.in" >>"$CONSOLE" 2>>"$WORK/guest.err" &
	GUEST_PID=$!
}

guest_wait_ready()
{
	console_wait "$BOOT_DEADLINE" '^@@ready;$' || give_up "the guest does not boot"
}

# guest_tell LINE: without waiting for what comes of it.
guest_tell()
{
	echo "$*" >&"$GUEST_IN"
}

# guest_await WHAT FAILED: waits for the end of what guest_tell has started, when FAILED cases had
# failed. A status that is not 0 is a failed case, unless the guest has told of one itself.
guest_await()
{
	console_wait "$CALL_DEADLINE" "$DONE" || give_up "guest: $1 does not end"
	[[ $MARKER == '@@done 0;' ]] || ((FAILED > $2)) || not_ok "guest: $1 (${MARKER#@@})"
}

# guest_call FUNCTION [ARG]...: runs it in the guest, to its end.
guest_call()
{
	guest_tell "$*"
	guest_await "$*" "$FAILED"
}

# Has the guest said so often since the daemon's end that its I/O goes on?
beats_since()
{
	(($(tail -c "+$((BEATS_FROM + 1))" "$CONSOLE" | tr -d '\r' | grep -ac '^@@beat;$') >= $1)) ||
		gone "$GUEST_PID" || gone "$DAEMON_PID"
}

# beats_await COUNT: with more of them than there are writers in the guest, at least one of them has
# had something written since the end of the last daemon.
beats_await()
{
	wait_until "$CALL_DEADLINE" beats_since "$1" || give_up "the guest's I/O does not go on"
	alive "$GUEST_PID" || give_up "the guest lives on after a restart of the daemon"
	alive "$DAEMON_PID" || give_up "the daemon lives on after a restart"
}

# The same QEMU process goes on: the firmware and the kernel start anew and with them the rings.
guest_reboot()
{
	guest_tell reboot -f
	guest_wait_ready
}

# What QEMU has said that nobody expects.
guest_complaints()
{
	grep -avE -- "${GUEST_EXPECTED:-^\$}" "$WORK/guest.err"
}

# The guest's process must end by itself, with status 0. QEMU tells on stderr of what it does not
# like about the device; UML has its first words there.
guest_poweroff()
{
	local status

	guest_tell poweroff -f
	wait_until "$STOP_DEADLINE" gone "$GUEST_PID" || give_up "the guest does not power off"
	wait "$GUEST_PID"
	status=$?
	GUEST_PID=''
	exec {GUEST_IN}>&-
	if [[ ${GUEST_COMMAND[0]} == qemu* ]]; then
		check "QEMU has nothing to complain about" no guest_complaints
	fi
	check "the guest's process ends with status 0 (it is $status)" [ "$status" -eq 0 ]
}

### QEMU ##########################################################################################

# Sets KERNEL and MODULE_TREE to the newest Debian cloud kernel that has both.
find_kernel()
{
	local image kernels=${VUBLKD_GUEST_KERNEL:-$BUILDDIR/guest-kernel}

	while read -r image; do
		MODULE_TREE=${image%/boot/*}/lib/modules/${image##*/vmlinuz-}
		KERNEL=$image
		[[ -r $image && -r $MODULE_TREE/modules.dep ]] && return 0
	done < <(printf '%s\n' "$kernels"/boot/vmlinuz-*-cloud-amd64 &&
		printf '%s\n' /boot/vmlinuz-*-cloud-amd64 | sort -rV)
	skip_all "no readable vmlinuz-*-cloud-amd64 in $kernels/boot (./bootstrap demo" \
		"puts one there) or /boot (Debian package linux-image-cloud-amd64)"
}

# Sets QEMU to the command line common to all guests: QUEUES queues (and processors, default 1)
# of one disk on $SOCKET, and MEMORY (default 256M). QEMU_DISK_OPTIONS is appended to the device's,
# QEMU_MACHINE_OPTIONS to the machine's, QEMU_MEMORY_OPTIONS to -m's; QEMU_IOMMU are the words that
# come before the disk, QEMU_WORDS those at the end. It connects again unless QEMU_RECONNECT is empty.
qemu_command()
{
	local queues=${QUEUES:-1} memory=${MEMORY:-256M} accel=tcg

	need qemu-system-x86_64 qemu-system-x86
	[[ ${VUBLKD_TEST_KVM:-} == 1 ]] && accel=kvm
	# shellcheck disable=SC2054,SC2206 # the commas are QEMU's, some are words
	QEMU=(qemu-system-x86_64 -nodefaults -no-user-config -display none
		-machine "q35,accel=$accel,memory-backend=mem${QEMU_MACHINE_OPTIONS:-}"
		-cpu max -smp "$queues" -m "$memory${QEMU_MEMORY_OPTIONS:-}"
		-object "memory-backend-memfd,id=mem,size=$memory,share=on"
		-chardev "socket,id=c0,path=$SOCKET${QEMU_RECONNECT-,reconnect=1}"
		${QEMU_IOMMU:-}
		-device "vhost-user-blk-pci,chardev=c0,num-queues=$queues${QEMU_DISK_OPTIONS:-}"
		-chardev stdio,id=console,signal=off -serial chardev:console ${QEMU_WORDS:-})
}

# Adds a monitor, for qmp, to QEMU: a pair of named pipes.
qemu_with_monitor()
{
	rm -f "$WORK"/monitor.{in,out}
	mkfifo "$WORK"/monitor.{in,out} || exit 1
	exec {MONITOR_IN}<>"$WORK/monitor.in" {MONITOR_OUT}<>"$WORK/monitor.out"
	# shellcheck disable=SC2054 # the commas are QEMU's
	QEMU+=(-chardev "pipe,id=monitor,path=$WORK/monitor" -mon chardev=monitor,mode=control)
	MONITOR_READY=''
}

# qmp COMMAND [ARGUMENTS]: a QMP command, its arguments as JSON; returns when QEMU has answered, with
# that line in QMP_ANSWER.
qmp()
{
	local line

	if [[ -z $MONITOR_READY ]]; then
		MONITOR_READY=1
		qmp qmp_capabilities
	fi
	echo "{\"execute\": \"$1\"${2:+, \"arguments\": $2}}" >&"$MONITOR_IN"
	while read -r -t "$STOP_DEADLINE" line <&"$MONITOR_OUT"; do
		# shellcheck disable=SC2034 # it is our caller's
		QMP_ANSWER=$line
		case $line in
		'{"return"'*) return 0 ;;
		'{"error"'*) break ;;
		esac
	done
	give_up "QEMU's monitor: $1: ${line:-no answer within $STOP_DEADLINE s}"
}

# The whole command line of a guest of ours that begins with initramfs $1; KERNEL_OPTIONS are its
# kernel's.
qemu_whole_command()
{
	qemu_command
	[[ -z ${MONITOR:-} ]] || qemu_with_monitor
	# init_on_alloc: memory that is read into is written by the device alone.
	QEMU+=(-kernel "$KERNEL" -initrd "$1" -append "console=ttyS0 panic=-1 quiet init_on_alloc=0${KERNEL_OPTIONS:+ $KERNEL_OPTIONS}")
}

# Sets KERNEL, MODULE_TREE and INITRD to what $GUEST_SCRIPT's guest boots.
find_guest()
{
	local base

	find_kernel
	# shellcheck disable=SC2086 # the modules are words
	base=$(initramfs "pc${GUEST_MODULES:+-${GUEST_MODULES// /-}}" "$MODULE_TREE" \
		virtio_pci virtio_blk ${GUEST_MODULES:-}) || give_up "no initramfs"
	INITRD=$(with_guest_script "$base") || give_up "no initramfs"
}

# qemu_start: boots $GUEST_SCRIPT's guest and waits for its init. MONITOR=1 makes qmp usable,
# GUEST_MODULES names modules more that are loaded.
qemu_start()
{
	local QEMU KERNEL MODULE_TREE INITRD

	find_guest
	qemu_whole_command "$INITRD"
	guest_launch "${QEMU[@]}"
	guest_wait_ready
}

### Images ########################################################################################

# 512-byte blocks that file $1 occupies.
blocks_of()
{
	stat -c %b "$1"
}

# The host's opinion of the file system in image $1.
check_image_fsck()
{
	check "the host's e2fsck finds the image clean" e2fsck -fn "$1"
}

### User-mode Linux ###############################################################################

# uml_start: boots $GUEST_SCRIPT's guest as a User-mode Linux with its disk on $SOCKET.
uml_start()
{
	local tree base initrd

	need linux.uml user-mode-linux
	tree=$(printf '%s\n' /usr/lib/uml/modules/*/ | sort -rV | head -n 1)
	[[ -r ${tree}modules.dep ]] || skip_all "no /usr/lib/uml/modules (Debian package user-mode-linux)"
	base=$(initramfs uml "${tree%/}" virtio_blk) || give_up "no initramfs"
	initrd=$(with_guest_script "$base") || give_up "no initramfs"
	# Its memory is a file in TMPDIR, its pid file and control socket go to uml_dir.
	TMPDIR=$(shared_memory_dir) guest_launch linux.uml mem=128M "initrd=$initrd" \
		"virtio_uml.device=$SOCKET:2" "uml_dir=$WORK/uml" umid=guest \
		con0=fd:0,fd:1 con=null console=tty0 panic=-1 quiet
	guest_wait_ready
}

# Do the guest's rings do without eventfds? (User-mode Linux takes that whenever it is offered.)
uml_is_inband()
{
	[[ $VUBLKD_PEER == vublkd ]] || return 0
	kill -USR1 "$DAEMON_PID"
	check "kicks and calls are messages" wait_until "$STOP_DEADLINE" \
		grep -q 'kicked by messages, calls by messages' "$DAEMON_LOG"
}

# /dev/shm may be small or missing in a container; any file system that can map a file will do.
shared_memory_dir()
{
	local room

	room=$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)
	if [[ -w /dev/shm ]] && ((${room:-0} > 160 * 1024)); then echo /dev/shm; else echo "$WORK"; fi
}

# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2034,SC2154 # lib.sh and load.sh use these, and have those
#
# A guest that moves to another QEMU, with another vublkd on the same image, both on this host.
# Sourced after lib.sh and load.sh. Everything in lib.sh works on one side, the current one, which is
# that of the guest; here is what makes another side, and what exchanges the two. QUEUES,
# QEMU_DISK_OPTIONS and MONITOR=1 must be as they were for qemu_start.
#
#	there_begin			the other side is there and waits for the guest
#	migration_begin		the guest's memory is on its way, slowly, and what changes in it once more
#	migration_end			the guest goes on there, which is the current side now; what was
#					on the old side ends, as cases
#	migration_cancel		the guest stays
#	migration_postcopy		instead of the two before: the guest goes on there before its memory
#					has come
#	save FILE, restore FILE		instead of all that
#
#	forget, recall, check_recalled		functions for the guest, see below

readonly PASS_BANDWIDTH=$((80 << 20)) # bytes a second; a guest has about 100 MiB to tell
# What is sent in the millisecond for which the guest may stand is so little that the guest does not
# go before it is told to. (With no millisecond at all QEMU 7.2 asks no more what has changed.)
readonly STAY_BANDWIDTH=$((8 << 20))
readonly MIGRATION_DEADLINE=$((60 * SLOW))
readonly SIDE=(SOCKET DAEMON_PID DAEMON_LOG DAEMON_LOG_SEEN DAEMON_RESTARTED GUEST_PID GUEST_IN
	MONITOR_IN MONITOR_OUT MONITOR_READY)
declare -A OTHER=()
SIDES=0 # that have been made
MIGRATION=''

# Memory that the device alone writes to: nothing but its log can tell that it has changed. Pages of
# files are read into memory that held something else when it was sent for the first time, and must
# be right on the other side without being read from the disk again.
mkdir -p "$WORK/tree/sbin"
copy_program "$WORK/tree" fincore || give_up "there is no fincore"
export GUEST_TREE=$WORK/tree
cat >>"$GUEST_SCRIPT" <<'END'
# Out of memory, which then is zeros.
forget()
{
	echo 3 >/proc/sys/vm/drop_caches
	dd if=/dev/zero of=/run/zeros bs=1M count="$1" 2>/dev/null
	rm /run/zeros
}

pages()
{
	fincore --noheadings --raw --output PAGES /mnt/known/* | awk '{ n += $1 } END { print n + 0 }'
}

recall()
{
	check_is "pages of the files in memory before they are read" 0 "$(pages)"
	cat /mnt/known/* >/dev/null
}

check_recalled()
{
	check_is "pages of the files in memory" "$(($(ls /mnt/known | wc -l) * 256))" "$(pages)"
	cd /mnt/known || return
	check "what the device has read into memory is there" sha256sum -c /run/known
	cd /
}
END

# Makes the other side the current one.
change_sides()
{
	local name value

	for name in "${SIDE[@]}"; do
		value=${!name}
		printf -v "$name" %s "${OTHER[$name]:-}"
		OTHER[$name]=$value
	done
	OTHER_PIDS="${OTHER[GUEST_PID]:-} ${OTHER[DAEMON_PID]:-}"
}

# A daemon on the image, with the same arguments as the first one.
side_make()
{
	SIDES=$((SIDES + 1))
	SOCKET=$WORK/s$SIDES
	DAEMON_LOG=$WORK/daemon$SIDES.log
	# shellcheck disable=SC2086 # words
	daemon_start "--blk-file=$image" --num-queues=2 --log-level=debug ${DAEMON_OPTIONS:-}
}

# incoming_start URI: a QEMU that waits for a guest.
incoming_start()
{
	local QEMU KERNEL MODULE_TREE

	find_kernel
	qemu_whole_command "$WORK/initramfs"
	guest_spawn "${QEMU[@]}" -incoming "$1"
}

incoming_listens()
{
	grep -qF -- " $MIGRATION" /proc/net/unix || gone "$GUEST_PID"
}

# The other side: a daemon, unless it is there, and a QEMU.
there_begin()
{
	MIGRATION=$WORK/migration
	rm -f "$MIGRATION"
	change_sides
	[[ -n $DAEMON_PID ]] || side_make
	incoming_start "unix:$MIGRATION"
	wait_until "$STOP_DEADLINE" incoming_listens || give_up "QEMU does not wait for a guest"
	alive "$GUEST_PID" || give_up "a QEMU waits for the guest"
	change_sides
}

# Sets STATUS and PASSES to the migration's.
migration_look()
{
	qmp query-migrate
	STATUS='' PASSES=0
	[[ $QMP_ANSWER =~ \"status\":\ \"([a-z-]*)\" ]] && STATUS=${BASH_REMATCH[1]}
	[[ $QMP_ANSWER =~ \"dirty-sync-count\":\ ([0-9]*) ]] && PASSES=${BASH_REMATCH[1]}
	[[ $STATUS != failed ]] || give_up "the migration fails: $QMP_ANSWER"
}

# migration_is STATUS
migration_is()
{
	migration_look
	[[ $STATUS == "$1" ]]
}

# How often QEMU has asked what has changed since all memory was sent.
migration_has_passed()
{
	migration_look
	((PASSES > $1))
}

bandwidth()
{
	qmp migrate-set-parameters "{\"max-bandwidth\": $1, \"downtime-limit\": $2}"
}

migration_begin()
{
	bandwidth "$PASS_BANDWIDTH" 1
	qmp migrate "{\"uri\": \"unix:$MIGRATION\"}"
	wait_until "$MIGRATION_DEADLINE" migration_has_passed 1 ||
		give_up "the memory is not sent in time: $QMP_ANSWER"
	bandwidth "$STAY_BANDWIDTH" 1
}

# The daemon of this side, again: of all sides' command lines only the last one is kept.
side_restart()
{
	DAEMON_COMMAND=("${DAEMON_COMMAND[@]/#--socket-path=*/--socket-path=$SOCKET}")
	daemon_restart
}

# quit: the end of a QEMU whose guest has gone.
quit()
{
	qmp quit
	wait_until "$STOP_DEADLINE" gone "$GUEST_PID" || give_up "QEMU does not quit"
	wait "$GUEST_PID" || not_ok "QEMU quits with status 0, not $?"
	GUEST_PID=''
	exec {GUEST_IN}>&- {MONITOR_IN}>&- {MONITOR_OUT}>&-
}

migration_end()
{
	bandwidth $((1 << 30)) 500
	migration_arrive
	migration_arrived
}

migration_arrive()
{
	beats_begin
	wait_until "$MIGRATION_DEADLINE" migration_is completed ||
		give_up "the migration does not end: $QMP_ANSWER"
	[[ $QMP_ANSWER =~ \"downtime\":\ ([0-9]*) ]]
	echo "# $PASSES passes, the guest stood for ${BASH_REMATCH[1]} ms"
}

# The guest has gone: what was on this side ends.
migration_arrived()
{
	quit
	daemon_stop
	change_sides
	OTHER_PIDS=''
	beats_await $((WRITERS + 1))
	ok "the guest goes on where it has gone"
}

postcopy_allow()
{
	qmp migrate-set-capabilities '{"capabilities": [{"capability": "postcopy-ram", "state": true}]}'
	[[ $QMP_ANSWER != *error* ]] || give_up "QEMU cannot do it: $QMP_ANSWER"
}

# Nearly nothing is sent before the guest goes.
migration_postcopy()
{
	change_sides
	postcopy_allow
	change_sides
	postcopy_allow
	bandwidth 65536 1
	qmp migrate "{\"uri\": \"unix:$MIGRATION\"}"
	wait_until "$MIGRATION_DEADLINE" migration_is active ||
		give_up "the migration does not begin: $QMP_ANSWER"
	qmp migrate-start-postcopy
	migration_arrive
	[[ $QMP_ANSWER =~ \"postcopy-requests\":\ ([0-9]*) ]]
	echo "# ${BASH_REMATCH[1]} pages were asked for"
	check "pages were asked for" [ "${BASH_REMATCH[1]:-0}" -gt 0 ]
	migration_arrived
}

migration_cancel()
{
	local status

	qmp migrate_cancel
	wait_until "$MIGRATION_DEADLINE" migration_is cancelled ||
		give_up "the migration is not cancelled: $QMP_ANSWER"
	beats_begin
	change_sides
	wait_until "$STOP_DEADLINE" gone "$GUEST_PID" || give_up "the QEMU that waited does not end"
	wait "$GUEST_PID"
	status=$?
	GUEST_PID=''
	exec {GUEST_IN}>&- {MONITOR_IN}>&- {MONITOR_OUT}>&-
	change_sides
	# Its last words are about the guest that did not come.
	GUEST_EXPECTED+="${GUEST_EXPECTED:+|}migration failed|Failed to load|error while loading|vmstate"
	GUEST_EXPECTED+="|Unable to write to socket|Read section footer failed"
	check "the QEMU that waited ends with a failure" [ "$status" -ne 0 ]
	beats_await $((WRITERS + 1))
	ok "the guest goes on where it is"
}

# save FILE: the guest is nothing but a file now; its QEMU and its daemon are gone. Its processors
# are stopped before, as libvirt does it.
save()
{
	qmp stop
	bandwidth $((1 << 30)) 500
	qmp migrate "{\"uri\": \"exec:cat >$1\"}"
	wait_until "$MIGRATION_DEADLINE" migration_is completed ||
		give_up "the guest is not saved: $QMP_ANSWER"
	quit
	daemon_stop
	GUEST_IN=''
}

is_restored()
{
	qmp query-status
	[[ $QMP_ANSWER == *'"status": "paused"'* ]]
}

# restore FILE: with a new daemon.
restore()
{
	beats_begin
	side_make
	incoming_start "exec:cat $1"
	wait_until "$MIGRATION_DEADLINE" is_restored || give_up "the guest is not restored: $QMP_ANSWER"
	qmp cont
	beats_await $((WRITERS + 1))
	ok "the guest goes on after it was saved and restored"
}

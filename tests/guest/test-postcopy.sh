#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# A guest moves to another QEMU and another daemon on the same image, and runs there before its
# memory has come (postcopy migration), and back; while it writes and reads. The daemon waits for
# pages that are missing, and no request is lost or fails. With split rings, and one way with packed
# ones.
# Nearly all of the memory goes over when the guest has stopped at the one end: so it does not matter
# that stores get lost while an emulated guest is migrated otherwise.
# shellcheck disable=SC2317 # load_life calls it
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
[[ $VUBLKD_PEER == vublkd ]] || skip_all "qemu-storage-daemon does not offer PAGEFAULT"
# shellcheck source-path=SCRIPTDIR source=load.sh
. "$(dirname "$0")/load.sh"
# shellcheck source-path=SCRIPTDIR source=moves.sh
. "$(dirname "$0")/moves.sh"

export QUEUES=2 MONITOR=1 MEMORY=192M
export DAEMON_OPTIONS=--postcopy

move()
{
	there_begin
	migration_postcopy
	check "the daemon has waited for memory" grep -q "memory that has not come is waited for" "$DAEMON_LOG"
	check "and knows that all has come" grep -q "the postcopy migration has ended" "$DAEMON_LOG"
}

there()
{
	guest_call know 12
	guest_call forget 48
	beats_await $((WRITERS + 1))
	move
	guest_call recall
	guest_call check_recalled
}

there_and_back()
{
	there
	move
	guest_call check_recalled
}

QEMU_DISK_OPTIONS='' load_life split there_and_back
QEMU_DISK_OPTIONS=,packed=on load_life packed there
guest_end

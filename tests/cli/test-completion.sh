#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What bash completes for vublkd and vublkctl: the functions of contrib/completion, called as readline
# calls them, and their lists held against the programs.
# shellcheck disable=SC2317 # ok() calls the functions
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../../contrib/completion/vublkctl
. "$SRCDIR/contrib/completion/vublkctl"
# shellcheck source=../../contrib/completion/vublkd
. "$SRCDIR/contrib/completion/vublkd"

DIR=$(mktemp -d) || exit 1
DAEMON=
cleanup()
{
	[[ -z $DAEMON ]] || kill "$DAEMON" 2>/dev/null
	wait
	rm -rf "$DIR"
}
trap cleanup EXIT

# completes LINE REPLY...: with the cursor at its end, in this order.
completes()
{
	local COMP_LINE=$1 function=_${1%% *}

	COMP_LINE="${PROGRAM[${1%% *}]}${1#"${1%% *}"}"
	COMP_POINT=${#COMP_LINE}
	COMPREPLY=()
	"$function"
	shift
	[[ ${COMPREPLY[*]} == "$*" ]] || echo "$COMP_LINE: '${COMPREPLY[*]}', not '$*'"
}
declare -A PROGRAM=([vublkd]=$VUBLKD [vublkctl]=$CTL)

start_daemon()
{
	truncate -s 1M "$DIR/a.img"
	"$VUBLKD" --api-socket="$DIR/api" >/dev/null 2>&1 &
	DAEMON=$!
	export VUBLKCTL_SOCKET=$DIR/api
	await test -S "$DIR/api"
	"$CTL" add data blk-file="$DIR/a.img" socket-path="$DIR/data.sock" &&
		"$CTL" add dump blk-file="$DIR/a.img" socket-path="$DIR/dump.sock" &&
		"$CTL" add web blk-file="$DIR/a.img" socket-path="$DIR/web.sock"
}

# differences A B: lines that only one has.
differences()
{
	comm -3 <(sort <<<"$1") <(sort <<<"$2")
}

commands()
{
	differences "${_vublkctl_commands// /$'\n'}" \
		"$("$CTL" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z]*\) .*/\1/p')"
}

options()
{
	differences "${_vublkctl_options// /$'\n'}" \
		"$("$CTL" --help | sed -n 's/^  \(--[a-z-]*=\{0,1\}\).*/\1/p')"
}

# What can be told of a disk is for vublkd to say: of the rest it says that it cannot.
disk_options()
{
	local entry told='' answer

	for entry in $("$VUBLKD" --help | sed -n 's/^  --\([^ ]*\).*/\1/p'); do
		case $entry in
		fd=* | name=*) continue ;; # refused for other reasons
		esac
		answer=$("$CTL" add probe "${entry%%=*}=x" 2>&1) # one of its options is always missing
		[[ $answer == *'is nothing that a disk can be told' ]] || told+=$entry$'\n'
	done
	differences "$(tr ' ' '\n' <<<"$_vublkctl_disk_options")" "${told%$'\n'}"
}

# A daemon's words are not run.
names_are_harmless()
{
	# shellcheck disable=SC2016 # it is the text that has to stay one
	printf '#!/bin/sh\ncat <<"END"\n    "name": "$(touch %s/hit)",\n    "name": "good"\nEND\n' "$DIR" \
		>"$DIR/fake"
	chmod +x "$DIR/fake"
	PROGRAM[vublkctl]=$DIR/fake
	completes 'vublkctl show ' good
	[[ ! -e $DIR/hit ]] || echo "it was run"
}

start_daemon
ok 'commands' completes 'vublkctl re' remove resize reload
ok 'commands, behind options' completes 'vublkctl --json --timeout=3 st' status
ok 'options' completes 'vublkctl list --j' --json
ok 'options that take a value' completes 'vublkctl --s' --socket=
ok 'disks' completes 'vublkctl show d' data dump
ok 'all disks' completes 'vublkctl --json remove ' data dump web
ok 'disks of another socket' completes "vublkctl --socket=$DIR/none show "
ok 'no disks where none is named' completes 'vublkctl list '
ok 'what a disk is told' completes 'vublkctl add x s' socket-path= socket-mode= socket-group= serial= seg-max= size=
ok 'what takes no value' completes 'vublkctl set data serial=x read' read-only
ok 'values' completes 'vublkctl set data cache=write' writeback writethrough
ok 'files' completes "vublkctl add x blk-file=$DIR/a." "$DIR/a.img"
ok 'the socket' completes "vublkctl --socket=$DIR/ap" "$DIR/api"
ok 'options of vublkd' completes 'vublkd --read-only --print' --print-capabilities
ok 'options of vublkd that take a value' completes 'vublkd --blk' --blk-file=
ok 'values of vublkd' completes 'vublkd --engine=' io_uring libaio null
ok 'files of vublkd' completes "vublkd --blk-file=$DIR/a." "$DIR/a.img"
ok 'all commands are known' commands
ok 'all options are known' options
ok 'all that a disk can be told is known' disk_options
ok 'names are harmless' names_are_harmless
cases_end

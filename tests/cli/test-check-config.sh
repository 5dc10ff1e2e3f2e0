#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# --check-config: what a start would find wrong with the command line and a directory of settings.
# shellcheck source-path=SCRIPTDIR source=lib.sh
# shellcheck disable=SC2317 # functions are called by passes
. "$(dirname "$0")/lib.sh"
cd "$TMPDIR" || exit 1

mkdir conf
# Neither images nor sockets are opened: there are none.
disk()
{
	printf 'blk-file = /nowhere/%s.img\nsocket-path = %s\n' "$1" "$2" >"conf/$1.conf"
}

# check STATUS OPTION...: what is said, if that is the exit status.
check()
{
	local expected=$1 status

	shift
	"$VUBLKD" --check-config "$@" 2>&1
	status=$?
	[[ $status == "$expected" ]] || { echo "status $status, not $expected"; return 1; }
}

# finds TEXT OPTION...: exit status 2, and that is said.
finds()
{
	local text=$1 said

	shift
	said=$(check 2 "$@") || { echo "$said"; return 1; }
	[[ $said == *"$text"* ]] || { echo "$said"; return 1; }
}

own=(--blk-file=/nowhere/own.img --socket-path="$TMPDIR/own.sock")
disk a "$TMPDIR/a.sock"
disk b "$TMPDIR/b.sock"
passes 'nothing is wrong with a directory' check 0 --config-dir=conf
passes 'nor with a disk beside it, and an API' check 0 --config-dir=conf "${own[@]}" --api-socket=api
passes 'nor with that disk alone' check 0 "${own[@]}" --metrics-address='[::1]:9100'
disk b "$TMPDIR//a.sock"
passes 'a socket of two files' finds 'b: its socket' --config-dir=conf
disk b "$TMPDIR/b.sock"
passes "a file's socket is the command line's" finds "b: its socket $TMPDIR/b.sock is that of the disk own.img" \
	--config-dir=conf --blk-file=/nowhere/own.img --socket-path=./b.sock
passes "a file's name is the command line's" finds 'a: there is another disk of that name' \
	--config-dir=conf --name=a "${own[@]}"
passes "a file's socket is the API's" finds "a: its socket $TMPDIR/a.sock is that of the API" \
	--config-dir=conf --api-socket=a.sock
passes "the command line's socket is the API's" finds 'is that of the API' \
	"${own[@]}" --api-socket="$TMPDIR/own.sock"
passes "an address is none" finds "--metrics-address: '9100' is not ADDRESS:PORT" \
	--config-dir=conf --metrics-address=9100
passes 'all that is wrong is said' finds 'conf: 2 disks, 3 errors' \
	--config-dir=conf --api-socket=a.sock --name=a --blk-file=/nowhere/i --socket-path=b.sock
cases_end

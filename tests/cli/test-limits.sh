#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# With few descriptors, little locked memory or few threads the daemon serves, or says which limit
# is too low.
set -u
vublkd=${VUBLKD:-$BUILDDIR/src/vublkd}
cases=0

# try WHAT NAMES COMMAND...: runs the daemon by COMMAND until it serves or has ended.
try()
{
	local what=$1 names=$2 pid why=''

	shift 2
	rm -f socket log
	touch log
	"$@" "$vublkd" --blk-file=image --socket-path=socket "${options[@]}" 2>log &
	pid=$!
	while kill -0 $pid 2>/dev/null && ! grep -q serving log; do
		sleep 0.01
	done
	if grep -q serving log; then
		kill $pid
		wait $pid || why="does not end well"
	else
		wait $pid && why="ends with 0"
		tail -n 1 log | grep -qE "$names" || why="does not name the limit: $(tail -n 1 log)"
	fi
	cases=$((cases + 1))
	if [[ -z $why ]]; then
		echo "ok - $what"
	else
		echo "not ok - $what"
		echo "# $why"
	fi
}

command -v prlimit >/dev/null || { echo "no prlimit"; exit 77; }
cd "$TMPDIR" || exit 1
truncate -s 1M image
for engine in io_uring libaio; do
	options=("--engine=$engine" --num-workers=2)
	"$vublkd" --print-capabilities >/dev/null || exit 1
	for n in {4..30}; do
		try "$engine with $n descriptors" 'RLIMIT_NOFILE' prlimit "--nofile=$n:$n"
	done
done
as=()
if [[ $(id -u) == 0 ]]; then
	command -v setpriv >/dev/null || { echo "no setpriv"; exit 77; }
	chmod 777 . && chmod 666 image
	as=(setpriv --reuid=65533 --regid=65533 --clear-groups)
	"${as[@]}" test -w image -a -x "$vublkd" || as=()
fi
if ((${#as[@]})); then
	for kib in 0 64 200 400; do
		options=(--engine=io_uring)
		try "io_uring with $kib KiB of locked memory" 'RLIMIT_MEMLOCK|not permitted|not implemented' \
			"${as[@]}" prlimit "--memlock=$((kib * 1024)):$((kib * 1024))"
		options=()
		try "any engine with $kib KiB of locked memory" 'RLIMIT_MEMLOCK' \
			"${as[@]}" prlimit "--memlock=$((kib * 1024)):$((kib * 1024))"
	done
	for n in 1 2 3 4; do
		options=(--num-workers=2)
		try "$n threads" 'RLIMIT_NPROC' "${as[@]}" prlimit "--nproc=$n:$n"
	done
fi
echo "1..$cases"

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What ./bootstrap answers at once: before it installs, builds or even looks at the machine. (With an
# empty PATH it could do none of that.)
set -u

cases=0

# answers STATUS REGEX ARG...
answers()
{
	local status=$1 regex=$2 said got

	shift 2
	said=$(PATH=$empty /bin/bash "$SRCDIR/bootstrap" "$@" 2>&1)
	got=$?
	cases=$((cases + 1))
	if [[ $got == "$status" && $said =~ $regex ]]; then
		echo "ok - ./bootstrap $*"
	else
		echo "not ok - ./bootstrap $*: status $got, said: $said"
	fi
}

# What it uses for that itself.
empty=$TMPDIR/bin
mkdir "$empty"
ln -s "$(command -v dirname)" "$(command -v cat)" "$empty"
answers 0 'usage: ./bootstrap' --help
answers 0 'runs all the tests' -h
answers 1 'no target chekc .*--help' chekc
answers 1 'no target --check ' --check
answers 1 'no target chekc ' demo chekc
echo "1..$cases"

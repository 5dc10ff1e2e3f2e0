#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A test of tests/run: does it tell each kind of failing, crashing, hanging, skipping and leaking
# test for what it is? It is given small trees of made-up tests; what it prints and does is looked at.
set -u

RUN=$(cd "$(dirname "$0")/.." && pwd)/run
WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/meta.XXXXXX") || exit 1
trap 'rm -rf -- "$WORK"' EXIT
CASES=0
export TEST_SLOW_FACTOR=1 # the limits that are looked at are those written

tap()
{
	CASES=$((CASES + 1))
	echo "$*"
}

# says DESCRIPTION REGEX: the runner's last output has a line that matches.
says()
{
	if grep -qE -- "$2" "$WORK/out"; then
		tap "ok - $1"
	else
		tap "not ok - $1: no line matches '$2' in:"
		sed 's/^/#   /' "$WORK/out"
	fi
}

# check DESCRIPTION COMMAND...
check()
{
	local what=$1

	shift
	if "$@"; then tap "ok - $what"; else tap "not ok - $what ($*)"; fi
}

# Gone, or a zombie that process 1 has yet to wait for.
is_gone()
{
	[[ ! -e /proc/$1 ]] || grep -q '^State:.Z' "/proc/$1/status"
}

# A fresh tree.
begin()
{
	rm -rf "$WORK/src" "$WORK/build"
	mkdir -p "$WORK"/src/tests/{guest,cli,meta} "$WORK"/build/tests/{unit,proto,cost}
}

# script NAME: a made-up test tests/meta/test-NAME.sh, its text from standard input.
script()
{
	{
		echo '#!/bin/bash'
		cat
	} >"$WORK/src/tests/meta/test-$1.sh"
	chmod +x "$WORK/src/tests/meta/test-$1.sh"
}

# program KIND NAME: the same for a compiled one.
program()
{
	{
		echo '#!/bin/bash'
		cat
	} >"$WORK/build/tests/$1/test-$2"
	chmod +x "$WORK/build/tests/$1/test-$2"
}

# run EXPECTED-STATUS EXPECTED-LAST-LINE [ARG]...
run()
{
	local status=$1 last=$2 got

	shift 2
	mkdir -p "$WORK/tmp"
	SRCDIR=$WORK/src BUILDDIR=$WORK/build TMPDIR=$WORK/tmp "$RUN" "$@" >"$WORK/out" 2>&1
	got=$?
	check "the runner's status is $status (it is $got)" [ "$got" -eq "$status" ]
	if [[ $last != "$(tail -n 1 "$WORK/out")" ]]; then
		tap "not ok - the last line should be '$last' in:"
		sed 's/^/#   /' "$WORK/out"
	else
		tap "ok - last line: $last"
	fi
	check "nothing is left in TMPDIR" [ -z "$(ls -A "$WORK/tmp")" ]
}

# one STATUS LAST-LINE: runs a tree of one script, whose text comes from standard input.
one()
{
	begin
	script one
	run "$@"
}

### Tests that end ################################################################################

one 0 '1 passed, 0 failed, 0 skipped' <<<'exit 0'
says "a test that passes" '^PASS meta/test-one \[io_uring\] [0-9.]+ s: 1 passed, 0 failed, 0 skipped'

one 1 '0 passed, 1 failed, 0 skipped' <<<'echo "what went wrong"; exit 3'
says "a test that fails" '^FAIL meta/test-one'
says "its exit status" '^    exit status 3$'
says "its name once more at the end" '^failed: meta/test-one \[io_uring\]: exit status 3$'
says "the end of its log" '^    \| what went wrong$'
check "its log" grep -q 'what went wrong' "$WORK/build/tests/log/meta-test-one.io_uring.log"

# shellcheck disable=SC2016 # meant for the script
one 1 '0 passed, 1 failed, 0 skipped' <<<'kill -SEGV $$'
says "a test that crashes" '^    killed by signal 11$'

# shellcheck disable=SC2016
one 1 '2 passed, 1 failed, 0 skipped' <<<'echo "ok 1 - a"; echo "ok 2 - b"; kill -ABRT $$'
says "a test that crashes after good cases" '^    killed by signal 6$'

one 1 '0 passed, 0 failed, 1 skipped' <<<'echo line; echo "no such thing here"; exit 77'
says "a test that skips, with the reason" '^skipped: meta/test-one \[io_uring\]: no such thing here$'
says "that it is not passed" '^SKIP meta/test-one'

one 1 '0 passed, 0 failed, 1 skipped' <<<'echo "1..0 # SKIP no such tool"; exit 77'
says "one that says so twice, once" '^skipped: meta/test-one \[io_uring\]: no such tool$'

### TAP ###########################################################################################

one 1 '2 passed, 1 failed, 2 skipped' <<-'END'
	echo 'ok 1 - a'
	echo 'not ok 2 - b is broken'
	echo 'ok 3 - c # SKIP no c on this host'
	echo '# SKIP nor this'
	echo 'ok - d'
	echo 'okay, this is none'
	exit 1
END
says "a failed case by name" '^    not ok 2 - b is broken$'
says "a skipped case with its reason" ': c: no c on this host$'
says "a skipped case without a name" ': nor this$'

one 0 '2 passed, 0 failed, 0 skipped' <<<'printf "1..2\nok 1\nok 2\n"'
one 1 '2 passed, 1 failed, 0 skipped' <<<'printf "1..3\nok 1\nok 2\n"'
says "a plan that is not met" '^    planned 3 cases, saw 2$'
one 1 '2 passed, 1 failed, 0 skipped' <<<'printf "ok 1\nok 2\n1..1\n"'
says "more cases than planned" '^    planned 1 cases, saw 2$'
one 1 '0 passed, 1 failed, 0 skipped' <<<'echo 1..2'
one 1 '0 passed, 0 failed, 1 skipped' <<<'echo "1..0 # SKIP nothing to see"'
says "a plan of none" ': nothing to see$'
one 1 '1 passed, 1 failed, 0 skipped' <<<'echo "ok 1"; exit 1'
says "good cases, bad status" '^    exit status 1$'
one 1 '1 passed, 1 failed, 0 skipped' <<<'echo "ok 1"; echo "Bail out! no more"'
one 1 '0 passed, 1 failed, 0 skipped' <<<'echo "not ok 1"; exit 0'

### Tests that do not end #########################################################################

# shellcheck disable=SC2016
one 1 '1 passed, 1 failed, 0 skipped' <<-END
	# timeout: 1
	echo "ok 1"
	setsid sleep 1000 & echo \$! >$WORK/stray
	sleep 1000 & echo \$! >$WORK/child
	wait
END
says "a test that hangs" '^    timed out after 1 s$'
check "its child is gone" is_gone "$(cat "$WORK/child")"
check "its child in a session of its own is gone" is_gone "$(cat "$WORK/stray")"

one 1 '1 passed, 1 failed, 0 skipped' <<-END
	echo "ok 1"
	sleep 1000 & echo \$! >$WORK/child
	disown
END
says "a test that leaves a process" '^    left processes behind: sleep\[[0-9]+\]$'
check "the process is gone" is_gone "$(cat "$WORK/child")"

one 1 '0 passed, 1 failed, 0 skipped' <<-END
	TMPDIR=/ setsid sleep 1000 & echo \$! >$WORK/child
	# until it has left this session
	until [[ \$(cut -d ' ' -f 6 /proc/\$!/stat) -eq \$! ]]; do :; done
END
says "a test that leaves a process in another session" '^    left processes behind: sleep'
check "the process is gone" is_gone "$(cat "$WORK/child")"

### Where and how tests run #######################################################################

# shellcheck disable=SC2016
one 0 '1 passed, 0 failed, 0 skipped' <<-'END'
	[[ -d $TMPDIR && -z $(ls -A "$TMPDIR") ]] || exit 1
	mkdir "$TMPDIR/d" && touch "$TMPDIR/d/f" && chmod 0 "$TMPDIR/d"
END

begin
# shellcheck disable=SC2016
for name in a b; do
	script "$name" <<<"touch $WORK/here-$name; until [[ -e $WORK/here-a && -e $WORK/here-b ]]; do :; done"
	sed -i '1a# timeout: 20' "$WORK/src/tests/meta/test-$name.sh"
done
run 0 '2 passed, 0 failed, 0 skipped' --jobs 2

begin
for i in {1..60}; do script "$i" <<<'exit 0'; done
run 0 '60 passed, 0 failed, 0 skipped' --jobs=8
run 0 '11 passed, 0 failed, 0 skipped' test-1
run 0 '11 passed, 0 failed, 0 skipped' 'meta/test-2?' test-7 meta/test-7
run 1 '0 passed, 0 failed, 0 skipped' no-such-test
says "that nothing ran" '^nothing was tested$'

### Variants ######################################################################################

begin
# The daemon and the launcher do not exist: only what the tests are told counts here.
# shellcheck disable=SC2016 # meant for the programs
tell='echo "$0: $VUBLKD_VARIANT ${VUBLKD_WRAPPER##*/} $VUBLKD_EXTRA ${VUBLKD##*/}" >>'$WORK/told
program unit one <<<"$tell"
program proto two <<<"$tell"
program cost five <<<"$tell"
touch "$WORK/build/tests/proto/test-two.o"
chmod +x "$WORK/build/tests/proto/test-two.o"
printf '#!/bin/bash\n%s\n' "$tell" >"$WORK/src/tests/guest/test-three.sh"
chmod +x "$WORK/src/tests/guest/test-three.sh"
script four <<<"$tell"
run 0 '9 passed, 0 failed, 0 skipped' --jobs 1
check "unit tests run once" [ "$(grep -c test-one "$WORK/told")" -eq 1 ]
check "tests of costs run once" [ "$(grep -c test-five "$WORK/told")" -eq 1 ]
check "meta tests run once" [ "$(grep -c test-four "$WORK/told")" -eq 1 ]
for name in two three; do
	check "io_uring" grep -q "test-$name.*: io_uring   vublkd" "$WORK/told"
	check "libaio" grep -q "test-$name.*: libaio  --engine=libaio vublkd" "$WORK/told"
	check "nouring" grep -q "test-$name.*: nouring no-uring  vublkd" "$WORK/told"
done
run 0 '5 passed, 0 failed, 0 skipped' --variant libaio
run 0 '7 passed, 0 failed, 0 skipped' --variant libaio --variant=nouring
"$RUN" --variant none >"$WORK/out" 2>&1
check "an unknown variant is refused" [ $? -eq 2 ]

# A host without io_uring.
printf '#!/bin/sh\necho io_uring_setup: no\nexit 1\n' >"$WORK/build/tests/no-uring"
chmod +x "$WORK/build/tests/no-uring"
run 0 '7 passed, 0 failed, 2 skipped'
says "why io_uring is skipped" '^skipped: proto/test-two \[io_uring\]: io_uring_setup: no$'

### The runner itself is ended ####################################################################

begin
script slow <<<"echo \$\$ >$WORK/slow; sleep 1000"
rm -f "$WORK/slow"
SRCDIR=$WORK/src BUILDDIR=$WORK/build TMPDIR=$WORK/tmp "$RUN" >"$WORK/out" 2>&1 &
runner=$!
until [[ -s $WORK/slow ]]; do sleep 0.05; done
kill -TERM "$runner"
wait "$runner"
check "an interrupted runner fails" [ $? -eq 130 ]
check "its test is gone" is_gone "$(cat "$WORK/slow")"
check "nothing is left in TMPDIR" [ -z "$(ls -A "$WORK/tmp")" ]

echo "1..$CASES"

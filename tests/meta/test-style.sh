#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The house style, as far as a program can tell it.
set -u
cd "$SRCDIR" || exit 1
cases=0

# report NAME WHAT: a case that passes if there is nothing to say.
report()
{
	cases=$((cases + 1))
	if [[ -z $2 ]]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		printf '# %s\n' "${2//$'\n'/$'\n'# }"
	fi
}

mapfile -t sources < <(find lib src tests contrib -name '*.[ch]' | sort)
mapfile -t scripts < <(grep -lE '^#!(/bin/bash|/bin/sh|/usr/bin/env bash)' -r bootstrap .ci tests contrib \
	2>/dev/null | sort)
scripts+=(contrib/completion/*)

report "there is something to look at" \
	"$([[ ${#sources[@]} -gt 50 && ${#scripts[@]} -gt 5 ]] || echo "${#sources[@]} ${#scripts[@]}")"
if command -v clang-format >/dev/null; then
	report "clang-format has nothing to change" \
		"$(clang-format --dry-run "${sources[@]}" 2>&1 | grep -o '^[^ ]*: warning' | uniq | head -40)"
else
	echo "ok - clang-format has nothing to change # SKIP clang-format is not installed"
	cases=$((cases + 1))
fi
if command -v shellcheck >/dev/null; then
	report "shellcheck has nothing to say" "$(shellcheck -x "${scripts[@]}" 2>&1 | head -40)"
else
	echo "ok - shellcheck has nothing to say # SKIP shellcheck is not installed"
	cases=$((cases + 1))
fi
report "no line is longer than 100 columns" \
	"$(for f in "${sources[@]}"; do expand "$f" | awk -v f="$f" 'length > 100 { print f ":" FNR }'; done)"
report "every source begins with its licence" \
	"$(for f in "${sources[@]}"; do head -n 1 "$f" | grep -q SPDX-License-Identifier || echo "$f"; done)"
report "lib/ neither exits, nor aborts, nor prints, nor opens files" \
	"$(grep -nE '\b(exit|_exit|abort|assert|printf|fprintf|perror|open|fopen)\(' lib/*.c lib/*/*.c)"
# The in-flight region is no guest memory: vq/track*.c have a STORE() of their own.
report "there is one gate to guest memory" \
	"$(grep -nE '__atomic_(store|exchange|fetch)|volatile (u?int|char)' lib/vq/*.c src/request/*.c src/queue/*.c |
		grep -v '^lib/vq/track')"
report "submission entries come from one place, and are filled in by ourselves" \
	"$(grep -nE "io_uring_(get_sqe|prep_[a-z]+|sqe_set_[a-z]+)\(" src/io/*.c src/io/uring/*.c)"
report "and then says what it is" \
	"$(for f in "${sources[@]}"; do sed -n 2p "$f" | grep -q '^/\*' || echo "$f"; done)"
report "sections have one mark" "$(grep -nE '^/\* -+ ' "${sources[@]}" |
	grep -vE ':/\* ---- (.* ----|.* ---- \*/|[^-]*)$')"
# HACKING.md has the words that stand for these.
report "one word for one thing" \
	"$(grep -nwE 'anew|in vain|stands still|in hand|with us|give[ns]? back|heat|hot|cool|cold|withdrawn?|suspend(ed)?' \
		-r src lib man README.md NEWS SECURITY.md)"
report "test cases have the same words" \
	"$(grep -niE 'withdraw|suspend' -r tests --include='*.[ch]')"
report "errors have one variable" "$(grep -nwE 'ret|rc' lib/*.[ch] lib/*/*.[ch] src/*.c src/*/*.[ch] src/*/*/*.[ch])"
report "no promises in the code" "$(grep -nE 'TODO|FIXME|\bXXX\b' "${sources[@]}")"
report "no file holds more than one idea" \
	"$(find lib src tests contrib -name "*.[ch]" -exec wc -l {} + | awk '$1 > 700 && $2 != "total"')"
echo "1..$cases"

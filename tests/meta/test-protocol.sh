#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# doc/protocol.md is true: each message and bit that we know has a row, says yes if and only if it is
# served or offered, and names a file and a test that exist.
set -u

root=${SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
cd "$root" || exit 1
page=doc/protocol.md
n=0

# report WHAT LINES: passes when there are none.
report()
{
	n=$((n + 1))
	if [[ -z $2 ]]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		while IFS= read -r line; do
			echo "# $line"
		done <<<"$2"
	fi
}

# section TITLE: its rows, as "NUMBER NAME ANSWER", where the answer is yes or no.
section()
{
	awk -F ' *[|] *' -v title="## $1" '
		/^## / { on = $0 == title }
		on && $2 ~ /^[0-9]+$/ { print $2, $3, $4 ~ /^yes/ ? "yes" : "no" }' "$page"
}

# define FILE NAME: the words of a macro that goes over several lines.
define()
{
	awk -v name="$2" '$1 == "#define" && $2 == name { on = 1 } on { print }
		on && !/\\$/ { exit }' "$1"
}

# compare WHAT SECTION: with "NUMBER NAME ANSWER" on stdin.
compare()
{
	report "$1" "$(diff <(sort) <(section "$2" | sort) | grep '^[<>]' |
		sed 's/^</the code:/; s/^>/the page:/')"
}

# with_answer PATTERN...: adds yes to the "NUMBER NAME" of stdin whose name is among the lines.
with_answer()
{
	local number name

	while read -r number name; do
		if grep -qxF -- "$name" <<<"$1"; then
			echo "$number $name yes"
		else
			echo "$number $name no"
		fi
	done
}

served=$(sed -n 's/^\t\[VHU_\([A-Z_]*\)\] = .*/\1/p' lib/vhu/dispatch.c)
compare "messages of the front-end" "Messages of the front-end" < <(
	sed -n 's/^\tX(\([A-Z_]*\), \([0-9]*\)).*/\2 \1/p' lib/proto.h | with_answer "$served"
)

sent=$(grep -oh 'VHU_BACKEND_[A-Z_]*' lib/vhu/*.c | sed 's/^VHU_//' | sort -u)
compare "messages of the back-end" "Messages of the back-end" < <(
	sed -n 's/^\tVHU_\(BACKEND_[A-Z_]*\) = \([0-9]*\),/\2 \1/p' lib/proto.h |
		with_answer "$sent"
)

offered=$(define lib/vhu/dev.c PROTOCOL_FEATURES | grep -o 'VHU_PROTOCOL_F_[A-Z_]*' |
	sed 's/^VHU_PROTOCOL_F_//')
compare "protocol features" "Protocol features" < <(
	sed -n 's/^\tVHU_PROTOCOL_F_\([A-Z_]*\) = \([0-9]*\),/\2 \1/p' lib/proto.h |
		with_answer "$offered"
)

# All that is offered has a row that says yes, and all that says yes is offered.
features=$({
	define lib/vhu/dev.c TRANSPORT_FEATURES
	sed -n '/^uint64_t .*features(/,/^}/p' src/request/config.c | sed '/known_features/,/^}/d'
} | grep -oE '(VIRTIO|VHU)(_BLK|_RING)?_F_[A-Z0-9_]+' | sort -u)
report "feature bits" "$(diff <(echo "$features") \
	<(section "Feature bits" | awk '$3 == "yes" { print $2 }' | sort -u) | grep '^[<>]' |
	sed 's/^</offered:/; s/^>/the page:/')"

# Rows that say yes: where, and the proof.
report "every claim has a file and a test that exist" "$(
	awk -F ' *[|] *' '$2 ~ /^[0-9]+$/ && $4 ~ /^yes/ { print $3 "|" $5 "|" $6 "|" $7 }' "$page" |
		while IFS='|' read -r name where proof with; do
			[[ -f $where ]] || echo "$name: there is no file '$where'"
			program=${proof%%: *} case=${proof#*: }
			[[ $proof == *": "* && -f tests/$program.c ]] &&
				grep -qF "{\"$case\"," "tests/$program.c" ||
				echo "$name: there is no test '$proof'"
			[[ -n $with ]] || echo "$name: with which front-end?"
		done
)"
report "what is not done says why" "$(
	awk -F ' *[|] *' '$2 ~ /^[0-9]+$/ && $4 !~ /^yes/ && $4 !~ /^no: ./ { print $3 }' "$page"
)"
echo "1..$n"

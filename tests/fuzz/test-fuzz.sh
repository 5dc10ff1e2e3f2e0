#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 600
#
# Each fuzz target runs its seeds, and then what libFuzzer makes of them, for a while each: a
# minute in all, and the same each time, so that what fails here fails again. With FUZZ_SECONDS each
# runs longer, and somewhere else each time. Without libFuzzer the seeds are all.
# shellcheck source-path=SCRIPTDIR source=../cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
readonly FUZZ=$SRCDIR/tests/fuzz/fuzz SECONDS_EACH=${FUZZ_SECONDS:-9}
readonly SEED=${FUZZ_SECONDS:+0}

for target in $("$FUZZ" list); do
	output=$("$FUZZ" "$target" "$SECONDS_EACH" -verbosity=0 "-seed=${SEED:-1}" 2>&1)
	case $? in
	0)
		case_is ok "$target: $(awk '/number_of_executed_units/ { print $2 }' <<<"$output") inputs" ''
		;;
	3)
		passes "$target: what its seeds do is right" "$FUZZ" "$target" replay
		case_is ok "$target: inputs # SKIP no libFuzzer (Debian packages clang, libclang-rt-dev)" ''
		;;
	*)
		case_is 'not ok' "$target: inputs" "$(grep -v '^vublkd: ' <<<"$output" | tail -n 40)"
		;;
	esac
done
cases_end

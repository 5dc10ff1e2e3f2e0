#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The manual page and --help of each program tell of the same options, with the same names for their
# values, and the page is clean mdoc. From the environment: VUBLKD, SRCDIR, BUILDDIR (tests/run sets
# them).
# shellcheck disable=SC2001,SC2317 # ok() calls the functions
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# The page as text without overstriking.
rendered()
{
	mandoc -T ascii "$PAGE" 2>/dev/null | sed 's/.\x08//g'
}

# The entries of --help, such as --fd=FDNUM.
help_entries()
{
	"$PROGRAM" --help | sed -n 's/^  \(--[^ ]*\).*/\1/p'
}

# The tags of the page's OPTIONS section: first words of a line after an empty one or a heading.
page_entries()
{
	rendered | awk '
	/^[A-Z]/ { inside = $0 == "OPTIONS" }
	inside && last ~ /^(   [^ ].*)?$/ && /^     --/ { print $1 }
	{ last = $0 }'
}

# Prints the lines that only one of the two commands gives.
differences()
{
	comm -3 <("$1" | sort) <("$2" | sort) |
		sed "s/^\t\(.*\)/\1 is in $2 only/; t; s/\$/ is in $1 only/"
}

some_entries()
{
	(($("$1" | wc -l) >= LEAST)) || echo "$1 finds $("$1" | wc -l) options"
}

twice()
{
	"$1" | sort | uniq -d
}

# What is said of other pages depends on what is installed here.
lint()
{
	mandoc -T lint "$1" 2>&1 | grep -v -e 'referenced manual not found' -e 'outdated mandoc.db'
	return 0
}

# The test can fail: of a page with a mistake something must be said.
lint_sees_mistakes()
{
	local copy=${TMPDIR:-/tmp}/vublkd-page.$$

	sed 's/^\.Sh DESCRIPTION/.Sh DESCRIPTION\n.Xx/' "$PAGE" >"$copy"
	[[ -n $(lint "$copy") ]] || echo "a page with a wrong macro is clean, too"
	rm -f "$copy"
}

# The usage of --help names the options that stand in the page's SYNOPSIS.
synopsis_of_help()
{
	"$PROGRAM" --help | sed '/^$/q' | grep -o -e '--[a-z-]*'
}

synopsis_of_page()
{
	rendered | sed -n '/^SYNOPSIS/,/^DESCRIPTION/p' | grep -o -e '--[a-z-]*'
}

if ! command -v mandoc >/dev/null; then
	echo "1..0 # SKIP mandoc is not installed"
	exit 77
fi
# The commands of a program that has some.
commands_of_help()
{
	"$PROGRAM" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z].*\)/\1/p' | sed 's/   *.*//'
}

commands_of_page()
{
	rendered | awk '
	/^[A-Z]/ { inside = $0 == "COMMANDS" }
	inside && last ~ /^([A-Z].*)?$/ && /^     [a-z]/ {
		sub("^ *", "")
		sub("  .*", "")
		print
	}
	{ last = $0 }'
}

some_commands()
{
	(($(commands_of_help | wc -l) >= 5)) || echo "there are no commands"
}

# page_of PROGRAM PAGE LEAST: so many options it has at least.
page_of()
{
	local name=${1##*/}

	PROGRAM=$1
	PAGE=$2
	LEAST=$3
	if [[ ! -x $PROGRAM ]]; then
		echo "Bail out! $PROGRAM is not built"
		exit 1
	fi
	ok "$name: help lists the options" some_entries help_entries
	ok "$name: the page lists the options" some_entries page_entries
	ok "$name: help and page have the same options and values" \
		differences help_entries page_entries
	ok "$name: help lists each option once" twice help_entries
	ok "$name: the page lists each option once" twice page_entries
	ok "$name: usage and synopsis have the same options" \
		differences synopsis_of_help synopsis_of_page
	ok "$name: the page is clean mdoc" lint "$PAGE"
	ok "$name: mistakes in the page are seen" lint_sees_mistakes
}

page_of "$VUBLKD" "$SRCDIR/man/vublkd.8" 20
page_of "$BENCH" "$SRCDIR/man/vublk-bench.1" 20
page_of "$CTL" "$SRCDIR/man/vublkctl.8" 9
ok "vublkctl: help lists the commands" some_commands
ok "vublkctl: help and page have the same commands" differences commands_of_help commands_of_page
cases_end

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Who may include whom: each room of lib/ and src/ those that are named here, and so none that
# stands above it; and within a room nobody includes, by others, himself.
set -u
cd "$SRCDIR" || exit 1

# ROOM: the rooms that it may see. What is said of a room's own files goes without saying.
readonly ALLOWED='
lib:
lib/shared: lib
lib/vq: lib lib/shared
lib/vhu: lib lib/shared lib/vq
src/base:
src/io: src/base
src/io/uring: src/base src/io
src/image: src/base
src/worker: src/base src/io
src/request: src/base src/io src/image
src/queue: src/base src/io src/image src/worker src/request
src/disk: src/base src/io src/image src/worker src/request src/queue
src/config: src/base src/request src/disk
src/disks: src/base src/disk src/config
src/api: src/base src/request src/worker src/disk src/config src/disks
src/daemon: src/base src/io src/image src/worker src/disk src/config src/disks src/api
src/cli: src/base src/worker src/disk src/config src/daemon
src/keeper: src/base
src/ctl: src/base src/config src/cli
src: src/base src/cli src/config src/disks src/daemon
'
# Of the library the daemon sees one header.
readonly LIBRARY=lib/vublk.h

# "FROM TO" for each include of a file of our own; each stands for its .c and its .h.
arrows()
{
	local file name

	while IFS=: read -r file name; do
		if [[ -e ${file%%/*}/$name ]]; then
			echo "$file ${file%%/*}/$name"
		elif [[ -e lib/$name ]]; then
			echo "$file lib/$name"
		else
			echo "$file ?/$name"
		fi
	done < <(grep -rEo --include='*.[ch]' '^#include "[^"]+"' lib src |
		sed 's/#include "\(.*\)"/\1/' | grep -v ':config\.h$')
}

# check NAME: a case that passes if nothing comes on standard input.
check()
{
	local what

	what=$(cat)
	if [[ -z $what ]]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		printf '# %s\n' "${what//$'\n'/$'\n'# }"
	fi
}

all=$(arrows)
check 'there are arrows' < <([[ $(wc -l <<<"$all") -gt 200 ]] || echo "only these: $all")
check 'every room is in the table' < <(find lib src -name '*.[ch]' -printf '%h\n' | sort -u |
	while read -r room; do grep -q "^$room:" <<<"$ALLOWED" || echo "$room"; done)
check 'no arrow goes up' < <(awk -v library="$LIBRARY" -v table="$ALLOWED" '
	function room(file) { sub("/[^/]*$", "", file); return file }
	BEGIN {
		n = split(table, line, "\n")
		for (i = 1; i <= n; i++) {
			m = split(line[i], word, "[: ]+")
			for (k = 1; k <= m; k++)
				allowed[word[1], word[k]] = 1
		}
	}
	$2 == library { next }
	!((room($1), room($2)) in allowed) { print $1 " includes " $2 }' <<<"$all")
# A file and its header are one; tsort names those that go round.
check 'nobody includes himself' < <(awk '{ gsub("[.][ch]( |$)", " ") } $1 != $2' <<<"$all" |
	tsort 2>&1 >/dev/null)
echo '1..4'

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The tarball is complete: it builds out of tree, passes its tests (those that take no guest),
# installs, uninstalls and cleans up after itself. And what is installed is what is promised.
# timeout: 600
set -u
# Neither this make's jobs nor its variables are the other one's.
unset MAKEFLAGS MFLAGS MAKELEVEL BUILDDIR

cases=0

check()
{
	local name=$1

	shift
	cases=$((cases + 1))
	if "$@"; then
		echo "ok - $name"
	else
		echo "not ok - $name"
	fi
}

has_installed_all()
{
	local file

	for file in bin/vublkd bin/vublkctl bin/vublk-bench \
		libexec/vublkd/vublkd-keeper share/man/man8/vublkd.8 \
		share/man/man8/vublkctl.8 share/man/man1/vublk-bench.1 \
		share/bash-completion/completions/vublkctl share/bash-completion/completions/vublkd \
		share/qemu/vhost-user/50-vublkd.json \
		lib/systemd/system/vublkd.service lib/systemd/system/vublkd@.service \
		lib/systemd/system/vublkd@.socket; do
		[[ -s $root/usr/$file ]] || { echo "# $file is missing"; return 1; }
	done
}

names_its_binary()
{
	grep -q '"binary": "/usr/bin/vublkd"' "$root/usr/share/qemu/vhost-user/50-vublkd.json" &&
		grep -q '^ExecStart=/usr/bin/vublkd ' "$root/usr/lib/systemd/system/vublkd@.service"
}

mkdir "$TMPDIR/build" && cd "$TMPDIR/build" || exit 1
root=$TMPDIR/root
check "configure out of tree" "$SRCDIR/configure" --prefix=/usr --quiet
check "make distcheck" make -s -j2 distcheck SANITIZED= DEBIAN13= \
	CHECK='unit/test-iov unit/test-options cli/test-help-man cli/test-api'
check "make install" make -s -j2 install DESTDIR="$root"
check "everything is installed" has_installed_all
check "what is installed names the binary" names_its_binary
check "the installed binary runs" "$root/usr/bin/vublkd" --version
echo "1..$cases"

# SPDX-License-Identifier: BSD-3-Clause
#
# The test runner, the guest tests and the demo; included by the top Makefile.am, which has set
# check_PROGRAMS and EXTRA_DIST before.

check_PROGRAMS += tests/no-uring tests/guest/poke

tests_no_uring_LDADD =
tests_guest_poke_LDADD =

EXTRA_DIST += \
	tests/run \
	tests/meta/test-runner.sh \
	tests/guest/init \
	tests/guest/lib.sh \
	tests/guest/load.sh \
	tests/guest/moves.sh \
	tests/guest/test-basic.sh \
	tests/guest/test-boot.sh \
	tests/guest/test-disks.sh \
	tests/guest/test-features.sh \
	tests/guest/test-hotplug.sh \
	tests/guest/test-iommu.sh \
	tests/guest/test-iopoll.sh \
	tests/guest/test-kept.sh \
	tests/guest/test-kill.sh \
	tests/guest/test-libvirt.sh \
	tests/guest/migrate \
	tests/guest/test-migrate.sh \
	tests/guest/test-postcopy.sh \
	tests/guest/test-read-only.sh \
	tests/guest/test-resize.sh \
	tests/guest/test-save.sh \
	tests/guest/test-small-ring.sh \
	tests/guest/test-uml.sh \
	tests/guest/test-yank.sh \
	contrib/demo/demo

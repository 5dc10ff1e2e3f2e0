# SPDX-License-Identifier: BSD-3-Clause
# The unit tests, a program per source file, or part of one. Included by tests/local.mk after
# tests/frontend.mk, whose libtap.la is their main() and whose libfrontend.la is the driver's side
# of memory and rings.
#
# $(unit_tests) are the programs for TESTS; they need nothing in their environment. A program has
# the one source file of its name, which Automake knows by itself, and is linked with $(unit_libs).
# What a test defines itself the linker does not take from src/libvublkd.la.

unit_tests = \
	tests/unit/test-blk-config \
	tests/unit/test-blk-counters \
	tests/unit/test-blk-limits \
	tests/unit/test-blk-merge \
	tests/unit/test-blk-merge-results \
	tests/unit/test-blk-req \
	tests/unit/test-blk-rw \
	tests/unit/test-blk-rw-end \
	tests/unit/test-blk-zeroes \
	tests/unit/test-bounce \
	tests/unit/test-capabilities \
	tests/unit/test-engine \
	tests/unit/test-engine-fair \
	tests/unit/test-engine-io \
	tests/unit/test-engine-uring \
	tests/unit/test-engine-uring-memory \
	tests/unit/test-engine-watch \
	tests/unit/test-fair \
	tests/unit/test-fdstore \
	tests/unit/test-file-key \
	tests/unit/test-guest-gate \
	tests/unit/test-image \
	tests/unit/test-image-device \
	tests/unit/test-image-end \
	tests/unit/test-image-lock \
	tests/unit/test-iov \
	tests/unit/test-keeper \
	tests/unit/test-keeper-message \
	tests/unit/test-keeper-upgrade \
	tests/unit/test-kept-options \
	tests/unit/test-listener \
	tests/unit/test-log \
	tests/unit/test-loop \
	tests/unit/test-mailbox \
	tests/unit/test-neighbours \
	tests/unit/test-openings \
	tests/unit/test-options \
	tests/unit/test-placement \
	tests/unit/test-poll-policy \
	tests/unit/test-queue-counters \
	tests/unit/test-queue-limits \
	tests/unit/test-queue-revoke \
	tests/unit/test-settings \
	tests/unit/test-values \
	tests/unit/test-vhu-backend \
	tests/unit/test-vhu-dev \
	tests/unit/test-vhu-dev-end \
	tests/unit/test-vhu-dev-gpa \
	tests/unit/test-vhu-dev-inflight \
	tests/unit/test-vhu-dev-log \
	tests/unit/test-vhu-dev-memory \
	tests/unit/test-vhu-dirty-log \
	tests/unit/test-vhu-dispatch \
	tests/unit/test-vhu-fd \
	tests/unit/test-vhu-guard \
	tests/unit/test-vhu-inband \
	tests/unit/test-vhu-inflight \
	tests/unit/test-vhu-iommu \
	tests/unit/test-vhu-iotlb \
	tests/unit/test-vhu-mem \
	tests/unit/test-vhu-msg \
	tests/unit/test-vhu-keep \
	tests/unit/test-vhu-session \
	tests/unit/test-vhu-session-store \
	tests/unit/test-vhu-transfer \
	tests/unit/test-vhu-vring \
	tests/unit/test-vhu-ring-state \
	tests/unit/test-vhu-view \
	tests/unit/test-vhu-waiting \
	tests/unit/test-vq \
	tests/unit/test-vq-chain \
	tests/unit/test-vq-dirty \
	tests/unit/test-vq-packed \
	tests/unit/test-vq-packed-indirect \
	tests/unit/test-vq-packed-notify \
	tests/unit/test-vq-split \
	tests/unit/test-vq-track \
	tests/unit/test-vq-track-kill \
	tests/unit/test-vq-track-note \
	tests/unit/test-vq-track-packed \
	tests/unit/test-vq-track-recover-packed \
	tests/unit/test-vq-track-recover-split \
	tests/unit/test-vq-track-split \
	tests/unit/test-worker \
	tests/unit/test-worker-counters \
	tests/unit/test-worker-poll \
	tests/unit/test-writer

check_PROGRAMS += $(unit_tests)

# The child that vublkd-keeper has in its tests.
check_PROGRAMS += tests/unit/keeper-child
tests_unit_keeper_child_LDADD =

# What several programs set up. Of it a program gets the files that it uses.
check_LTLIBRARIES += tests/unit/support/libsupport.la
tests_unit_support_libsupport_la_SOURCES = \
	tests/unit/support/blk-disk.c \
	tests/unit/support/blk-disk.h \
	tests/unit/support/blk-rw.c \
	tests/unit/support/blk-rw.h \
	tests/unit/support/blk.c \
	tests/unit/support/blk.h \
	tests/unit/support/blks-check.c \
	tests/unit/support/blks-check.h \
	tests/unit/support/blks.c \
	tests/unit/support/blks.h \
	tests/unit/support/capture.c \
	tests/unit/support/capture.h \
	tests/unit/support/engines.c \
	tests/unit/support/engines.h \
	tests/unit/support/fds.c \
	tests/unit/support/fds.h \
	tests/unit/support/gate.c \
	tests/unit/support/gate.h \
	tests/unit/support/image-file.c \
	tests/unit/support/image-file.h \
	tests/unit/support/kept-fds.c \
	tests/unit/support/kept-fds.h \
	tests/unit/support/keeper.c \
	tests/unit/support/keeper.h \
	tests/unit/support/mem-at.c \
	tests/unit/support/mem-at.h \
	tests/unit/support/one-queue.c \
	tests/unit/support/one-queue.h \
	tests/unit/support/packed.c \
	tests/unit/support/packed.h \
	tests/unit/support/recover.c \
	tests/unit/support/recover.h \
	tests/unit/support/ring.c \
	tests/unit/support/ring.h \
	tests/unit/support/session.c \
	tests/unit/support/session.h \
	tests/unit/support/step-recorder.c \
	tests/unit/support/step-recorder.h \
	tests/unit/support/track.c \
	tests/unit/support/track.h \
	tests/unit/support/try-engine.c \
	tests/unit/support/try-engine.h \
	tests/unit/support/uring.c \
	tests/unit/support/uring.h

unit_libs = tests/unit/support/libsupport.la tests/libtap.la tests/frontend/libfrontend.la \
	src/libvublkd.la src/libkeeper.la $(CUNIT_LIBS)

# In the place of the common LDADD, which is that of the protocol tests. Automake knows only that
# one, and that is what it says they depend on.
$(unit_tests): LDADD = $(unit_libs)
$(unit_tests): tests/unit/support/libsupport.la src/libvublkd.la src/libkeeper.la

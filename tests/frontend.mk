# SPDX-License-Identifier: BSD-3-Clause
# The harness of all C tests, and the protocol tests. Included by the top Makefile.am (non-recursive,
# subdir-objects), which must have defined check_LTLIBRARIES, check_PROGRAMS and EXTRA_DIST, and
# CUNIT_CFLAGS and CUNIT_LIBS from configure.
#
# $(proto_tests) are the programs for TESTS; they want VUBLKD in their environment, see
# tests/frontend/fe_daemon.h.

check_LTLIBRARIES += tests/libtap.la

# main() of every C test, unit and protocol alike: link it with $(CUNIT_LIBS).
tests_libtap_la_SOURCES = tests/tap.c tests/tap.h

check_LTLIBRARIES += tests/proto/libproto.la
tests_proto_libproto_la_SOURCES = \
	tests/proto/disks.c \
	tests/proto/disks.h \
	tests/proto/fuse_file.c \
	tests/proto/fuse_file.h \
	tests/proto/hostile.c \
	tests/proto/hostile.h \
	tests/proto/proto.c \
	tests/proto/proto.h \
	tests/proto/shadow_check.c \
	tests/proto/shadow_check.h \
	tests/proto/uring_info.c \
	tests/proto/uring_info.h
tests_proto_libproto_la_LIBADD = tests/frontend/libfrontend.la tests/libtap.la $(CUNIT_LIBS)

proto_tests = \
	tests/proto/test-blocks \
	tests/proto/test-command \
	tests/proto/test-counters \
	tests/proto/test-dirty-log \
	tests/proto/test-disk-workers \
	tests/proto/test-disks \
	tests/proto/test-durable \
	tests/proto/test-fixed-buffers \
	tests/proto/test-framing \
	tests/proto/test-hang \
	tests/proto/test-host \
	tests/proto/test-hostile-churn \
	tests/proto/test-hostile-message \
	tests/proto/test-hostile-packed \
	tests/proto/test-hostile-ring \
	tests/proto/test-inband \
	tests/proto/test-iommu \
	tests/proto/test-limits \
	tests/proto/test-lock \
	tests/proto/test-log \
	tests/proto/test-memory \
	tests/proto/test-merge \
	tests/proto/test-message \
	tests/proto/test-packed \
	tests/proto/test-postcopy \
	tests/proto/test-replace \
	tests/proto/test-resize \
	tests/proto/test-request \
	tests/proto/test-sequential \
	tests/proto/test-session \
	tests/proto/test-short \
	tests/proto/test-socket \
	tests/proto/test-state \
	tests/proto/test-stress \
	tests/proto/test-truncate \
	tests/proto/test-vring \
	tests/proto/test-watches \
	tests/proto/test-workers

check_PROGRAMS += $(proto_tests)

# The common one: that of all programs which say no other. Their source is the one of their name.
LDADD = tests/proto/libproto.la

# SPDX-License-Identifier: BSD-3-Clause
# The harness of all C tests, and the protocol tests. Included by the top Makefile.am (non-recursive,
# subdir-objects), which must have defined check_LTLIBRARIES, check_PROGRAMS and EXTRA_DIST, and
# CUNIT_CFLAGS and CUNIT_LIBS from configure.
#
# $(proto_tests) are the programs for TESTS; they want VUBLKD in their environment, see
# tests/frontend/fe_daemon.h.

check_LTLIBRARIES += tests/libtap.la

# main() of every C test, unit and protocol alike: link it with $(CUNIT_LIBS).
tests_libtap_la_CPPFLAGS = -I$(top_srcdir) $(AM_CPPFLAGS) $(CUNIT_CFLAGS)
tests_libtap_la_SOURCES = tests/tap.c tests/tap.h

check_LTLIBRARIES += tests/proto/libproto.la
tests_proto_libproto_la_CPPFLAGS = -I$(top_srcdir) $(AM_CPPFLAGS) $(CUNIT_CFLAGS)
tests_proto_libproto_la_SOURCES = \
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
	tests/proto/test-durable \
	tests/proto/test-fixed-buffers \
	tests/proto/test-framing \
	tests/proto/test-host \
	tests/proto/test-hostile-churn \
	tests/proto/test-hostile-message \
	tests/proto/test-hostile-packed \
	tests/proto/test-hostile-ring \
	tests/proto/test-lock \
	tests/proto/test-log \
	tests/proto/test-memory \
	tests/proto/test-merge \
	tests/proto/test-message \
	tests/proto/test-packed \
	tests/proto/test-replace \
	tests/proto/test-request \
	tests/proto/test-sequential \
	tests/proto/test-session \
	tests/proto/test-short \
	tests/proto/test-socket \
	tests/proto/test-stress \
	tests/proto/test-truncate \
	tests/proto/test-vring \
	tests/proto/test-watches \
	tests/proto/test-workers

check_PROGRAMS += $(proto_tests)

tests_proto_test_blocks_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_blocks_SOURCES = tests/proto/test-blocks.c
tests_proto_test_blocks_LDADD = tests/proto/libproto.la

tests_proto_test_command_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_command_SOURCES = tests/proto/test-command.c
tests_proto_test_command_LDADD = tests/proto/libproto.la

tests_proto_test_durable_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_durable_SOURCES = tests/proto/test-durable.c
tests_proto_test_durable_LDADD = tests/proto/libproto.la

tests_proto_test_fixed_buffers_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_fixed_buffers_SOURCES = tests/proto/test-fixed-buffers.c
tests_proto_test_fixed_buffers_LDADD = tests/proto/libproto.la

tests_proto_test_framing_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_framing_SOURCES = tests/proto/test-framing.c
tests_proto_test_framing_LDADD = tests/proto/libproto.la

tests_proto_test_host_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_host_SOURCES = tests/proto/test-host.c
tests_proto_test_host_LDADD = tests/proto/libproto.la

tests_proto_test_hostile_churn_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_hostile_churn_SOURCES = tests/proto/test-hostile-churn.c
tests_proto_test_hostile_churn_LDADD = tests/proto/libproto.la

tests_proto_test_hostile_message_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_hostile_message_SOURCES = tests/proto/test-hostile-message.c
tests_proto_test_hostile_message_LDADD = tests/proto/libproto.la

tests_proto_test_hostile_packed_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_hostile_packed_SOURCES = tests/proto/test-hostile-packed.c
tests_proto_test_hostile_packed_LDADD = tests/proto/libproto.la

tests_proto_test_hostile_ring_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_hostile_ring_SOURCES = tests/proto/test-hostile-ring.c
tests_proto_test_hostile_ring_LDADD = tests/proto/libproto.la

tests_proto_test_lock_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_lock_SOURCES = tests/proto/test-lock.c
tests_proto_test_lock_LDADD = tests/proto/libproto.la

tests_proto_test_log_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_log_SOURCES = tests/proto/test-log.c
tests_proto_test_log_LDADD = tests/proto/libproto.la

tests_proto_test_memory_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_memory_SOURCES = tests/proto/test-memory.c
tests_proto_test_memory_LDADD = tests/proto/libproto.la

tests_proto_test_merge_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_merge_SOURCES = tests/proto/test-merge.c
tests_proto_test_merge_LDADD = tests/proto/libproto.la

tests_proto_test_message_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_message_SOURCES = tests/proto/test-message.c
tests_proto_test_message_LDADD = tests/proto/libproto.la

tests_proto_test_packed_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_packed_SOURCES = tests/proto/test-packed.c
tests_proto_test_packed_LDADD = tests/proto/libproto.la

tests_proto_test_replace_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_replace_SOURCES = tests/proto/test-replace.c
tests_proto_test_replace_LDADD = tests/proto/libproto.la

tests_proto_test_request_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_request_SOURCES = tests/proto/test-request.c
tests_proto_test_request_LDADD = tests/proto/libproto.la

tests_proto_test_sequential_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_sequential_SOURCES = tests/proto/test-sequential.c
tests_proto_test_sequential_LDADD = tests/proto/libproto.la

tests_proto_test_session_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_session_SOURCES = tests/proto/test-session.c
tests_proto_test_session_LDADD = tests/proto/libproto.la

tests_proto_test_short_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_short_SOURCES = tests/proto/test-short.c
tests_proto_test_short_LDADD = tests/proto/libproto.la

tests_proto_test_socket_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_socket_SOURCES = tests/proto/test-socket.c
tests_proto_test_socket_LDADD = tests/proto/libproto.la

tests_proto_test_stress_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_stress_SOURCES = tests/proto/test-stress.c
tests_proto_test_stress_LDADD = tests/proto/libproto.la

tests_proto_test_truncate_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_truncate_SOURCES = tests/proto/test-truncate.c
tests_proto_test_truncate_LDADD = tests/proto/libproto.la

tests_proto_test_vring_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_vring_SOURCES = tests/proto/test-vring.c
tests_proto_test_vring_LDADD = tests/proto/libproto.la

tests_proto_test_watches_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_watches_SOURCES = tests/proto/test-watches.c
tests_proto_test_watches_LDADD = tests/proto/libproto.la

tests_proto_test_workers_CPPFLAGS = $(tests_proto_libproto_la_CPPFLAGS)
tests_proto_test_workers_SOURCES = tests/proto/test-workers.c
tests_proto_test_workers_LDADD = tests/proto/libproto.la

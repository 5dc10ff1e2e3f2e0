# SPDX-License-Identifier: BSD-3-Clause
# The unit tests, a program per source file. Included by tests/local.mk after tests/frontend.mk,
# whose libtap.la is their main() and whose libfrontend.la is the driver's side of memory and rings.
#
# $(unit_tests) are the programs for TESTS; they need nothing in their environment. What a test
# defines itself (test-blk-*: see blk.h) the linker does not take from src/libvublkd.la.

unit_tests = \
	tests/unit/test-blk-config \
	tests/unit/test-blk-merge \
	tests/unit/test-blk-merge-results \
	tests/unit/test-blk-req \
	tests/unit/test-blk-rw \
	tests/unit/test-blk-zeroes \
	tests/unit/test-capabilities \
	tests/unit/test-engine \
	tests/unit/test-engine-uring \
	tests/unit/test-image \
	tests/unit/test-image-lock \
	tests/unit/test-iov \
	tests/unit/test-listener \
	tests/unit/test-log \
	tests/unit/test-loop \
	tests/unit/test-mailbox \
	tests/unit/test-options \
	tests/unit/test-poll-policy \
	tests/unit/test-values \
	tests/unit/test-vhu-dev \
	tests/unit/test-vhu-dispatch \
	tests/unit/test-vhu-fd \
	tests/unit/test-vhu-guard \
	tests/unit/test-vhu-inflight \
	tests/unit/test-vhu-mem \
	tests/unit/test-vhu-msg \
	tests/unit/test-vhu-vring \
	tests/unit/test-vhu-ring-state \
	tests/unit/test-vhu-waiting \
	tests/unit/test-vq \
	tests/unit/test-vq-chain \
	tests/unit/test-vq-packed \
	tests/unit/test-vq-split \
	tests/unit/test-vq-track \
	tests/unit/test-worker \
	tests/unit/test-worker-poll

check_PROGRAMS += $(unit_tests)

unit_cppflags = -I$(top_srcdir) $(AM_CPPFLAGS) $(CUNIT_CFLAGS)
unit_libs = tests/libtap.la tests/frontend/libfrontend.la src/libvublkd.la $(CUNIT_LIBS)

EXTRA_DIST += \
	tests/unit/blk-disk.h \
	tests/unit/blk.h \
	tests/unit/blks.h \
	tests/unit/blks-check.h \
	tests/unit/capture.h \
	tests/unit/fds.h \
	tests/unit/gate.h \
	tests/unit/one-queue.h \
	tests/unit/ring.h \
	tests/unit/session.h

tests_unit_test_blk_config_CPPFLAGS = $(unit_cppflags)
tests_unit_test_blk_config_SOURCES = tests/unit/test-blk-config.c
tests_unit_test_blk_config_LDADD = $(unit_libs)

tests_unit_test_blk_merge_CPPFLAGS = $(unit_cppflags)
tests_unit_test_blk_merge_SOURCES = tests/unit/test-blk-merge.c
tests_unit_test_blk_merge_LDADD = $(unit_libs)

tests_unit_test_blk_merge_results_CPPFLAGS = $(unit_cppflags)
tests_unit_test_blk_merge_results_SOURCES = tests/unit/test-blk-merge-results.c
tests_unit_test_blk_merge_results_LDADD = $(unit_libs)

tests_unit_test_blk_req_CPPFLAGS = $(unit_cppflags)
tests_unit_test_blk_req_SOURCES = tests/unit/test-blk-req.c
tests_unit_test_blk_req_LDADD = $(unit_libs)

tests_unit_test_blk_rw_CPPFLAGS = $(unit_cppflags)
tests_unit_test_blk_rw_SOURCES = tests/unit/test-blk-rw.c
tests_unit_test_blk_rw_LDADD = $(unit_libs)

tests_unit_test_blk_zeroes_CPPFLAGS = $(unit_cppflags)
tests_unit_test_blk_zeroes_SOURCES = tests/unit/test-blk-zeroes.c
tests_unit_test_blk_zeroes_LDADD = $(unit_libs)

tests_unit_test_capabilities_CPPFLAGS = $(unit_cppflags)
tests_unit_test_capabilities_SOURCES = tests/unit/test-capabilities.c
tests_unit_test_capabilities_LDADD = $(unit_libs)

tests_unit_test_engine_CPPFLAGS = $(unit_cppflags)
tests_unit_test_engine_SOURCES = tests/unit/test-engine.c
tests_unit_test_engine_LDADD = $(unit_libs)

tests_unit_test_engine_uring_CPPFLAGS = $(unit_cppflags)
tests_unit_test_engine_uring_SOURCES = tests/unit/test-engine-uring.c
tests_unit_test_engine_uring_LDADD = $(unit_libs)

tests_unit_test_image_CPPFLAGS = $(unit_cppflags)
tests_unit_test_image_SOURCES = tests/unit/test-image.c
tests_unit_test_image_LDADD = $(unit_libs)

tests_unit_test_image_lock_CPPFLAGS = $(unit_cppflags)
tests_unit_test_image_lock_SOURCES = tests/unit/test-image-lock.c
tests_unit_test_image_lock_LDADD = $(unit_libs)

tests_unit_test_iov_CPPFLAGS = $(unit_cppflags)
tests_unit_test_iov_SOURCES = tests/unit/test-iov.c
tests_unit_test_iov_LDADD = $(unit_libs)

tests_unit_test_listener_CPPFLAGS = $(unit_cppflags)
tests_unit_test_listener_SOURCES = tests/unit/test-listener.c
tests_unit_test_listener_LDADD = $(unit_libs)

tests_unit_test_log_CPPFLAGS = $(unit_cppflags)
tests_unit_test_log_SOURCES = tests/unit/test-log.c
tests_unit_test_log_LDADD = $(unit_libs)

tests_unit_test_loop_CPPFLAGS = $(unit_cppflags)
tests_unit_test_loop_SOURCES = tests/unit/test-loop.c
tests_unit_test_loop_LDADD = $(unit_libs)

tests_unit_test_mailbox_CPPFLAGS = $(unit_cppflags)
tests_unit_test_mailbox_SOURCES = tests/unit/test-mailbox.c
tests_unit_test_mailbox_LDADD = $(unit_libs)

tests_unit_test_options_CPPFLAGS = $(unit_cppflags)
tests_unit_test_options_SOURCES = tests/unit/test-options.c
tests_unit_test_options_LDADD = $(unit_libs)

tests_unit_test_poll_policy_CPPFLAGS = $(unit_cppflags)
tests_unit_test_poll_policy_SOURCES = tests/unit/test-poll-policy.c
tests_unit_test_poll_policy_LDADD = $(unit_libs)

tests_unit_test_values_CPPFLAGS = $(unit_cppflags)
tests_unit_test_values_SOURCES = tests/unit/test-values.c
tests_unit_test_values_LDADD = $(unit_libs)

tests_unit_test_vhu_dev_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_dev_SOURCES = tests/unit/test-vhu-dev.c
tests_unit_test_vhu_dev_LDADD = $(unit_libs)

tests_unit_test_vhu_dispatch_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_dispatch_SOURCES = tests/unit/test-vhu-dispatch.c
tests_unit_test_vhu_dispatch_LDADD = $(unit_libs)

tests_unit_test_vhu_fd_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_fd_SOURCES = tests/unit/test-vhu-fd.c
tests_unit_test_vhu_fd_LDADD = $(unit_libs)

tests_unit_test_vhu_guard_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_guard_SOURCES = tests/unit/test-vhu-guard.c
tests_unit_test_vhu_guard_LDADD = $(unit_libs)

tests_unit_test_vhu_inflight_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_inflight_SOURCES = tests/unit/test-vhu-inflight.c
tests_unit_test_vhu_inflight_LDADD = $(unit_libs)

tests_unit_test_vhu_mem_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_mem_SOURCES = tests/unit/test-vhu-mem.c
tests_unit_test_vhu_mem_LDADD = $(unit_libs)

tests_unit_test_vhu_msg_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_msg_SOURCES = tests/unit/test-vhu-msg.c
tests_unit_test_vhu_msg_LDADD = $(unit_libs)

tests_unit_test_vhu_ring_state_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_ring_state_SOURCES = tests/unit/test-vhu-ring-state.c
tests_unit_test_vhu_ring_state_LDADD = $(unit_libs)
tests_unit_test_vhu_waiting_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_waiting_SOURCES = tests/unit/test-vhu-waiting.c
tests_unit_test_vhu_waiting_LDADD = $(unit_libs)

tests_unit_test_vhu_vring_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vhu_vring_SOURCES = tests/unit/test-vhu-vring.c
tests_unit_test_vhu_vring_LDADD = $(unit_libs)

tests_unit_test_vq_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vq_SOURCES = tests/unit/test-vq.c
tests_unit_test_vq_LDADD = $(unit_libs)

tests_unit_test_vq_chain_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vq_chain_SOURCES = tests/unit/test-vq-chain.c
tests_unit_test_vq_chain_LDADD = $(unit_libs)

tests_unit_test_vq_packed_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vq_packed_SOURCES = tests/unit/test-vq-packed.c
tests_unit_test_vq_packed_LDADD = $(unit_libs)

tests_unit_test_vq_split_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vq_split_SOURCES = tests/unit/test-vq-split.c
tests_unit_test_vq_split_LDADD = $(unit_libs)

tests_unit_test_vq_track_CPPFLAGS = $(unit_cppflags)
tests_unit_test_vq_track_SOURCES = tests/unit/test-vq-track.c
tests_unit_test_vq_track_LDADD = $(unit_libs)

tests_unit_test_worker_CPPFLAGS = $(unit_cppflags)
tests_unit_test_worker_SOURCES = tests/unit/test-worker.c
tests_unit_test_worker_LDADD = $(unit_libs)

tests_unit_test_worker_poll_CPPFLAGS = $(unit_cppflags)
tests_unit_test_worker_poll_SOURCES = tests/unit/test-worker-poll.c
tests_unit_test_worker_poll_LDADD = $(unit_libs)

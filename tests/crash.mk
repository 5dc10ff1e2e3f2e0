# SPDX-License-Identifier: BSD-3-Clause
# The crash tests. Included by tests/local.mk after tests/frontend.mk, on whose libproto.la they
# stand; they want the same environment.

check_LTLIBRARIES += tests/crash/libcrash.la
tests_crash_libcrash_la_SOURCES = tests/crash/crash.c tests/crash/crash.h
tests_crash_libcrash_la_LIBADD = tests/proto/libproto.la

crash_tests = \
	tests/crash/test-corrupt-region \
	tests/crash/test-crash \
	tests/crash/test-disks \
	tests/crash/test-fence \
	tests/crash/test-fence-memory \
	tests/crash/test-kept \
	tests/crash/test-kill-points

check_PROGRAMS += $(crash_tests)

EXTRA_DIST += tests/crash/soak

tests_crash_test_corrupt_region_LDADD = tests/crash/libcrash.la
tests_crash_test_crash_LDADD = tests/crash/libcrash.la
tests_crash_test_disks_LDADD = tests/crash/libcrash.la
tests_crash_test_fence_LDADD = tests/crash/libcrash.la
tests_crash_test_fence_memory_LDADD = tests/crash/libcrash.la
tests_crash_test_kept_LDADD = tests/crash/libcrash.la
tests_crash_test_kill_points_LDADD = tests/crash/libcrash.la

# All the steps that lib/ has, from the source: none can be forgotten.
tests/crash/test-kill-points.$(OBJEXT): tests/crash/steps.h

tests/crash/test-kept.$(OBJEXT): tests/crash/keep-steps.h

CLEANFILES += tests/crash/steps.h tests/crash/keep-steps.h
tests/crash/keep-steps.h: $(lib_libvublk_la_SOURCES)
	$(AM_V_GEN)$(MKDIR_P) tests/crash
	$(AM_V_at)sed -n 's/.*VQ_KILL_POINT(\("keep-[^"]*"\)).*/\1,/p' $(srcdir)/lib/vhu/*.c | sort -u >$@
tests/crash/steps.h: $(lib_libvublk_la_SOURCES)
	$(AM_V_GEN)$(MKDIR_P) tests/crash
	$(AM_V_at)sed -n 's/.*VQ_KILL_POINT(\("[^"]*"\)).*/\1,/p' $(srcdir)/lib/vq/*.c | sort -u >$@

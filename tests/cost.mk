# SPDX-License-Identifier: BSD-3-Clause
# The tests of what a request costs, counted. Included by tests/local.mk after tests/frontend.mk.

check_PROGRAMS += tests/cost/lockstep tests/cost/test-fairness tests/cost/test-scale
tests_cost_lockstep_LDADD = tests/frontend/libfrontend.la

# To be preloaded into the daemon. Libtool, as we configure it, makes no shared libraries.
check_DATA = tests/cost/count-malloc.so
tests/cost/count-malloc.so: tests/cost/count-malloc.c
	$(AM_V_CC)$(MKDIR_P) tests/cost && $(CC) $(DEFS) -D_GNU_SOURCE= -std=gnu17 $(WARN_CFLAGS) \
		$(CFLAGS) -fPIC -shared -o $@ $(srcdir)/tests/cost/count-malloc.c
CLEANFILES += tests/cost/count-malloc.so

EXTRA_DIST += \
	tests/cost/count-malloc.c \
	tests/cost/lib.sh \
	tests/cost/test-allocations.sh \
	tests/cost/test-idle.sh \
	tests/cost/test-instructions.sh \
	tests/cost/test-notifications.sh \
	tests/cost/test-syscalls.sh

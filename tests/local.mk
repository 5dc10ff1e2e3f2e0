# The tests: `make check` makes the programs, once more with sanitizers (and kill points) in
# sanitized/, and has
# tests/run run everything. CHECK names parts of it, as CHECK='unit proto'; CHECK_FLAGS are options
# of tests/run; SANITIZED= leaves the sanitizers out.
include tests/frontend.mk
include tests/cost.mk
include tests/crash.mk
include tests/guest.mk
include tests/unit.mk

EXTRA_DIST += tests/meta/test-dist.sh tests/meta/test-style.sh tests/cli/lib.sh \
	tests/cli/test-bench.sh tests/cli/test-bench-compare.sh tests/cli/test-help-man.sh

SANITIZED = sanitized

check-local: all $(SANITIZED)
	SRCDIR=$(abs_srcdir) BUILDDIR=$(abs_builddir) $(srcdir)/tests/run $(CHECK_FLAGS) $(CHECK)

sanitized/config.status: $(srcdir)/configure
	$(MKDIR_P) sanitized
	cd sanitized && $(abs_srcdir)/configure --quiet --enable-sanitizers --enable-kill-points \
		--enable-werror \
		CC='$(CC)' CFLAGS='-O1 -g'
sanitized: sanitized/config.status
	$(MAKE) -C sanitized all
	$(MAKE) -C sanitized check CHECK=nothing SANITIZED= CHECK_FLAGS=--list

clean-local:
	rm -rf sanitized tests/log tests/guest-cache

# The tests: `make check` makes the programs, once more with sanitizers (and kill points) in
# sanitized/, and has
# tests/run run everything, on Debian 13, too (tests/debian13). CHECK names parts of it, as
# CHECK='unit proto'; CHECK_FLAGS are options of tests/run; SANITIZED= leaves the sanitizers out,
# DEBIAN13= Debian 13.
include tests/frontend.mk
include tests/cost.mk
include tests/crash.mk
include tests/fuzz.mk
include tests/guest.mk
include tests/unit.mk

EXTRA_DIST += \
	tests/README.md \
	tests/cli/lib.sh \
	tests/cli/machine \
	tests/cli/api_cases.py \
	tests/cli/test-api.sh \
	tests/cli/ctl_fake.py \
	tests/cli/test-bench-compare.sh \
	tests/cli/test-bench.sh \
	tests/cli/test-check-config.sh \
	tests/cli/test-completion.sh \
	tests/cli/test-ctl.sh \
	tests/cli/test-help-man.sh \
	tests/cli/test-limits.sh \
	tests/cli/test-process.sh \
	tests/cli/test-supervise.sh \
	tests/cli/test-systemd.sh \
	tests/debian13 \
	tests/meta/test-bootstrap.sh \
	tests/meta/test-dist.sh \
	tests/meta/test-layers.sh \
	tests/meta/test-protocol.sh \
	tests/meta/test-style.sh

SANITIZED = sanitized
DEBIAN13 = debian13

check-local: all $(SANITIZED) $(DEBIAN13)
	SRCDIR=$(abs_srcdir) BUILDDIR=$(abs_builddir) $(srcdir)/tests/run $(CHECK_FLAGS) $(CHECK)

sanitized/config.status: $(srcdir)/configure
	$(MKDIR_P) sanitized
	cd sanitized && $(abs_srcdir)/configure --quiet --enable-sanitizers --enable-kill-points \
		--enable-guest-gate --enable-werror \
		CC='$(CC)' CFLAGS='-O1 -g'
sanitized: sanitized/config.status
	$(MAKE) -C sanitized all
	$(MAKE) -C sanitized check CHECK=nothing SANITIZED= DEBIAN13= CHECK_FLAGS=--list

# After all others have been made: it is another machine that makes the same, with the same make.
debian13: all $(SANITIZED)
	SRCDIR=$(abs_srcdir) BUILDDIR=$(abs_builddir) $(srcdir)/tests/debian13 make >debian13.log 2>&1 || \
		{ tail -n 40 debian13.log; exit 1; }
	@if test -e debian13/unavailable; then tail -n 1 debian13.log; fi

# The root stays: it is the machine's, and takes a while.
clean-local:
	rm -rf sanitized tests/log tests/guest-cache fuzz debian13/build debian13.log

distclean-local:
	rm -rf debian13

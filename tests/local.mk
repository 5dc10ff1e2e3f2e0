# The tests: `make check` makes the programs and has tests/run run everything; CHECK names parts of
# it, as CHECK='unit proto', CHECK_FLAGS options of tests/run.
include tests/frontend.mk
include tests/guest.mk

demo_programs = tests/guest/poke

check-local: all
	SRCDIR=$(abs_srcdir) BUILDDIR=$(abs_builddir) $(srcdir)/tests/run $(CHECK_FLAGS) $(CHECK)

# A clean build of the tarball runs what needs no guest.

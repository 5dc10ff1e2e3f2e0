# What is installed beside the program, and the demonstration.
EXTRA_DIST += contrib/api/openapi.yaml contrib/grafana/vublkd.json contrib/demo/demo contrib/qemu/50-vublkd.json.in \
	contrib/systemd/vublkd.service.in contrib/systemd/vublkd@.service.in contrib/systemd/vublkd@.socket

completiondir = $(datadir)/bash-completion/completions
dist_completion_DATA = contrib/completion/vublkctl contrib/completion/vublkd
vhostuserdir = $(datadir)/qemu/vhost-user
vhostuser_DATA = contrib/qemu/50-vublkd.json
systemdsystemunit_DATA = contrib/systemd/vublkd.service contrib/systemd/vublkd@.service \
	contrib/systemd/vublkd@.socket
CLEANFILES += contrib/qemu/50-vublkd.json contrib/systemd/vublkd.service \
	contrib/systemd/vublkd@.service

# bindir is known in full only to make.
substitute = $(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) -e 's|@bindir[@]|$(bindir)|g'
contrib/qemu/50-vublkd.json: contrib/qemu/50-vublkd.json.in Makefile
	$(substitute) $(srcdir)/$@.in >$@
contrib/systemd/vublkd.service: contrib/systemd/vublkd.service.in Makefile
	$(substitute) $(srcdir)/$@.in >$@
contrib/systemd/vublkd@.service: contrib/systemd/vublkd@.service.in Makefile
	$(substitute) '$(srcdir)/$@.in' >'$@'

# A real QEMU guest on a disk that vublkd serves.
demo: all $(demo_programs)
	SRCDIR=$(abs_srcdir) BUILDDIR=$(abs_builddir) $(srcdir)/contrib/demo/demo

# vublkd and its peers side by side on this machine; doc/performance.md.
EXTRA_DIST += contrib/bench/compare contrib/bench/pause contrib/bench/children.py contrib/bench/contenders.py \
	contrib/bench/figures.py contrib/bench/image.py contrib/bench/machine.py \
	contrib/bench/plot.py contrib/bench/procfs.py contrib/bench/report.py \
	contrib/bench/trials.py contrib/bench/workloads.py doc/performance.md \
	doc/performance.svg

.PHONY: bench
bench: all
	BUILDDIR=$(abs_builddir) $(srcdir)/contrib/bench/compare --quick --output=$(abs_builddir)/bench

# vublk-bench: measures a vhost-user-blk back-end without a guest.
bin_PROGRAMS += contrib/bench/vublk-bench
contrib_bench_vublk_bench_CPPFLAGS = -I$(top_srcdir) -I$(srcdir)/contrib/bench $(AM_CPPFLAGS)
contrib_bench_vublk_bench_SOURCES = \
	contrib/bench/bench_backend.c contrib/bench/bench_backend.h \
	contrib/bench/bench_clock.c contrib/bench/bench_clock.h \
	contrib/bench/bench_dev.c contrib/bench/bench_dev.h \
	contrib/bench/bench_floor.c contrib/bench/bench_floor.h \
	contrib/bench/bench_hist.c contrib/bench/bench_hist.h \
	contrib/bench/bench_io.c contrib/bench/bench_io.h \
	contrib/bench/bench_main.c \
	contrib/bench/bench_options.c contrib/bench/bench_options.h \
	contrib/bench/bench_queue.c contrib/bench/bench_queue.h \
	contrib/bench/bench_report.c contrib/bench/bench_report.h \
	contrib/bench/bench_run.c contrib/bench/bench_run.h \
	contrib/bench/bench_stats.h \
	contrib/bench/bench_thread.c contrib/bench/bench_thread.h \
	contrib/bench/bench_verify.c contrib/bench/bench_verify.h
contrib_bench_vublk_bench_LDADD = src/libcmdline.la tests/frontend/libfrontend.la

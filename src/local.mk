# Command lines, for all our programs.
noinst_LTLIBRARIES += src/libcmdline.la
src_libcmdline_la_SOURCES = \
	src/base/control_chars.h \
	src/cli/option_table.c src/cli/option_table.h \
	src/cli/std_fds.h \
	src/cli/values.c src/cli/values.h

# vublkd. All but main() is a library, so that the unit tests can have it.
noinst_LTLIBRARIES += src/libvublkd.la
src_libvublkd_la_SOURCES = \
	src/base/clock.h \
	src/base/container.h \
	src/base/host_limits.c src/base/host_limits.h \
	src/base/log.c src/base/log.h \
	src/base/loop.c src/base/loop.h \
	src/base/mailbox.c src/base/mailbox.h \
	src/base/ofd_lock.c src/base/ofd_lock.h \
	src/base/reopen.c src/base/reopen.h \
	src/base/thread.c src/base/thread.h \
	src/cli/capabilities.c src/cli/capabilities.h \
	src/cli/options.c src/cli/options.h \
	src/daemon/daemon.c src/daemon/daemon.h \
	src/daemon/signals.c src/daemon/signals.h \
	src/daemon/workers.c src/daemon/workers.h \
	src/disk/channel.c src/disk/channel.h \
	src/disk/disk_config.h \
	src/disk/disk.c src/disk/disk.h \
	src/disk/frontend.c src/disk/frontend.h \
	src/disk/listener.c src/disk/listener.h \
	src/disk/lock.c src/disk/lock.h \
	src/disk/resize.c src/disk/resize.h \
	src/disk/rings.c src/disk/rings.h \
	src/disk/sharing.c src/disk/sharing.h \
	src/image/blocks.c src/image/blocks.h \
	src/image/claim.c src/image/claim.h \
	src/image/end.c src/image/end.h \
	src/image/file.c \
	src/image/format.c src/image/format.h \
	src/image/image.c src/image/image.h \
	src/image/iopoll.c src/image/iopoll.h \
	src/image/lock.c src/image/lock.h \
	src/image/memory_fence.c src/image/memory_fence.h \
	src/image/null.c \
	src/image/probe.c src/image/probe.h \
	src/image/size.c src/image/size.h \
	src/image/watch.c src/image/watch.h \
	src/io/aio.c \
	src/io/bounce.c src/io/bounce.h \
	src/io/engine.c src/io/engine.h \
	src/io/epoll.c src/io/epoll.h \
	src/io/inbox.c src/io/inbox.h \
	src/io/io.h \
	src/io/list.h \
	src/io/null.c \
	src/io/offload.c src/io/offload.h \
	src/io/reactor.c src/io/reactor.h \
	src/io/registered_memory.c src/io/registered_memory.h \
	src/io/target.c src/io/target.h \
	src/io/uring/buffers.c \
	src/io/uring/faults.h \
	src/io/uring/ops.c \
	src/io/uring/ring.c \
	src/io/uring/target.c \
	src/io/uring/uring.c src/io/uring/uring.h \
	src/io/uring/watch.c \
	src/io/watches.c src/io/watches.h \
	src/queue/memory.c \
	src/queue/queue.c src/queue/queue.h \
	src/queue/sharing_signs.h \
	src/request/cancel.c \
	src/request/config.c src/request/config.h \
	src/request/data.c src/request/data.h \
	src/request/disk.c src/request/disk.h \
	src/request/env.h \
	src/request/exec.c src/request/exec.h \
	src/request/io_errors.c src/request/io_errors.h \
	src/request/merge.c src/request/merge.h \
	src/request/parse.c \
	src/request/request.h \
	src/request/rw.c src/request/rw.h \
	src/request/sync.c src/request/sync.h \
	src/request/zeroes.c src/request/zeroes.h \
	src/worker/poll_policy.c src/worker/poll_policy.h \
	src/worker/task.h \
	src/worker/worker.c src/worker/worker.h
src_libvublkd_la_LIBADD = src/libcmdline.la lib/libvublk.la $(LIBURING_LIBS) $(LIBAIO_LIBS) $(JANSSON_LIBS) \
	$(SYSTEMD_LIBS)

bin_PROGRAMS += src/vublkd
src_vublkd_SOURCES = src/main.c
src_vublkd_LDADD = src/libvublkd.la

# Command lines, for all our programs.
noinst_LTLIBRARIES += src/libcmdline.la
src_libcmdline_la_SOURCES = \
	src/control_chars.h \
	src/option_table.c src/option_table.h \
	src/std_fds.h \
	src/values.c src/values.h

# vublkd. All but main() is a library, so that the unit tests can have it.
noinst_LTLIBRARIES += src/libvublkd.la
src_libvublkd_la_SOURCES = \
	src/blk_config.c src/blk_config.h \
	src/blk_disk.h \
	src/blk_merge.c src/blk_merge.h \
	src/blk_req.c src/blk_req.h \
	src/blk_rw.c \
	src/blk_sync.c src/blk_sync.h \
	src/blk_zeroes.c \
	src/capabilities.c src/capabilities.h \
	src/container.h \
	src/disk.c src/disk.h \
	src/disk_lock.c src/disk_lock.h \
	src/engine.c src/engine.h src/engine_internal.h \
	src/engine_aio.c \
	src/engine_epoll.c src/engine_epoll.h \
	src/engine_files.c src/engine_files.h \
	src/engine_null.c \
	src/engine_uring.c src/engine_uring.h \
	src/engine_uring_buffers.c \
	src/engine_uring_ops.c \
	src/engine_uring_ring.c \
	src/engine_uring_watch.c \
	src/engine_watches.c src/engine_watches.h \
	src/image.c src/image.h \
	src/image_blocks.c src/image_blocks.h \
	src/image_end.c src/image_end.h \
	src/image_iopoll.c src/image_iopoll.h \
	src/image_claim.c src/image_claim.h \
	src/image_format.c src/image_format.h \
	src/image_lock.c src/image_lock.h \
	src/image_probe.c src/image_probe.h \
	src/image_watch.c src/image_watch.h \
	src/host_limits.c src/host_limits.h \
	src/io_errors.c src/io_errors.h \
	src/listener.c src/listener.h \
	src/log.c src/log.h \
	src/loop.c src/loop.h \
	src/mailbox.c src/mailbox.h \
	src/memory_fence.c src/memory_fence.h \
	src/now.h \
	src/offload.c src/offload.h \
	src/ofd_lock.c src/ofd_lock.h \
	src/options.c src/options.h \
	src/poll_policy.c src/poll_policy.h \
	src/queue.c src/queue.h \
	src/queue_memory.c \
	src/registered_memory.c src/registered_memory.h \
	src/reopen.c src/reopen.h \
	src/server.c src/server.h \
	src/sharing.c src/sharing.h \
	src/thread.c src/thread.h \
	src/worker.c src/worker.h
src_libvublkd_la_LIBADD = src/libcmdline.la lib/libvublk.la $(LIBURING_LIBS) $(LIBAIO_LIBS) $(JANSSON_LIBS) \
	$(SYSTEMD_LIBS)

bin_PROGRAMS += src/vublkd
src_vublkd_SOURCES = src/main.c
src_vublkd_LDADD = src/libvublkd.la

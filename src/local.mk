# Command lines, for all our programs.
noinst_LTLIBRARIES += src/libcmdline.la
src_libcmdline_la_SOURCES = \
	src/base/control_chars.h \
	src/cli/std_fds.h \
	src/config/option_table.c src/config/option_table.h \
	src/config/values.c src/config/values.h

# vublkd. All but main() is a library, so that the unit tests can have it.
noinst_LTLIBRARIES += src/libvublkd.la
src_libvublkd_la_SOURCES = \
	src/api/api.c src/api/api.h \
	src/api/disk_json.c src/api/disk_json.h \
	src/api/events.c src/api/events.h \
	src/api/http.c src/api/http.h \
	src/api/metrics.c src/api/metrics.h \
	src/api/metrics_server.c src/api/metrics_server.h \
	src/api/routes.c src/api/routes.h \
	src/api/view.h \
	src/api/writer.c src/api/writer.h \
	src/base/clock.h \
	src/base/container.h \
	src/base/counter.h \
	src/base/fdstore.c src/base/fdstore.h \
	src/base/host_limits.c src/base/host_limits.h \
	src/base/file_key.c src/base/file_key.h \
	src/base/kept_name.c src/base/kept_name.h \
	src/base/log.c src/base/log.h \
	src/base/loop.c src/base/loop.h \
	src/base/mailbox.c src/base/mailbox.h \
	src/base/notify.c src/base/notify.h \
	src/base/ofd_lock.c src/base/ofd_lock.h \
	src/base/reopen.c src/base/reopen.h \
	src/base/thread.c src/base/thread.h \
	src/cli/capabilities.c src/cli/capabilities.h \
	src/cli/options.c src/cli/options.h \
	src/cli/supervise.c src/cli/supervise.h \
	src/config/disk_options.c src/config/disk_options.h \
	src/config/settings.c src/config/settings.h \
	src/disks/config_dir.c src/disks/config_dir.h \
	src/daemon/daemon.c src/daemon/daemon.h \
	src/disks/disks.c src/disks/disks.h \
	src/disks/kept_options.c src/disks/kept_options.h \
	src/daemon/signals.c src/daemon/signals.h \
	src/daemon/workers.c src/daemon/workers.h \
	src/disk/channel.c src/disk/channel.h \
	src/disk/counters.c src/disk/counters.h \
	src/disk/disk_config.h \
	src/disk/disk.c src/disk/disk.h \
	src/disk/draining.c src/disk/draining.h \
	src/disk/frontend.c src/disk/frontend.h \
	src/disk/kept.c src/disk/kept.h \
	src/disk/kept_socket.c src/disk/kept_socket.h \
	src/disk/listener.c src/disk/listener.h \
	src/disk/listening.c src/disk/listening.h \
	src/disk/lock.c src/disk/lock.h \
	src/disk/openings.c src/disk/openings.h \
	src/disk/placement.c src/disk/placement.h \
	src/disk/resize.c src/disk/resize.h \
	src/disk/rings.c src/disk/rings.h \
	src/disk/sharing.c src/disk/sharing.h \
	src/disk/throttling.c src/disk/throttling.h \
	src/disk/translations.c src/disk/translations.h \
	src/disk/waiting.h \
	src/disk/write_cache.c src/disk/write_cache.h \
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
	src/image/wires.c src/image/wires.h \
	src/io/aio.c \
	src/io/bounce.c src/io/bounce.h \
	src/io/engine.c src/io/engine.h \
	src/io/epoll.c src/io/epoll.h \
	src/io/fair.c src/io/fair.h \
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
	src/queue/throttle.c src/queue/throttle.h \
	src/request/cancel.c \
	src/request/config.c src/request/config.h \
	src/request/counters.c src/request/counters.h \
	src/request/data.c src/request/data.h \
	src/request/disk.c src/request/disk.h \
	src/request/env.h \
	src/request/exec.c src/request/exec.h \
	src/request/io_errors.c src/request/io_errors.h \
	src/request/limits.c src/request/limits.h \
	src/request/merge.c src/request/merge.h \
	src/request/parse.c \
	src/request/request.h \
	src/request/rw.c src/request/rw.h \
	src/request/sync.c src/request/sync.h \
	src/request/tally.c src/request/tally.h \
	src/request/zeroes.c src/request/zeroes.h \
	src/worker/poll_policy.c src/worker/neighbours.h src/worker/poll_policy.h \
	src/worker/task.h \
	src/worker/worker.c src/worker/worker.h
src_libvublkd_la_LIBADD = src/libcmdline.la lib/libvublk.la $(LIBURING_LIBS) $(LIBAIO_LIBS) $(JANSSON_LIBS) $(MICROHTTPD_LIBS) \
	$(SYSTEMD_LIBS)

bin_PROGRAMS += src/vublkd
src_vublkd_SOURCES = src/main.c
src_vublkd_CPPFLAGS = $(AM_CPPFLAGS) -DKEEPER_PATH='"$(pkglibexecdir)/vublkd-keeper"'
src_vublkd_LDADD = src/libvublkd.la

# The keeper of descriptors, with nothing but libc.
noinst_LTLIBRARIES += src/libkeeper.la
src_libkeeper_la_SOURCES = \
	src/base/clock.h \
	src/base/container.h \
	src/base/control_chars.h \
	src/base/host_limits.c src/base/host_limits.h \
	src/base/log.c src/base/log.h \
	src/base/notify.c src/base/notify.h \
	src/base/reopen.c src/base/reopen.h \
	src/keeper/file_index.c src/keeper/file_index.h \
	src/keeper/given.c src/keeper/given.h \
	src/keeper/hearing.c src/keeper/hearing.h \
	src/keeper/keeper.c src/keeper/keeper.h \
	src/keeper/launch.c src/keeper/launch.h \
	src/keeper/manager.c src/keeper/manager.h \
	src/keeper/message.c src/keeper/message.h \
	src/keeper/notices.c src/keeper/notices.h \
	src/keeper/restarts.c src/keeper/restarts.h \
	src/keeper/store.c src/keeper/store.h

pkglibexec_PROGRAMS += src/vublkd-keeper
src_vublkd_keeper_SOURCES = src/keeper/main.c
src_vublkd_keeper_LDADD = src/libkeeper.la

# vublkctl, which only knows the API.
bin_PROGRAMS += src/vublkctl
src_vublkctl_SOURCES = \
	src/base/clock.h \
	src/ctl/change.c src/ctl/change.h \
	src/ctl/client.c src/ctl/client.h \
	src/ctl/commands.c src/ctl/commands.h \
	src/ctl/ctl.c src/ctl/ctl.h \
	src/ctl/events.c src/ctl/events.h \
	src/ctl/interrupt.c src/ctl/interrupt.h \
	src/ctl/main.c \
	src/ctl/options.c src/ctl/options.h \
	src/ctl/process.c src/ctl/process.h \
	src/ctl/sample.c src/ctl/sample.h \
	src/ctl/screen.c src/ctl/screen.h \
	src/ctl/show.c src/ctl/show.h \
	src/ctl/table.c src/ctl/table.h \
	src/ctl/text.c src/ctl/text.h \
	src/ctl/top.c src/ctl/top.h \
	src/ctl/upgrade.c src/ctl/upgrade.h \
	src/ctl/view.c src/ctl/view.h
src_vublkctl_LDADD = src/libcmdline.la $(CURL_LIBS) $(JANSSON_LIBS)

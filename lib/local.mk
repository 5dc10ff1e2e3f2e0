# libvublk: vhost-user and virtqueues.
noinst_LTLIBRARIES += lib/libvublk.la
lib_libvublk_la_SOURCES = \
	lib/iov.c \
	lib/vhu_dev.c lib/vhu_dev.h \
	lib/vhu_dispatch.c \
	lib/vhu_fd.c lib/vhu_fd.h \
	lib/vhu_guard.c lib/vhu_guard.h \
	lib/vhu_inflight.c lib/vhu_inflight.h \
	lib/vhu_log.c lib/vhu_log.h \
	lib/vhu_mem.c lib/vhu_mem.h \
	lib/vhu_msg.c lib/vhu_msg.h \
	lib/vhu_proto.h \
	lib/vhu_vring.c \
	lib/vq.c lib/vq.h \
	lib/vq_chain.c \
	lib/vq_packed.c \
	lib/vq_split.c \
	lib/vq_step.c lib/vq_step.h \
	lib/vq_track.c lib/vq_track.h \
	lib/vq_track_packed.c \
	lib/vq_track_split.c \
	lib/vublk.h

# libvublk: vhost-user and virtqueues.
noinst_LTLIBRARIES += lib/libvublk.la
lib_libvublk_la_SOURCES = \
	lib/guest.h \
	lib/iov.c \
	lib/log.c lib/log.h \
	lib/proto.h \
	lib/vublk.h \
	lib/shared/dirty_log.c lib/shared/dirty_log.h \
	lib/shared/fd.c lib/shared/fd.h \
	lib/shared/gate.c lib/shared/gate.h \
	lib/shared/guard.c lib/shared/guard.h \
	lib/shared/inband.h \
	lib/shared/inflight.c lib/shared/inflight.h \
	lib/shared/iotlb.c lib/shared/iotlb.h \
	lib/shared/mem.c lib/shared/mem.h \
	lib/shared/view.c lib/shared/view.h \
	lib/vhu/adopt.c \
	lib/vhu/backend.c lib/vhu/backend.h \
	lib/vhu/dev.c lib/vhu/dev.h \
	lib/vhu/dispatch.c \
	lib/vhu/inband.c \
	lib/vhu/iommu.c \
	lib/vhu/keep.c \
	lib/vhu/memory.c \
	lib/vhu/msg.c lib/vhu/msg.h \
	lib/vhu/postcopy.c \
	lib/vhu/record.c lib/vhu/record.h \
	lib/vhu/report.c \
	lib/vhu/ring_state.c lib/vhu/ring_state.h \
	lib/vhu/session.c lib/vhu/session.h \
	lib/vhu/state.h \
	lib/vhu/transfer.c \
	lib/vhu/vring.c \
	lib/vhu/vring_msg.c \
	lib/vq/chain.c \
	lib/vq/dirty.c lib/vq/dirty.h \
	lib/vq/iommu.c \
	lib/vq/kill_point.c lib/vq/kill_point.h \
	lib/vq/packed.c \
	lib/vq/queue.c \
	lib/vq/ring.h \
	lib/vq/split.c \
	lib/vq/track.c lib/vq/track.h \
	lib/vq/track_packed.c \
	lib/vq/track_split.c

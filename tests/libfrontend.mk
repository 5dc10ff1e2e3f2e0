# SPDX-License-Identifier: BSD-3-Clause
# The scripted front-end: what the tests drive the daemon with, and vublk-bench stands on. It needs
# no CUnit. Included by the top Makefile.am.
noinst_LTLIBRARIES += tests/frontend/libfrontend.la

tests_frontend_libfrontend_la_SOURCES = \
	lib/shared/inflight.h \
	lib/proto.h \
	tests/frontend/fe_blk.c \
	tests/frontend/fe_blk.h \
	tests/frontend/fe_conn.c \
	tests/frontend/fe_conn.h \
	tests/frontend/fe_daemon.c \
	tests/frontend/fe_daemon.h \
	tests/frontend/fe_dev.c \
	tests/frontend/fe_dev.h \
	tests/frontend/fe_fds.h \
	tests/frontend/fe_fixed.c \
	tests/frontend/fe_fixed.h \
	tests/frontend/fe_image.c \
	tests/frontend/fe_image.h \
	tests/frontend/fe_inflight.c \
	tests/frontend/fe_inflight.h \
	tests/frontend/fe_iommu.c \
	tests/frontend/fe_iommu.h \
	tests/frontend/fe_keeper.c \
	tests/frontend/fe_keeper.h \
	tests/frontend/fe_postcopy.c \
	tests/frontend/fe_postcopy.h \
	tests/frontend/fe_loop.c \
	tests/frontend/fe_loop.h \
	tests/frontend/fe_mem.c \
	tests/frontend/fe_mem.h \
	tests/frontend/fe_shadow.c \
	tests/frontend/fe_shadow.h \
	tests/frontend/fe_time.c \
	tests/frontend/fe_time.h \
	tests/frontend/fe_vq.c \
	tests/frontend/fe_vq.h \
	tests/frontend/fe_vq_kind.h \
	tests/frontend/fe_vq_packed.c \
	tests/frontend/fe_vq_packed.h \
	tests/frontend/fe_vq_split.c \
	tests/frontend/fe_vq_split.h

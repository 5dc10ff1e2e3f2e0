# SPDX-License-Identifier: BSD-3-Clause
# The fuzz targets, which tests/fuzz/fuzz builds: with another compiler, and only when it runs them.
EXTRA_DIST += \
	tests/fuzz/fuzz \
	tests/fuzz/fuzz.h \
	tests/fuzz/fuzz-api.c \
	tests/fuzz/fuzz-config.c \
	tests/fuzz/fuzz-keeper.c \
	tests/fuzz/fuzz-options.c \
	tests/fuzz/fuzz-request.c \
	tests/fuzz/fuzz-ring.c \
	tests/fuzz/fuzz-session.c \
	tests/fuzz/fuzz-settings.c \
	tests/fuzz/ring_driver.c \
	tests/fuzz/ring_model.c \
	tests/fuzz/ring_model.h \
	tests/fuzz/ring_model_blk.c \
	tests/fuzz/seeds.py \
	tests/fuzz/session_user.c \
	tests/fuzz/session_user.h \
	tests/fuzz/standalone.c \
	tests/fuzz/test-fuzz.sh

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's state on its way to another back-end ("Migrating back-end state"). It has no more to
 * it than the front-end does not carry itself: that there is one, of which version, and 32 bits of
 * the device type's (vublk_ops). Control thread; the channel is the front-end's, and untrusted.
 *
 * A state is small: it is saved in one write, or not at all. Loading takes what comes, when it
 * comes, until the channel's end. Whoever sends more than a state has sent none, and finds the
 * channel closed. Nothing waits; what is not at its end when the front-end asks, which it does
 * when it has closed its side (CHECK_DEVICE_STATE), has failed.
 */
#ifndef VHU_STATE_H
#define VHU_STATE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHU_STATE_MAGIC   "vublk\0\0" /* 8 bytes */
#define VHU_STATE_VERSION 1u

/* In native byte order, which a version that is another one tells. */
struct vhu_state {
	char magic[8];
	uint32_t version;
	uint32_t device; /* the device type's */
};
static_assert(sizeof(struct vhu_state) == 16, "change its version, too");

struct vhu_transfer {
	int fd;    /* from which a state is loaded, -1: none is */
	bool good; /* the last transfer has succeeded */
	size_t n;  /* bytes loaded so far */
	union {
		struct vhu_state state;
		char bytes[sizeof(struct vhu_state) + 1]; /* one is too many */
	};
};

#endif

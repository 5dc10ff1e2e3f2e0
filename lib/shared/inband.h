/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a ring's front-end is still to be told by messages ("In-band notifications"), instead of by
 * its call and error descriptors. Who has the ring notes it, a worker most of the time; the control
 * thread sends it (vhu/inband.c). So the one never waits for the front-end's channel, the other
 * never mixes two messages, and what is due twice is said once: nothing grows.
 */
#ifndef SHARED_INBAND_H
#define SHARED_INBAND_H

#include <stdatomic.h>

enum vhu_inband_what {
	VHU_INBAND_CALL = 1,
	VHU_INBAND_ERR = 2,
};

/* Of one ring, on a cache line of its own: its worker and the control thread write it. */
struct vhu_inband {
	_Alignas(64) atomic_uint due; /* bits of enum vhu_inband_what */
	/* Has the control thread send what is due, soon. Constant while the ring is in use. */
	void (*announce)(void *opaque);
	void *opaque;
};

/* The front-end is to be told this. Any thread. */
static inline void vhu_inband_raise(struct vhu_inband *inband, enum vhu_inband_what what)
{
	/* What was due before is on its way, or waits for room or a channel. */
	if (!(atomic_fetch_or(&inband->due, what) & what))
		inband->announce(inband->opaque);
}

#endif

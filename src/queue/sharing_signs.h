/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rings show of whether the guest's memory is shared; disk/sharing.h looks at it.
 */
#ifndef QUEUE_SHARING_SIGNS_H
#define QUEUE_SHARING_SIGNS_H

#include <stdatomic.h>

/* Of a disk; written by workers, each at most once in a while. */
struct sharing_signs {
	atomic_bool kicked;       /* a ring, and nothing was in it */
	atomic_bool kicked_again; /* the same ring, and still nothing */
	atomic_bool popped;       /* something was in a ring */
};

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of a reactor's watches. The kernel is given a tag instead of a pointer: slot and
 * generation, so that an event which arrives (or was already fetched) after its watch has ended
 * is recognised and dropped, although the slot, and the watch's memory, may be in use again.
 *
 *	tag = generation (32 bits) | slot (29 bits) | 000
 *
 * The low three bits are zero as those of a pointer to struct io are; io/uring/uring.c tells its
 * kinds of completion apart by them. The reactor's thread only.
 */
#ifndef IO_WATCHES_H
#define IO_WATCHES_H

#include <assert.h>
#include <stddef.h>

#include "io/reactor.h"

#define WATCH_TAG_TYPE_BITS 3
#define WATCH_TAG_SLOT_BITS 29
#define WATCHES_MAX         65536

static_assert(WATCH_TAG_TYPE_BITS + WATCH_TAG_SLOT_BITS == 32, "a tag is 64 bits wide");
static_assert(WATCHES_MAX <= 1 << WATCH_TAG_SLOT_BITS, "a slot fits into its bits");

struct watch_slot {
	struct reactor_watch *watch; /* NULL: ended, or free */
	uint32_t generation;         /* of the present watch, or of the next one */
	int next;      /* in the list of free ones, or in the reactor's own; -1: last */
	uint8_t state; /* the reactor's own; 0 when fresh */
};

struct watches {
	struct watch_slot *slots;
	int count;
	int free; /* first of the free ones, -1: none */
};

void watches_init(struct watches *watches);
void watches_destroy(struct watches *watches);

/* Takes a slot for a watch and notes it in watch->slot. 0 or -ENOMEM. */
int watches_add(struct watches *watches, struct reactor_watch *watch);

/* Is it in the table? A zeroed one, or one that has ended, is not. */
bool watches_has(const struct watches *watches, const struct reactor_watch *watch);

/* Ends a watch that is in the table: its tag is stale from now on. Its slot is not yet free. */
void watches_end(struct watches *watches, struct reactor_watch *watch);

/* Gives the slot of an ended watch back. */
void watches_free(struct watches *watches, int slot);

/* The tag of the watch in a slot. */
static inline uint64_t watches_tag(const struct watches *watches, int slot)
{
	return (uint64_t)watches->slots[slot].generation << 32 | (uint64_t)slot
									 << WATCH_TAG_TYPE_BITS;
}

/* The slot of a tag, or NULL when its watch has ended. */
static inline struct watch_slot *watches_find(struct watches *watches, uint64_t tag)
{
	uint32_t i = (uint32_t)tag >> WATCH_TAG_TYPE_BITS;
	struct watch_slot *slot;

	if (i >= (uint32_t)watches->count)
		return NULL;
	slot = &watches->slots[i];
	return slot->watch && slot->generation == tag >> 32 ? slot : NULL;
}

#endif

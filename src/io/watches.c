/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/watches.h. */
#include "io/watches.h"

#include <errno.h>
#include <stdlib.h>

void watches_init(struct watches *watches)
{
	*watches = (struct watches){.free = -1};
}

void watches_destroy(struct watches *watches)
{
	free(watches->slots);
}

/* Doubles the table. Slots move, which is why nobody outside keeps a pointer to one. */
static int grow(struct watches *watches)
{
	int count = watches->count ? watches->count * 2 : 16;
	struct watch_slot *slots;

	if (count > WATCHES_MAX)
		return -ENOMEM;
	slots = reallocarray(watches->slots, (size_t)count, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	watches->slots = slots;
	for (int i = count - 1; i >= watches->count; i--) {
		slots[i] = (struct watch_slot){.next = watches->free};
		watches->free = i;
	}
	watches->count = count;
	return 0;
}

int watches_add(struct watches *watches, struct reactor_watch *watch)
{
	int i, err;

	if (watches->free < 0) {
		err = grow(watches);
		if (err)
			return err;
	}
	i = watches->free;
	watches->free = watches->slots[i].next;
	watches->slots[i].next = -1;
	watches->slots[i].state = 0;
	watches->slots[i].watch = watch;
	watch->slot = i;
	return 0;
}

bool watches_has(const struct watches *watches, const struct reactor_watch *watch)
{
	return watch->slot >= 0 && watch->slot < watches->count &&
	       watches->slots[watch->slot].watch == watch;
}

void watches_end(struct watches *watches, struct reactor_watch *watch)
{
	struct watch_slot *slot = &watches->slots[watch->slot];

	slot->watch = NULL;
	slot->generation++;
	watch->slot = -1;
}

void watches_free(struct watches *watches, int slot)
{
	watches->slots[slot].next = watches->free;
	watches->free = slot;
}

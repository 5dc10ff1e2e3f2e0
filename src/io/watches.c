/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/watches.h. */
#include "io/watches.h"

#include <errno.h>
#include <stdlib.h>

void engine_watches_init(struct engine_watches *watches)
{
	*watches = (struct engine_watches){.free = -1};
}

void engine_watches_destroy(struct engine_watches *watches)
{
	free(watches->slots);
}

/* Doubles the table. Slots move, which is why nobody outside keeps a pointer to one. */
static int grow(struct engine_watches *watches)
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

int engine_watches_add(struct engine_watches *watches, struct engine_watch *watch)
{
	int i, ret;

	if (watches->free < 0) {
		ret = grow(watches);
		if (ret)
			return ret;
	}
	i = watches->free;
	watches->free = watches->slots[i].next;
	watches->slots[i].next = -1;
	watches->slots[i].state = 0;
	watches->slots[i].watch = watch;
	watch->slot = i;
	return 0;
}

bool engine_watches_has(const struct engine_watches *watches, const struct engine_watch *watch)
{
	return watch->slot >= 0 && watch->slot < watches->count &&
	       watches->slots[watch->slot].watch == watch;
}

void engine_watches_end(struct engine_watches *watches, struct engine_watch *watch)
{
	struct watch_slot *slot = &watches->slots[watch->slot];

	slot->watch = NULL;
	slot->generation++;
	watch->slot = -1;
}

void engine_watches_free(struct engine_watches *watches, int slot)
{
	watches->slots[slot].next = watches->free;
	watches->free = slot;
}

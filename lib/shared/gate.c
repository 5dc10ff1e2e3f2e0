/* SPDX-License-Identifier: BSD-3-Clause */
/* See shared/gate.h. For tests only, so it may be slow. */
#include "shared/gate.h"

#ifdef VUBLK_GUEST_GATE

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "shared/guard.h"
#include "vublk.h"

struct gate {
	struct gate *next;
	uintptr_t base;
	char *writable;
	size_t size;
	int guard;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gate *gates;

static int map(struct gate *gate, int fd, off_t offset)
{
	gate->writable = mmap(NULL, gate->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			      fd, offset);
	if (gate->writable == MAP_FAILED)
		return -errno;
	madvise(gate->writable, gate->size, MADV_DONTDUMP);
	gate->guard = vhu_guard_add(gate->writable, gate->size);
	if (gate->guard >= 0)
		return 0;
	munmap(gate->writable, gate->size);
	return gate->guard;
}

int vhu_gate_open(void *base, size_t size, int fd, off_t offset)
{
	struct gate *gate = malloc(sizeof(*gate));
	int err;

	if (!gate)
		return -ENOMEM;
	*gate = (struct gate){.base = (uintptr_t)base, .size = size};
	err = map(gate, fd, offset);
	if (err) {
		free(gate);
		return err;
	}
	pthread_mutex_lock(&lock);
	gate->next = gates;
	gates = gate;
	pthread_mutex_unlock(&lock);
	return 0;
}

/* Under the lock: the link to the gate that the address is behind, or to NULL. */
static struct gate **find(const void *at)
{
	struct gate **link = &gates;

	while (*link && (uintptr_t)at - (*link)->base >= (*link)->size)
		link = &(*link)->next;
	return link;
}

void vhu_gate_close(void *base)
{
	struct gate **link, *gate;

	pthread_mutex_lock(&lock);
	link = find(base);
	gate = *link;
	*link = gate->next;
	pthread_mutex_unlock(&lock);
	vhu_guard_remove(gate->guard);
	munmap(gate->writable, gate->size);
	free(gate);
}

bool vhu_gate_is_lost(const void *base)
{
	bool lost;

	pthread_mutex_lock(&lock);
	lost = vhu_guard_is_lost((*find(base))->guard);
	pthread_mutex_unlock(&lock);
	return lost;
}

void *vublk_guest_writable(void *at)
{
	const struct gate *gate;
	void *writable;

	pthread_mutex_lock(&lock);
	gate = *find(at);
	/* Tests have memory of their own, too. */
	writable = gate ? gate->writable + ((uintptr_t)at - gate->base) : at;
	pthread_mutex_unlock(&lock);
	return writable;
}

#endif

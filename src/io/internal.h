/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the engines share and their users need not see: lists of operations, the two ways to call
 * back, and the switch by which tests make a new kernel look old. Everything here belongs to the
 * thread that owns the engine.
 */
#ifndef IO_INTERNAL_H
#define IO_INTERNAL_H

#include "base/container.h"
#include "io/engine.h"

/* A first-in-first-out list through io.next. All zero is an empty one. */
struct io_list {
	struct io *head, *tail; /* tail means nothing while head is NULL */
};

static inline void io_list_push(struct io_list *list, struct io *io)
{
	io->next = NULL;
	if (list->head)
		list->tail->next = io;
	else
		list->head = io;
	list->tail = io;
}

/* The oldest one, taken off, or NULL. */
static inline struct io *io_list_pop(struct io_list *list)
{
	struct io *io = list->head;

	if (io)
		list->head = io->next;
	return io;
}

/* Takes one out, wherever it is. Was it in the list? */
static inline bool io_list_remove(struct io_list *list, struct io *io)
{
	struct io *before = NULL;

	for (struct io *at = list->head; at; before = at, at = at->next) {
		if (at != io)
			continue;
		if (before)
			before->next = io->next;
		else
			list->head = io->next;
		if (list->tail == io)
			list->tail = before;
		return true;
	}
	return false;
}

/* All of `from` behind `list`; `from` is empty then. */
static inline void io_list_append(struct io_list *list, struct io_list *from)
{
	if (!from->head)
		return;
	if (list->head)
		list->tail->next = from->head;
	else
		list->head = from->head;
	list->tail = from->tail;
	from->head = NULL;
}

/* Delivers a completion. The operation is its owner's again, who may submit it from within. */
static inline void engine_complete(struct engine *engine, struct io *io, int64_t result)
{
	io->result = result;
	engine->delivered++;
	io->done(io);
}

/* Delivers a watch. It may be gone when this returns. */
static inline void engine_ready(struct engine *engine, struct engine_watch *watch)
{
	engine->delivered++;
	watch->ready(watch);
}

/*
 * For tests only, zero otherwise: what engine_uring's open() is to do without, as on an older
 * kernel, so that its fall-backs run everywhere. Read at open().
 */
#define URING_WITHOUT_DEFER_TASKRUN 0x01u /* before 6.1 */
#define URING_WITHOUT_COOP_TASKRUN  0x02u /* before 5.19 */
#define URING_WITHOUT_FIXED_FILES   0x04u /* sparse tables: before 5.19 */
#define URING_WITHOUT_RING_FD       0x08u /* before 5.18 */
#define URING_WITHOUT_MULTISHOT     0x10u /* before 5.13 */
#define URING_WITHOUT_LARGE_RINGS   0x20u /* rings of a few entries, so that they overflow */
#define URING_WITHOUT_FIXED_BUFFERS 0x40u /* sparse tables: before 5.19 */
extern unsigned engine_uring_without;

/* For tests only, zero otherwise: what is to go wrong. */
#define URING_FAULT_POISON  0x01u /* the entries of a new ring are full of ones */
#define URING_FAULT_WATCHES 0x02u /* the kernel takes no watch */
extern unsigned engine_uring_faults;

#endif

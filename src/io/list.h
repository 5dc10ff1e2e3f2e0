/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of operations. Whoever owns the list. */
#ifndef IO_LIST_H
#define IO_LIST_H

#include <stddef.h>

#include "io/io.h"

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

#endif

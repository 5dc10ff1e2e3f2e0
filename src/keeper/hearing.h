/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hears the child, and nobody else: what a message says of descriptors is done here, the rest is
 * handed on. What is wrong, or a stranger's, is logged, and its descriptors are closed.
 */
#ifndef KEEPER_HEARING_H
#define KEEPER_HEARING_H

#include <sys/types.h>

#include "keeper/message.h"
#include "keeper/notices.h"
#include "keeper/store.h"

struct hearing {
	struct notices notices;
	struct store *store;
	pid_t child; /* 0: there is none */
	void (*heard)(struct hearing *hearing, const struct message *message);
};

/* Reads what has come, so many messages at most. */
void hearing_take(struct hearing *hearing, unsigned most);

/* The same with all that a child has said that has ended and was not waited for yet. */
void hearing_take_last(struct hearing *hearing);

#endif

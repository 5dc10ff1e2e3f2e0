/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which open files there are among many descriptors: each is found by a few system calls, however
 * many there are, for kcmp(2) puts open files into an order.
 */
#ifndef KEEPER_FILE_INDEX_H
#define KEEPER_FILE_INDEX_H

#include <stdbool.h>

struct file_index {
	int *fd; /* in that order */
	unsigned n;
};

/* With room for so many. 0 or -ENOMEM. */
int file_index_init(struct file_index *index, unsigned most);

/*
 * Is there a descriptor of the same open file? *at is where it is, or belongs. -errno if the
 * kernel does not say: without CONFIG_KCMP, or behind a filter of system calls.
 */
int file_index_find(const struct file_index *index, int fd, unsigned *at);

/* Puts one in that is not there, where file_index_find() has said. */
void file_index_insert(struct file_index *index, unsigned at, int fd);

/* Takes it out, if it is in. Before it is closed. */
void file_index_remove(struct file_index *index, int fd);

#endif

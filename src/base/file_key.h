/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether two descriptors are of one file, without having both. Any thread. */
#ifndef BASE_FILE_KEY_H
#define BASE_FILE_KEY_H

#include <stdbool.h>
#include <stdint.h>

/* As long as the file is open somewhere it has this key, and nothing else has. */
struct file_key {
	uint64_t device, inode;
	uint64_t number; /* of an eventfd, all of which have one inode */
	int access;      /* O_RDONLY, O_WRONLY or O_RDWR: the ends of a pipe are one inode, too */
};

/*
 * The key of an open file. 0, or -errno: -EOPNOTSUPP for what has no inode of its own, and no
 * number either: eventfds before Linux 5.2.
 */
int file_key_get(int fd, struct file_key *key);

static inline bool file_key_equal(const struct file_key *a, const struct file_key *b)
{
	return a->device == b->device && a->inode == b->inode && a->number == b->number &&
	       a->access == b->access;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptors that are kept, with their names, in the order in which they came. Owns them.
 * What hangs up is dropped, unless it is to be kept whatever happens to it. All that is kept can
 * be passed on: there is a bound for how many, and one for the bytes of their names, for these
 * have to stand in one string of the next process's environment.
 */
#ifndef KEEPER_STORE_H
#define KEEPER_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "keeper/file_index.h"

struct kept {
	int fd;
	char *name;
	bool watched;
};

struct store {
	struct kept *kept; /* n of them, room for `most` */
	unsigned n, most;
	struct file_index files;       /* of these */
	size_t names_size, names_most; /* bytes, one for each that ends a name among them */
	int epoll;                     /* readable: store_drop_hung_up() has something to do */
};

/* 0 or -errno, not logged. */
int store_init(struct store *store, unsigned most, size_t names_most);

/*
 * Keeps `fd`, which is the store's from now on: it is closed if it is refused, or if the same open
 * file is kept already, under whatever name (where the kernel does not say so: the same file under
 * this one). `poll`: drop it when it hangs up or has an error, if it is of a kind that can say so.
 * 0, or -errno, logged: -EMFILE, there are too many; -E2BIG, their names are too long together; or
 * what has failed.
 */
int store_add(struct store *store, int fd, const char *name, bool poll);

/* Closes all of that name. Returns how many that were. */
unsigned store_remove(struct store *store, const char *name);

/* Closes what has hung up since the last time. Does not wait. */
void store_drop_hung_up(struct store *store);

#endif

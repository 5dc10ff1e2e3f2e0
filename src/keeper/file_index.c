/* SPDX-License-Identifier: BSD-3-Clause */
/* See keeper/file_index.h. */
#include "keeper/file_index.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SAME  0 /* what kcmp(2) says of two */
#define LESS  1
#define OTHER 3 /* and it does not say which is less */

int file_index_init(struct file_index *index, unsigned most)
{
	index->n = 0;
	index->fd = malloc((most ? most : 1) * sizeof(*index->fd));
	return index->fd ? 0 : -ENOMEM;
}

int file_index_find(const struct file_index *index, int fd, unsigned *at)
{
	unsigned from = 0, to = index->n;

	while (from < to) {
		const unsigned middle = from + (to - from) / 2;
		const long order =
			syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, index->fd[middle]);

		if (order < 0)
			return -errno;
		if (order == OTHER)
			return -EOPNOTSUPP;
		if (order == SAME) {
			*at = middle;
			return true;
		}
		if (order == LESS)
			to = middle;
		else
			from = middle + 1;
	}
	*at = from;
	return false;
}

void file_index_insert(struct file_index *index, unsigned at, int fd)
{
	memmove(&index->fd[at + 1], &index->fd[at], (index->n - at) * sizeof(fd));
	index->fd[at] = fd;
	index->n++;
}

void file_index_remove(struct file_index *index, int fd)
{
	unsigned at = 0;

	while (at < index->n && index->fd[at] != fd)
		at++;
	if (at == index->n)
		return;
	index->n--;
	memmove(&index->fd[at], &index->fd[at + 1], (index->n - at) * sizeof(fd));
}

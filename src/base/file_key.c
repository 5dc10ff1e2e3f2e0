/* SPDX-License-Identifier: BSD-3-Clause */
/* See base/file_key.h. */
#include "base/file_key.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What /proc says of an eventfd, in the line "eventfd-id: N". */
static int eventfd_number(int fd, uint64_t *number)
{
	char path[64], text[1024];
	const char *line;
	ssize_t n;
	int info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	n = read(info, text, sizeof(text) - 1);
	close(info);
	if (n < 0)
		return -EIO;
	text[n] = '\0';
	line = strstr(text, "\neventfd-id:");
	if (!line || sscanf(line, "\neventfd-id: %" SCNu64, number) != 1)
		return -EOPNOTSUPP;
	return 0;
}

int file_key_get(int fd, struct file_key *key)
{
	const int flags = fcntl(fd, F_GETFL);
	struct stat st;

	*key = (struct file_key){0};
	if (flags < 0 || fstat(fd, &st))
		return -errno;
	key->device = st.st_dev;
	key->inode = st.st_ino;
	key->access = flags & O_ACCMODE;
	/* Anonymous inodes have no type; they are one for all eventfds. */
	return st.st_mode & S_IFMT ? 0 : eventfd_number(fd, &key->number);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See image/lock.h. The same bytes, and in the same order, as QEMU's raw_apply_lock_bytes() and
 * raw_check_lock_bytes() (block/file-posix.c), so that QEMU's tools respect vublkd and vublkd
 * them.
 *
 * All locks are read locks, so taking one never fails for another QEMU's sake. A contradiction is
 * found by asking afterwards, for each byte that must be nobody else's, whether a write lock
 * could be had: one's own locks do not count. First take, then ask: two that start together see
 * each other; asking first would let both in.
 */
#include "image/lock.h"

#include <errno.h>
#include <stddef.h>

#include "base/ofd_lock.h"

#define BYTE_USED     100 /* + permission: somebody uses it */
#define BYTE_UNSHARED 200 /* + permission: somebody shares it with nobody */

/* Bit numbers of QEMU's BLK_PERM_*. */
enum permission {
	PERM_CONSISTENT_READ = 0,
	PERM_WRITE = 1,
	PERM_RESIZE = 3
};

struct lock_byte {
	uint64_t byte;
	bool writer_only;   /* only when the image is to be written */
	const char *holder; /* of a probe: what it means that another one holds the byte */
};

static const struct lock_byte own[] = {
	{.byte = BYTE_USED + PERM_CONSISTENT_READ},
	{.byte = BYTE_USED + PERM_WRITE, .writer_only = true},
	{.byte = BYTE_UNSHARED + PERM_WRITE},
	{.byte = BYTE_UNSHARED + PERM_RESIZE},
};

static const struct lock_byte probes[] = {
	{BYTE_UNSHARED + PERM_CONSISTENT_READ, false, "kept from other readers"},
	{BYTE_UNSHARED + PERM_WRITE, true, "kept from other writers"},
	{BYTE_USED + PERM_WRITE, false, "in use for writing"},
	{BYTE_USED + PERM_RESIZE, false, "in use for resizing"},
};

#define N_OWN    (sizeof(own) / sizeof(own[0]))
#define N_PROBES (sizeof(probes) / sizeof(probes[0]))

static int take(int fd, bool write, const char **holder)
{
	for (size_t i = 0; i < N_OWN; i++) {
		int err;

		if (own[i].writer_only && !write)
			continue;
		err = ofd_lock(fd, F_OFD_SETLK, F_RDLCK, own[i].byte, 1);
		if (err == -EAGAIN) {
			/* Not QEMU: it takes read locks only. */
			*holder = "locked as a whole";
			return -EAGAIN;
		}
		if (err < 0)
			return err;
	}
	return 0;
}

static int look(int fd, bool write, const char **holder)
{
	for (size_t i = 0; i < N_PROBES; i++) {
		int found;

		if (probes[i].writer_only && !write)
			continue;
		found = ofd_lock(fd, F_OFD_GETLK, F_WRLCK, probes[i].byte, 1);
		if (found < 0)
			return found;
		if (found != F_UNLCK) {
			*holder = probes[i].holder;
			return -EAGAIN;
		}
	}
	return 0;
}

int image_lock(int fd, bool write, const char **holder)
{
	int err;

	*holder = NULL;
	err = take(fd, write, holder);
	if (!err)
		err = look(fd, write, holder);
	if (err)
		image_unlock(fd);
	return err;
}

void image_unlock(int fd)
{
	for (size_t i = 0; i < N_OWN; i++)
		ofd_lock(fd, F_OFD_SETLK, F_UNLCK, own[i].byte, 1);
}

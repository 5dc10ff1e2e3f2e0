/* SPDX-License-Identifier: BSD-3-Clause */
/* See image/memory_fence.h. */
#include "image/memory_fence.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/ofd_lock.h"
#include "base/reopen.h"
#include "vublk.h"

/* Far behind what anybody else might lock: a byte for each of as many numbers. */
#define BYTE(n) ((UINT64_C(1) << 61) + ((n) & ((UINT64_C(1) << 61) - 1)))

/*
 * Locks a byte of the file for a new open file of it, *own: that of the descriptor is the
 * front-end's, and our successor's. 0; -EAGAIN: another one has it; other -errno.
 */
static int lock_file(int file, uint64_t byte, int *own)
{
	/* It is the front-end's, who may have a lease on it: fcntl(2). */
	const int fd = reopen(file, O_RDWR | O_NONBLOCK);
	int err = fd < 0 ? fd : ofd_lock(fd, F_OFD_SETLK, F_WRLCK, byte, 1);

	if (err >= 0)
		*own = fd;
	else if (fd >= 0)
		close(fd);
	return err < 0 ? err : 0;
}

void memory_fence_init(struct memory_fence *fence)
{
	for (int i = 0; i < MEMORY_FENCE_FILES; i++)
		fence->fd[i] = -1;
}

int memory_fence_take(struct memory_fence *fence, const struct vublk_dev *dev, uint64_t identity,
		      const char *name)
{
	static const char *const what[] = {"in-flight region", "memory"};
	const struct vublk_files files = vublk_dev_files(dev);
	const int file[] = {files.inflight, identity ? files.memory : -1};
	const uint64_t byte[] = {BYTE(files.inflight_offset), BYTE(identity)};

	for (int i = 0; i < MEMORY_FENCE_FILES; i++) {
		int err = file[i] < 0 ? 0 : lock_file(file[i], byte[i], &fence->fd[i]);

		if (err == -EAGAIN) {
			memory_fence_release(fence);
			return err;
		}
		if (err)
			log_info("%s: the file of the guest's %s cannot be locked: %s", name,
				 what[i], strerror(-err));
	}
	return 0;
}

void memory_fence_release(struct memory_fence *fence)
{
	for (int i = 0; i < MEMORY_FENCE_FILES; i++) {
		if (fence->fd[i] < 0)
			continue;
		/* A target may keep it open for a moment. */
		ofd_lock(fence->fd[i], F_OFD_SETLK, F_UNLCK, 0, 0);
		close(fence->fd[i]);
		fence->fd[i] = -1;
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Postcopy migration (VHOST_USER_PROTOCOL_F_PAGEFAULT): the guest runs before all of its memory has
 * come over, and a page that is touched too early is waited for. Control thread.
 *
 * Theory of operation. ADVISE makes a userfaultfd, which the front-end gets. From LISTEN on each
 * region is registered with it, and the front-end is told where in our address space it lies: then
 * whoever touches a page that is not there, a thread of ours or the kernel on our behalf, sleeps,
 * the front-end reads of it, fetches the page and wakes us. But a fault at an address that it has
 * not heard of yet it cannot tell, so a map that it is told of is held back, and used when it has
 * said so (vhu_postcopy_go_on()).
 *
 * When a front-end has gone, the pages that are missing come no more. Who waits for one must not
 * take zeros for the guest's data: so before the userfaultfd is closed the memory, that of older
 * maps too, is replaced by a file of no size, where the kernel finds nothing (EFAULT), and a thread
 * of ours what shared/guard.h makes of it. Then everybody is woken.
 *
 * A userfaultfd is power over the whole process, since any of its memory that is not present can be
 * registered and filled. So it is for a user to say that front-ends are trusted with it
 * (vublk_params).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "shared/fd.h"
#include "shared/gate.h"
#include "vhu/dev.h"

/* A userfaultfd, or -errno. */
static int open_uffd(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd, err;

	/* The front-end would have to know of two places. */
	if (VHU_GATE_PROT != (PROT_READ | PROT_WRITE))
		return -EOPNOTSUPP;
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	err = fd < 0 ? -errno : 0;
	if (!err && ioctl(fd, UFFDIO_API, &api))
		err = -errno;
	else if (!err && !(api.features & UFFD_FEATURE_MISSING_SHMEM))
		err = -EOPNOTSUPP;
	if (!err)
		return fd;
	vhu_fd_close(fd);
	return err;
}

bool vublk_dev_awaits_memory(const struct vublk_dev *dev)
{
	return dev->postcopy.listening;
}

int vublk_postcopy_check(void)
{
	const int fd = open_uffd();

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

void vhu_postcopy_init(struct vhu_postcopy *postcopy)
{
	*postcopy = (struct vhu_postcopy){.uffd = -1, .nothing = -1};
}

void vhu_postcopy_forget(struct vublk_dev *dev)
{
	struct vhu_postcopy *postcopy = &dev->postcopy;

	vhu_fd_close(postcopy->uffd);
	vhu_fd_close(postcopy->nothing);
	vhu_mem_put(postcopy->held);
	for (unsigned i = 0; i < postcopy->n_maps; i++)
		vhu_mem_put(postcopy->map[i]);
	free(postcopy->map);
	vhu_postcopy_init(postcopy);
}

/* ---- memory ---- */

static int watch(struct uffdio_range range, int uffd)
{
	struct uffdio_register all = {.range = range, .mode = UFFDIO_REGISTER_MODE_MISSING};

	/* A huge page that the kernel puts together has zeros where there was nothing. */
	madvise((void *)(uintptr_t)range.start, range.len, MADV_NOHUGEPAGE);
	return ioctl(uffd, UFFDIO_REGISTER, &all) ? -errno : 0;
}

static int unwatch(struct uffdio_range range, int uffd)
{
	ioctl(uffd, UFFDIO_UNREGISTER, &range);
	return 0;
}

static int wake(struct uffdio_range range, int uffd)
{
	ioctl(uffd, UFFDIO_WAKE, &range);
	return 0;
}

/* Does this to all mappings of a map, until it fails. */
static int each_mapping(const struct vhu_mem *mem, int uffd,
			int (*act)(struct uffdio_range range, int uffd))
{
	struct iovec mapping[VHU_MEM_MAX_SLOTS];
	const unsigned n = vhu_mem_mappings(mem, mapping, VHU_MEM_MAX_SLOTS);
	int err = 0;

	for (unsigned i = 0; !err && i < n; i++)
		err = act((struct uffdio_range){(uintptr_t)mapping[i].iov_base, mapping[i].iov_len},
			  uffd);
	return err;
}

/* Remembers a map, and forgets those that nobody uses any more. 0 or -ENOMEM. */
static int remember(struct vhu_postcopy *postcopy, struct vhu_mem *mem)
{
	struct vhu_mem **map;
	unsigned n = 0;

	for (unsigned i = 0; i < postcopy->n_maps; i++) {
		if (vhu_mem_is_sole(postcopy->map[i]))
			vhu_mem_put(postcopy->map[i]);
		else
			postcopy->map[n++] = postcopy->map[i];
	}
	postcopy->n_maps = n;
	map = realloc(postcopy->map, (n + 1) * sizeof(struct vhu_mem *));
	if (!map)
		return -ENOMEM;
	map[n] = vhu_mem_get(mem);
	postcopy->map = map;
	postcopy->n_maps++;
	return 0;
}

struct vhu_mem *vhu_postcopy_newest(const struct vublk_dev *dev)
{
	return dev->postcopy.held ? dev->postcopy.held : dev->mem;
}

int vhu_postcopy_hold(struct vublk_dev *dev, struct vhu_mem *mem)
{
	int err = each_mapping(mem, dev->postcopy.uffd, watch);

	if (!err)
		err = remember(&dev->postcopy, mem);
	if (err) {
		vhu_log(VUBLK_LOG_ERROR,
			"%s: postcopy: missing pages of guest memory cannot be waited for: %s",
			dev->name, strerror(-err));
		vhu_mem_put(mem);
		return err;
	}
	vhu_mem_put(dev->postcopy.held);
	dev->postcopy.held = mem;
	return 0;
}

void vhu_postcopy_tell(const struct vublk_dev *dev, struct vhu_region *region)
{
	const struct vhu_mem_piece piece =
		vhu_mem_piece(vhu_postcopy_newest(dev), region->guest_addr);

	region->user_addr = (uintptr_t)piece.host;
}

static bool is_gone(const struct vublk_dev *dev)
{
	struct pollfd pfd = {.fd = dev->sock, .events = POLLRDHUP};

	return poll(&pfd, 1, 0) > 0 && pfd.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

void vhu_postcopy_leave(struct vublk_dev *dev)
{
	if (!dev->postcopy.listening || !is_gone(dev))
		return;
	vhu_log(VUBLK_LOG_ERROR,
		"%s: the front-end has gone during a postcopy migration: the guest's memory is "
		"lost, and so are the requests that wait for some of it",
		dev->name);
	for (unsigned i = 0; i < dev->postcopy.n_maps; i++) {
		vhu_mem_lose(dev->postcopy.map[i], dev->postcopy.nothing);
		/* Closing it would wake nobody as long as anybody else has it, too. */
		each_mapping(dev->postcopy.map[i], dev->postcopy.uffd, wake);
	}
	vhu_postcopy_forget(dev);
}

/* ---- messages ---- */

int vhu_postcopy_advise(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_postcopy *postcopy = &dev->postcopy;
	int uffd, nothing, copy = -1, err = 0;

	if (postcopy->listening) {
		vhu_log(VUBLK_LOG_WARNING, "%s: a postcopy migration is under way", dev->name);
		return -EBUSY;
	}
	vhu_keep_give_up(dev, "it takes part in a postcopy migration");
	uffd = open_uffd();
	nothing = memfd_create("vublkd-lost", MFD_CLOEXEC);
	if (uffd < 0 || nothing < 0)
		err = uffd < 0 ? uffd : -errno;
	else
		copy = fcntl(uffd, F_DUPFD_CLOEXEC, 0);
	if (!err && copy < 0)
		err = -errno;
	if (err) {
		vhu_log(VUBLK_LOG_ERROR, "%s: no postcopy migration: userfaultfd: %s", dev->name,
			strerror(-err));
		vhu_fd_close(uffd);
		vhu_fd_close(nothing);
		return err;
	}
	vhu_postcopy_forget(dev);
	postcopy->uffd = uffd;
	postcopy->nothing = nothing;
	msg->reply_fd = copy;
	return 0;
}

int vhu_postcopy_listen(struct vublk_dev *dev, struct vhu_msg *msg)
{
	(void)msg;
	if (dev->postcopy.uffd < 0) {
		vhu_log(VUBLK_LOG_WARNING, "%s: POSTCOPY_LISTEN without POSTCOPY_ADVISE",
			dev->name);
		return -EINVAL;
	}
	/* The front-end would not know where it lies. */
	if (!dev->postcopy.listening && dev->mem && dev->session->n_regions) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: POSTCOPY_LISTEN, but memory has been shared before: it would not be "
			"waited for",
			dev->name);
		return -EBUSY;
	}
	dev->postcopy.listening = true;
	vhu_log(VUBLK_LOG_INFO, "%s: postcopy migration: memory that has not come is waited for",
		dev->name);
	return 0;
}

int vhu_postcopy_go_on(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_mem *mem = dev->postcopy.held;

	(void)msg;
	dev->postcopy.held = NULL;
	return mem ? vhu_dev_use_memory(dev, mem) : 0;
}

int vhu_postcopy_end(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const int err = vhu_postcopy_go_on(dev, msg);

	msg->payload.u64 = err ? 1 : 0;
	return err;
}

/* Nobody is missing anything any more. */
int vhu_postcopy_end_finish(struct vublk_dev *dev, struct vhu_msg *msg)
{
	(void)msg;
	for (unsigned i = 0; i < dev->postcopy.n_maps; i++)
		each_mapping(dev->postcopy.map[i], dev->postcopy.uffd, unwatch);
	if (dev->postcopy.listening)
		vhu_log(VUBLK_LOG_INFO, "%s: the postcopy migration has ended", dev->name);
	vhu_postcopy_forget(dev);
	return 0;
}

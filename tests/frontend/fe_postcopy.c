/* SPDX-License-Identifier: BSD-3-Clause */
/* See fe_postcopy.h. */
#define _GNU_SOURCE
#include "fe_postcopy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fe_time.h"

#define PAGE FE_POSTCOPY_PAGE

static struct fe_region *region_of(const struct fe_postcopy *pc, unsigned int i)
{
	return &pc->dev->mem.region[i];
}

int fe_postcopy_advise(struct fe_postcopy *pc, struct fe_dev *dev)
{
	struct fe_msg reply;

	*pc = (struct fe_postcopy){.dev = dev, .uffd = -1, .stop_fd = -1};
	pthread_mutex_init(&pc->lock, NULL);
	FE_TRY(fe_ask(&dev->conn, VHU_POSTCOPY_ADVISE, NULL, 0, &reply));
	if (reply.header.size)
		return -EPROTO;
	if (reply.n_fds != 1)
		return FE_REFUSED;
	pc->uffd = reply.fds[0];
	return 0;
}

int fe_postcopy_listen(struct fe_postcopy *pc)
{
	return fe_tell(&pc->dev->conn, VHU_POSTCOPY_LISTEN, NULL, 0, NULL, 0);
}

/* The reply is the message, with our address of it in the place of the user address. */
static int share(struct fe_postcopy *pc, uint32_t request, void *payload, uint32_t size, int fd,
		 const struct vhu_region *sent, const struct vhu_region *told)
{
	struct fe_msg reply;

	FE_TRY(fe_send(&pc->dev->conn, request, VHU_VERSION, payload, size, &fd, 1));
	FE_TRY(fe_recv(&pc->dev->conn, &reply));
	if (reply.header.request != request || reply.header.size != size || reply.n_fds)
		return -EPROTO;
	memcpy(payload, &reply.payload, size);
	return sent->guest_addr == told->guest_addr && told->user_addr ? 0 : -EPROTO;
}

int fe_postcopy_share(struct fe_postcopy *pc, unsigned int region, bool slot)
{
	struct fe_region *r = region_of(pc, region);
	struct vhu_mem_table table = {.count = 1, .region = {r->wire}};
	struct vhu_mem_reg reg = {.region = r->wire};

	if (slot)
		FE_TRY(share(pc, VHU_ADD_MEM_REG, &reg, sizeof(reg), r->fd, &r->wire, &reg.region));
	else
		FE_TRY(share(pc, VHU_SET_MEM_TABLE, &table,
			     offsetof(struct vhu_mem_table, region) + sizeof(table.region[0]),
			     r->fd, &r->wire, &table.region[0]));
	pthread_mutex_lock(&pc->lock);
	pc->region[region].base = slot ? reg.region.user_addr : table.region[0].user_addr;
	pthread_mutex_unlock(&pc->lock);
	return 0;
}

int fe_postcopy_acknowledge(struct fe_postcopy *pc)
{
	const uint64_t ok = 0;

	FE_TRY(fe_send(&pc->dev->conn, VHU_ADD_MEM_REG, VHU_VERSION, &ok, sizeof(ok), NULL, 0));
	return fe_sync(&pc->dev->conn);
}

/* ---- pages ---- */

static int prepare(struct fe_postcopy *pc, unsigned int i)
{
	struct fe_postcopy_region *region = &pc->region[i];
	const uint64_t size = region_of(pc, i)->size;

	if (!region->source)
		region->source = malloc(size);
	if (!region->away)
		region->away = calloc(size / PAGE, 1);
	return region->source && region->away ? 0 : -ENOMEM;
}

/* Under the lock. */
static int bring(struct fe_postcopy *pc, unsigned int i, uint64_t offset)
{
	const struct fe_region *r = region_of(pc, i);
	struct fe_postcopy_region *region = &pc->region[i];

	if (!region->away || !region->away[offset / PAGE])
		/* The source has never touched it: a page of zeros. */
		return fallocate(r->fd, 0, (off_t)(r->wire.mmap_offset + offset), PAGE) ? -errno
											: 0;
	region->away[offset / PAGE] = 0;
	return pwrite(r->fd, region->source + offset, PAGE,
		      (off_t)(r->wire.mmap_offset + offset)) == PAGE
		       ? 0
		       : -EIO;
}

static int each_page(struct fe_postcopy *pc, uint64_t gpa, uint64_t size,
		     int (*act)(struct fe_postcopy *pc, unsigned int i, uint64_t offset))
{
	for (unsigned int i = 0; i < pc->dev->mem.n_regions && i < FE_POSTCOPY_REGIONS; i++) {
		const struct fe_region *r = region_of(pc, i);
		int err = 0;

		if (gpa < r->gpa || gpa - r->gpa >= r->size)
			continue;
		err = prepare(pc, i);
		pthread_mutex_lock(&pc->lock);
		for (uint64_t at = (gpa - r->gpa) & ~(uint64_t)(PAGE - 1);
		     !err && at < gpa - r->gpa + size; at += PAGE)
			err = act(pc, i, at);
		pthread_mutex_unlock(&pc->lock);
		return err;
	}
	return -EFAULT;
}

static int take_away(struct fe_postcopy *pc, unsigned int i, uint64_t offset)
{
	const struct fe_region *r = region_of(pc, i);

	if (pc->region[i].away[offset / PAGE])
		return 0;
	memcpy(pc->region[i].source + offset, r->host + offset, PAGE);
	pc->region[i].away[offset / PAGE] = 1;
	return fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)(r->wire.mmap_offset + offset), PAGE)
		       ? -errno
		       : 0;
}

int fe_postcopy_take_away(struct fe_postcopy *pc, uint64_t gpa, uint64_t size)
{
	return each_page(pc, gpa, size, take_away);
}

int fe_postcopy_fetch(struct fe_postcopy *pc, uint64_t gpa, uint64_t size)
{
	return each_page(pc, gpa, size, bring);
}

/* ---- the thread ---- */

static void resolve(struct fe_postcopy *pc, uint64_t address)
{
	struct uffdio_range page = {address & ~(uint64_t)(PAGE - 1), PAGE};

	atomic_fetch_add(&pc->n_faults, 1);
	pthread_mutex_lock(&pc->lock);
	for (unsigned int i = 0; i < FE_POSTCOPY_REGIONS; i++) {
		const uint64_t offset = page.start - pc->region[i].base;

		if (!pc->region[i].base || offset >= region_of(pc, i)->size)
			continue;
		bring(pc, i, offset);
		pthread_mutex_unlock(&pc->lock);
		ioctl(pc->uffd, UFFDIO_WAKE, &page);
		return;
	}
	pthread_mutex_unlock(&pc->lock);
	/* As QEMU: nobody is woken. */
	atomic_fetch_add(&pc->n_unknown, 1);
}

static void *serve(void *opaque)
{
	struct fe_postcopy *pc = opaque;
	struct pollfd pfd[2] = {{.fd = pc->uffd, .events = POLLIN},
				{.fd = pc->stop_fd, .events = POLLIN}};

	while (poll(pfd, 2, -1) >= 0 && !pfd[1].revents) {
		struct uffd_msg msg;

		if (read(pc->uffd, &msg, sizeof(msg)) == sizeof(msg) &&
		    msg.event == UFFD_EVENT_PAGEFAULT)
			resolve(pc, msg.arg.pagefault.address);
	}
	return NULL;
}

int fe_postcopy_serve(struct fe_postcopy *pc)
{
	pc->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (pc->stop_fd < 0)
		return -errno;
	pc->serves = !pthread_create(&pc->thread, NULL, serve, pc);
	return pc->serves ? 0 : -EAGAIN;
}

void fe_postcopy_stop(struct fe_postcopy *pc)
{
	if (!pc->serves)
		return;
	eventfd_write(pc->stop_fd, 1);
	pthread_join(pc->thread, NULL);
	pc->serves = false;
}

int fe_postcopy_await_fault(struct fe_postcopy *pc)
{
	struct pollfd pfd = {.fd = pc->uffd, .events = POLLIN};

	return poll(&pfd, 1, fe_left_ms(fe_deadline(5000))) == 1 ? 0 : -ETIMEDOUT;
}

int fe_postcopy_end(struct fe_postcopy *pc)
{
	uint64_t failed;

	for (unsigned int i = 0; i < pc->dev->mem.n_regions && i < FE_POSTCOPY_REGIONS; i++)
		FE_TRY(fe_postcopy_fetch(pc, region_of(pc, i)->gpa, region_of(pc, i)->size));
	fe_postcopy_stop(pc);
	FE_TRY(fe_ask_u64(&pc->dev->conn, VHU_POSTCOPY_END, &failed));
	return failed ? FE_REFUSED : 0;
}

void fe_postcopy_free(struct fe_postcopy *pc)
{
	if (!pc->dev)
		return;
	fe_postcopy_stop(pc);
	for (unsigned int i = 0; i < FE_POSTCOPY_REGIONS; i++) {
		free(pc->region[i].source);
		free(pc->region[i].away);
	}
	if (pc->uffd >= 0)
		close(pc->uffd);
	if (pc->stop_fd >= 0)
		close(pc->stop_fd);
	*pc = (struct fe_postcopy){0};
}

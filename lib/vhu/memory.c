/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the front-end shares of the guest's memory: SET_MEM_TABLE, and slots one by one. Control
 * thread. The map is shared/mem.h; rings change over to a new one between two iterations.
 */
#include <errno.h>

#include "log.h"
#include "vhu/dev.h"

int vhu_dev_use_memory(struct vublk_dev *dev, struct vhu_mem *mem)
{
	int err = vhu_vring_remap(dev, mem);

	if (err)
		vhu_mem_put(mem);
	return err;
}

/* Takes over what is shared, at once, or when the front-end knows where we have it. */
static int take_memory(struct vublk_dev *dev, struct vhu_mem *mem)
{
	return dev->postcopy.listening ? vhu_postcopy_hold(dev, mem) : vhu_dev_use_memory(dev, mem);
}

int vhu_dev_set_mem_table(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const uint32_t n = msg->payload.table.count;
	uint32_t ticket[VHU_MAX_TABLE];
	struct vhu_mem *mem;
	int err;

	/* Some front-ends send all eight entries, whatever the count. */
	if (n > VHU_MAX_TABLE || msg->header.size < 8 + n * sizeof(struct vhu_region) ||
	    msg->n_fds != n) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: a memory table of %u regions in %u bytes with %u descriptors",
			dev->name, n, msg->header.size, msg->n_fds);
		return -EINVAL;
	}
	err = vhu_mem_new(&mem, dev->name, msg->payload.table.region, msg->fd, n);
	if (!err)
		err = take_memory(dev, mem);
	if (err)
		return err;
	for (uint32_t i = 0; i < n; i++)
		ticket[i] = vhu_keep_fd(dev, msg->fd[i]);
	vhu_session_set_regions(dev->store, msg->payload.table.region, ticket, n);
	for (uint32_t i = 0; dev->postcopy.listening && i < n; i++)
		vhu_postcopy_tell(dev, &msg->payload.table.region[i]);
	return 0;
}

int vhu_dev_get_max_mem_slots(struct vublk_dev *dev, struct vhu_msg *msg)
{
	(void)dev;
	msg->payload.u64 = VHU_MEM_MAX_SLOTS;
	return 0;
}

int vhu_dev_add_mem_reg(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_region *region = &msg->payload.mem_reg.region;
	struct vhu_mem *mem;
	int err = vhu_mem_add(&mem, dev->name, vhu_postcopy_newest(dev), region, msg->fd[0]);

	if (!err)
		err = take_memory(dev, mem);
	if (err)
		return err;
	vhu_session_add_region(dev->store, region, vhu_keep_fd(dev, msg->fd[0]));
	if (dev->postcopy.listening)
		vhu_postcopy_tell(dev, region);
	return 0;
}

int vhu_dev_rem_mem_reg(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_region *region = &msg->payload.mem_reg.region;
	struct vhu_mem *mem;
	int err;

	/* What is held back has to be used first, or there would be two maps to take it from. */
	if (dev->postcopy.held) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: REM_MEM_REG, though memory that was added is not acknowledged yet",
			dev->name);
		return -EBUSY;
	}
	err = vhu_mem_remove(&mem, dev->name, dev->mem, region);
	if (!err)
		err = vhu_dev_use_memory(dev, mem);
	if (!err)
		vhu_session_remove_region(dev->store, region->guest_addr);
	return err;
}

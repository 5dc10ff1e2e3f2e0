/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front-end's part of in-flight tracking ("Inflight I/O tracking" of vhost-user.rst): keeps the
 * region in which a back-end writes down what it has taken, hands it to the next one, and looks at
 * it or spoils it. Memory, rings and region are the front-end's; so they outlive the back-end.
 *
 * All calls answer 0, FE_REFUSED (the back-end refused a message) or -errno.
 */
#ifndef FE_INFLIGHT_H
#define FE_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/shared/inflight.h"
#include "tests/frontend/fe_dev.h"

#define FE_INFLIGHT_SPEC 20u /* bytes of the payload: the specification's ... */
#define FE_INFLIGHT_QEMU 24u /* ... and QEMU's, a padded struct */

struct fe_inflight {
	struct vhu_inflight_desc desc; /* as the back-end answered; what the next one is told */
	uint32_t payload;              /* bytes: FE_INFLIGHT_SPEC or FE_INFLIGHT_QEMU; 0: QEMU's */
	unsigned int queue_size;       /* to be asked for; 0: that of the rings */
	bool packed;
	int fd;
	void *map;       /* NULL: there is none yet */
	uint8_t *region; /* what lies at desc.mmap_offset */
};

/*
 * What a front-end tells a back-end as a ring's base after the last one has died. Habits differ; a
 * region that was used has to be right with each.
 */
enum fe_base {
	/* As QEMU does. Split: the used index. Packed: that of the last start, which is stale. */
	FE_BASE_QEMU,
	/* Split: behind what is in flight, as a front-end might that knows the region. */
	FE_BASE_AVAIL,
	/* Split: the driver's available index, as Cloud Hypervisor does. */
	FE_BASE_DRIVER,
	/* Split: the used index of some time ago, as QEMU when it hangs up by itself. */
	FE_BASE_STALE,
	FE_BASE_ZERO,
	/* Nothing that makes sense. */
	FE_BASE_ANY,
	FE_BASES
};

/*
 * GET_INFLIGHT_FD for rings of queue_size, and a mapping. -ENOMSG: the back-end had none to give.
 */
int fe_inflight_get(struct fe_dev *dev, struct fe_inflight *inflight, unsigned int queue_size);

/* SET_INFLIGHT_FD. */
int fe_inflight_set(struct fe_dev *dev, const struct fe_inflight *inflight);

/*
 * A region that is no back-end's: a copy in a memfd of its own, which nothing seals. The copy
 * begins at `offset` (bytes) of it, and the memfd has `slack` bytes behind it.
 */
int fe_inflight_copy(struct fe_inflight *to, const struct fe_inflight *from, uint64_t offset,
		     uint64_t slack);

/* Unmaps and closes; it is as zeroed again, but for queue_size and payload. */
void fe_inflight_free(struct fe_inflight *inflight);

/* The region of queue `index`, to look at or to spoil. */
struct inflight_split *fe_inflight_split(const struct fe_inflight *inflight, unsigned int index);
struct inflight_packed *fe_inflight_packed(const struct fe_inflight *inflight, unsigned int index);

/* How many requests queue `index` has in flight, as the region says. */
unsigned int fe_inflight_count(const struct fe_inflight *inflight, unsigned int index);

/* From one queue's region to the next, bytes. */
uint64_t fe_inflight_stride(const struct fe_inflight *inflight);

/* The entries that each queue's region has room for. */
unsigned int fe_inflight_entries(const struct fe_inflight *inflight);

/*
 * fe_dev_start() in QEMU's order with a region: gets one if there is none yet, and sets it. The
 * same call is the clean start after fe_dev_stop() and fe_dev_hang_up().
 */
int fe_inflight_start(struct fe_dev *dev, const char *path, const struct fe_dev_options *options,
		      struct fe_inflight *inflight);

/*
 * The same to a new back-end, in parts: connects, negotiates, sets the region and shares the memory
 * (open); sends the bases that the rings have now, and starts them (begin).
 */
int fe_inflight_open(struct fe_dev *dev, const char *path, struct fe_inflight *inflight);
int fe_inflight_begin(struct fe_dev *dev);

/*
 * What QEMU does when its back-end has died and is there again. The old connection is closed. For a
 * region that nobody has used, the base is QEMU's.
 */
int fe_inflight_reconnect(struct fe_dev *dev, const char *path, struct fe_inflight *inflight,
			  enum fe_base base);

#endif

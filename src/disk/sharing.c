/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/sharing.h. */
#include "disk/sharing.h"

#include <sys/stat.h>

#include "base/container.h"
#include "base/log.h"
#include "vublk.h"

#define FIRST_PAUSE_NS UINT64_C(2000000000)
#define LAST_PAUSE_NS  UINT64_C(64000000000)
#define ALMOST_NOTHING (256 << 10) /* bytes: our own looks at the rings, but no firmware */

/* Is the file of the guest's memory one that nobody has written to? */
static bool is_unused(const struct sharing *sharing)
{
	struct stat st;

	return !fstat(vublk_dev_files(sharing->dev).memory, &st) &&
	       st.st_size > 2 * ALMOST_NOTHING && st.st_blocks * 512 <= ALMOST_NOTHING;
}

static void look(struct loop_timer *timer)
{
	struct sharing *sharing = container_of(timer, struct sharing, timer);
	struct sharing_signs *signs = &sharing->signs;

	if (atomic_load(&signs->popped))
		return;
	if (atomic_load(&signs->kicked_again) ||
	    (atomic_load(&signs->kicked) && is_unused(sharing))) {
		if (log_limit_ok(&sharing->limit, LOG_LEVEL_WARNING, "sessions"))
			log_warning(
				"%s: the guest sends notifications, but its rings stay empty: the "
				"memory that is shared is not the guest's; QEMU's memory backend "
				"needs share=on, libvirt's <memoryBacking> <access mode='shared'/>",
				sharing->name);
		return;
	}
	sharing->pause_ns *= 2;
	if (sharing->pause_ns <= LAST_PAUSE_NS)
		loop_set_timer(sharing->loop, timer, sharing->pause_ns);
}

void sharing_init(struct sharing *sharing, const char *name, struct loop *loop,
		  const struct vublk_dev *dev)
{
	*sharing =
		(struct sharing){.name = name, .loop = loop, .dev = dev, .timer = {.fire = look}};
}

void sharing_start(struct sharing *sharing)
{
	atomic_store(&sharing->signs.kicked, false);
	atomic_store(&sharing->signs.kicked_again, false);
	atomic_store(&sharing->signs.popped, false);
	sharing->pause_ns = FIRST_PAUSE_NS;
	loop_set_timer(sharing->loop, &sharing->timer, sharing->pause_ns);
}

void sharing_stop(struct sharing *sharing)
{
	loop_clear_timer(sharing->loop, &sharing->timer);
}

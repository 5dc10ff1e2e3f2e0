/* SPDX-License-Identifier: BSD-3-Clause */
/* See gate.h. */
#include "tests/unit/support/gate.h"

#include "src/request/sync.h"

struct gate gate;

/* ---- the reactor ---- */

static int gate_watch(struct reactor *reactor, struct reactor_watch *watch)
{
	return gate.watch_err ? gate.watch_err : gate.inner->watch(reactor, watch);
}

static int gate_open_reactor(struct reactor **reactorp, const struct reactor_config *config)
{
	int err;

	if (!gate.inner)
		gate.inner = &reactor_epoll;
	err = gate.inner->open(reactorp, config);
	if (err)
		return err;
	gate_reactor = *gate.inner;
	gate_reactor.open = gate_open_reactor;
	gate_reactor.watch = gate_watch;
	(*reactorp)->class = &gate_reactor;
	return 0;
}

struct reactor_class gate_reactor = {.open = gate_open_reactor};

/* ---- the target ---- */

static int64_t gate_before(struct reactor_hook *hook)
{
	(void)hook;
	return gate.tokens && gate.held.head ? 0 : -1;
}

static int64_t result_of(const struct io *io)
{
	const int64_t size = io->niov ? (int64_t)vublk_iov_size(io->iov, io->niov) : 0;

	return gate.cut && gate.cut < size ? gate.cut : size;
}

static void gate_after(struct reactor_hook *hook)
{
	(void)hook;
	for (; gate.tokens && gate.held.head; gate.tokens--) {
		struct io *io = io_list_pop(&gate.held);

		gate.n_held--;
		target_complete(&gate.base, io, result_of(io));
	}
}

static int gate_open(struct target **targetp, struct reactor *reactor)
{
	gate.base = (struct target){.class = &gate_target, .reactor = reactor};
	gate.hook = (struct reactor_hook){.before = gate_before, .after = gate_after};
	reactor_hook(reactor, &gate.hook);
	*targetp = &gate.base;
	return 0;
}

static void gate_close(struct target *target)
{
	reactor_unhook(target->reactor, &gate.hook);
}

static int gate_add_file(struct target *target, int file)
{
	(void)target, (void)file;
	if (!gate.file_err)
		gate.n_files++;
	return gate.file_err;
}

static void gate_remove_file(struct target *target, int file)
{
	(void)target, (void)file;
	gate.n_files--;
}

static void gate_submit(struct target *target, struct io *io)
{
	target->reactor->quiet = false;
	io_list_push(&gate.held, io);
	gate.n_held++;
}

/* Too late for those that "the kernel" holds: the first ones. */
static bool gate_cancel(struct target *target, struct io *io)
{
	struct io *at = gate.held.head;

	(void)target;
	for (unsigned i = 0; i < gate.n_begun && at; i++, at = at->next)
		if (at == io)
			return false;
	if (!io_list_remove(&gate.held, io))
		return false;
	gate.n_held--;
	return true;
}

const struct target_class gate_target = {
	.name = "gate",
	.open = gate_open,
	.close = gate_close,
	.add_file = gate_add_file,
	.remove_file = gate_remove_file,
	.submit = gate_submit,
	.cancel = gate_cancel,
};

const struct engine gate_engine = {"gate", &gate_reactor, &gate_target};

/* ---- a disk, and requests for it ---- */

struct gate_header gate_header(bool discard, uint64_t sector)
{
	return (struct gate_header){
		.header = {.type = discard ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_OUT,
			   .sector = sector},
		.segment = {.num_sectors = 1},
	};
}

void gate_make_disk(struct queue_disk *disk, struct image *image)
{
	static struct image_end end;
	static struct image none;
	static struct blk_sync sync;
	static const struct memory_fence fence = {{-1, -1}};
	static struct io_errors errors = {.posted = true};
	static struct sharing_signs signs;

	*image = (struct image){.fd = 0,
				.end = 1 << 30,
				.size = 1 << 30,
				.block_size = 512,
				.mem_align = 1,
				.offset_align = 1,
				.range_align = 1,
				.can_discard = true,
				.max_discard = 1 << 30};
	blk_sync_init(&sync);
	none = *image;
	none.fd = -1; /* nor asks for its size */
	image_end_init(&end, &none, "test");
	*disk = (struct queue_disk){
		.blk = {.name = "test",
			.serial = "",
			.image = image,
			.errors = &errors,
			.end = &end,
			.sync = &sync,
			.features = 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD,
			.wce = true},
		.target = &gate_target,
		.fd = image->fd,
		.fence = &fence,
		.signs = &signs,
	};
}

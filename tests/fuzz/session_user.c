/* SPDX-License-Identifier: BSD-3-Clause */
/* See tests/fuzz/session_user.h. */
#include "tests/fuzz/session_user.h"

#include <errno.h>
#include <fcntl.h>

struct fuzz_user fuzz_user;

static volatile uint8_t sink;

/* All of it must be there. */
static void touch(const struct vublk_chain *chain)
{
	uint64_t size = 0;

	for (unsigned i = 0; i < chain->n_out; i++) {
		const uint8_t *base = chain->out[i].iov_base;

		FUZZ_CHECK(chain->out[i].iov_len > 0);
		sink = base[0] ^ base[chain->out[i].iov_len - 1];
		size += chain->out[i].iov_len;
	}
	FUZZ_CHECK(size == chain->out_size);
	size = 0;
	for (unsigned i = 0; i < chain->n_in; i++) {
		uint8_t *base = chain->in[i].iov_base;

		FUZZ_CHECK(chain->in[i].iov_len > 0);
		base[0] ^= 1;
		base[chain->in[i].iov_len - 1] ^= 1;
		size += chain->in[i].iov_len;
	}
	FUZZ_CHECK(size == chain->in_size);
}

static void push(struct fuzz_queue *queue, struct fuzz_slot *slot)
{
	/* Its memory is there as long as it is held, whatever the front-end has taken away. */
	touch(&slot->chain);
	vublk_queue_push(queue->vq, &slot->chain,
			 slot->chain.in_size > UINT32_MAX ? UINT32_MAX
							  : (uint32_t)slot->chain.in_size);
	slot->popped = false;
}

/* One more chain; false: there is none, or no place for it. */
static bool pop(struct fuzz_queue *queue)
{
	for (unsigned i = 0; i < FUZZ_CHAINS; i++) {
		struct fuzz_slot *slot = &queue->slot[i];
		int ret;

		if (slot->popped)
			continue;
		vublk_chain_init(&slot->chain, slot->iov, 4);
		ret = vublk_queue_pop(queue->vq, &slot->chain);
		FUZZ_CHECK(ret <= 1);
		slot->popped = ret == 1;
		if (slot->popped)
			touch(&slot->chain);
		return slot->popped;
	}
	return false;
}

static void begin(struct fuzz_queue *queue)
{
	const int err = vublk_queue_begin(queue->vq);

	queue->running = !err;
	vublk_queue_done(queue->vq, err);
}

static void queue_start(void *opaque, struct vublk_queue *vq)
{
	struct fuzz_queue *queue = &fuzz_user.queue[vublk_queue_index(vq)];

	(void)opaque;
	FUZZ_CHECK(!queue->running && !queue->waiting);
	queue->vq = vq;
	queue->waiting = fuzz_user.wait;
	if (queue->waiting)
		vublk_queue_wait(vq);
	else
		begin(queue);
}

static void queue_cancel(void *opaque, struct vublk_queue *vq)
{
	struct fuzz_queue *queue = &fuzz_user.queue[vublk_queue_index(vq)];

	(void)opaque;
	FUZZ_CHECK(queue->waiting);
	queue->waiting = false;
}

static void queue_stop(void *opaque, struct vublk_queue *vq, bool drain)
{
	struct fuzz_queue *queue = &fuzz_user.queue[vublk_queue_index(vq)];
	const bool drop = !drain && vublk_queue_tracked(vq);
	bool again;

	(void)opaque;
	FUZZ_CHECK(queue->running);
	do {
		again = false;
		for (unsigned i = 0; i < FUZZ_CHAINS; i++) {
			struct fuzz_slot *slot = &queue->slot[i];

			if (slot->popped && drop)
				vublk_queue_abandon(vq, &slot->chain);
			else if (slot->popped)
				push(queue, slot);
			slot->popped = false;
		}
		/* What an earlier process took is done, too. */
		while (!drop && vublk_queue_recovering(vq) && pop(queue))
			again = true;
		vublk_queue_publish(vq);
	} while (again);
	vublk_queue_end(vq);
	queue->running = false;
	vublk_queue_done(vq, 0);
}

static void attend(void *opaque)
{
	(void)opaque;
}

static void queue_update(void *opaque, struct vublk_queue *vq, struct vublk_update *update)
{
	struct fuzz_queue *queue = &fuzz_user.queue[vublk_queue_index(vq)];

	(void)opaque;
	FUZZ_CHECK(queue->running);
	vublk_queue_apply(vq, update);
	/* Who has memory that is taken away is done before the answer. */
	for (unsigned i = 0; i < FUZZ_CHAINS && vublk_update_revokes(update); i++) {
		struct fuzz_slot *slot = &queue->slot[i];

		if (slot->popped && vublk_update_revokes_of(update, &slot->chain))
			push(queue, slot);
	}
	vublk_queue_publish(vq);
	vublk_queue_done(vq, 0);
}

static void resume(void *opaque, bool again)
{
	(void)opaque;
	fuzz_user.over |= !again;
}

static void disconnected(void *opaque)
{
	(void)opaque;
	fuzz_user.finished = true;
}

static void get_config(void *opaque, uint8_t config[VUBLK_MAX_CONFIG])
{
	(void)opaque;
	memset(config, 0x5a, VUBLK_MAX_CONFIG);
}

static int set_config(void *opaque, uint32_t offset, const uint8_t *data, uint32_t size,
		      bool migration)
{
	(void)opaque;
	FUZZ_CHECK(offset <= VUBLK_MAX_CONFIG && size <= VUBLK_MAX_CONFIG - offset);
	for (uint32_t i = 0; i < size; i++)
		if (data[i] == 0x77 && !migration)
			return -EPERM;
	return 0;
}

static void set_features(void *opaque, uint64_t features)
{
	(void)opaque, (void)features;
}

static uint32_t save_state(void *opaque)
{
	(void)opaque;
	return 0;
}

static int load_state(void *opaque, uint32_t state)
{
	(void)opaque;
	return state > 1 ? -EINVAL : 0;
}

static int watch_state(void *opaque, int fd)
{
	(void)opaque;
	FUZZ_CHECK((fd < 0) == (fuzz_user.state_fd >= 0) && (fd < 0 || fcntl(fd, F_GETFD) >= 0));
	fuzz_user.state_fd = fd;
	return 0;
}

void fuzz_user_announce(void)
{
	fuzz_user.due = false;
	vublk_dev_announce(fuzz_user.dev);
}

static void announce(void *opaque)
{
	(void)opaque;
	fuzz_user.due = true;
	if (!fuzz_user.late)
		fuzz_user_announce();
}

static void await_room(void *opaque, int fd)
{
	(void)opaque;
	FUZZ_CHECK((fd < 0) == (fuzz_user.room_fd >= 0) && (fd < 0 || fcntl(fd, F_GETFD) >= 0));
	fuzz_user.room_fd = fd;
}

const struct vublk_ops fuzz_user_ops = {
	.queue_start = queue_start,
	.queue_cancel = queue_cancel,
	.queue_stop = queue_stop,
	.queue_update = queue_update,
	.attend = attend,
	.resume = resume,
	.disconnected = disconnected,
	.get_config = get_config,
	.set_config = set_config,
	.set_features = set_features,
	.save_state = save_state,
	.load_state = load_state,
	.watch_state = watch_state,
	.announce = announce,
	.await_room = await_room,
};

/* ---- the worker ---- */

void fuzz_user_work(struct fuzz_input *in)
{
	struct fuzz_queue *queue = &fuzz_user.queue[fuzz_u8(in) % FUZZ_QUEUES];
	const uint8_t pops = fuzz_u8(in) % 16, pushes = fuzz_u8(in) % 16;
	const uint8_t from = fuzz_u8(in);

	if (!queue->running)
		return;
	vublk_queue_want_kicks(queue->vq, false);
	for (unsigned i = 0; i < pops && pop(queue); i++)
		;
	for (unsigned i = 0; i < pushes; i++) {
		struct fuzz_slot *slot = &queue->slot[(from + i * 5u) % FUZZ_CHAINS];

		if (slot->popped)
			push(queue, slot);
	}
	vublk_queue_publish(queue->vq);
	if (from & 1)
		vublk_queue_want_kicks(queue->vq, true);
	vublk_queue_note(queue->vq, &(struct vublk_note){from, from & 1});
}

void fuzz_user_stop_waiting(struct fuzz_input *in)
{
	struct fuzz_queue *queue = &fuzz_user.queue[fuzz_u8(in) % FUZZ_QUEUES];

	if (!queue->waiting)
		return;
	queue->waiting = false;
	vublk_queue_wait_over(queue->vq);
	begin(queue);
}

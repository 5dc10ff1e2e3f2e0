/* SPDX-License-Identifier: BSD-3-Clause */
/* The crash tests' common ground, see crash.h. Owns the queues' requests and the disk's model. */
#define _GNU_SOURCE
#include "tests/crash/crash.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "tests/proto/shadow_check.h"

#define MAX_PIECES 4 /* data segments of a request */

struct op {
	uint32_t type;
	uint64_t first; /* block */
	uint32_t n;
	uint64_t stamp;
};

struct fe_inflight inflight;
struct fe_shadow shadow;
uint64_t crash_rng;
uint64_t crash_done;
unsigned int crash_in_flight;

static const char *const no_options[] = {NULL};

static struct crash_config config;
static struct fe_blk queue[CRASH_QUEUES];
static struct op ops[CRASH_QUEUES][CRASH_DEPTH];

/* ---- randomness ---- */

void crash_seed(void)
{
	crash_rng = seed_from("FE_CRASH_SEED");
}

uint64_t crash_random(uint64_t below)
{
	return fe_random(&crash_rng) % below;
}

/* ---- requests ---- */

/* Chooses blocks that nothing else in flight is in the way of; false: there seem to be none. */
static bool claim(struct op *op)
{
	const bool write = op->type != VIRTIO_BLK_T_IN;

	for (unsigned int i = 0; i < 16; i++) {
		op->n = 1 + (uint32_t)crash_random(config.max_bytes / shadow.block_size);
		op->first = crash_random(shadow.n_blocks - op->n + 1);
		if (fe_shadow_claim(&shadow, op->first, op->n, write))
			return true;
	}
	return false;
}

static uint32_t random_type(void)
{
	unsigned int dice = (unsigned int)crash_random(100);

	if (dice < 2 && !config.no_flushes)
		return VIRTIO_BLK_T_FLUSH;
	return dice < 50 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
}

static void submit(struct fe_blk *q, struct fe_blk_slot *slot, struct op *op)
{
	const uint32_t len = op->n * shadow.block_size;
	const uint32_t sizes[] = {1 + (uint32_t)crash_random(len ? len : 1), 512, 4096, len};
	struct fe_seg segs[MAX_PIECES];
	unsigned int n = 0;

	/* What the device must write, it must be seen to write. */
	if (op->type == VIRTIO_BLK_T_IN)
		memset(slot->data, 0xa5, len);
	if (len && crash_random(4) == 0)
		n = fe_cut(segs, MAX_PIECES, slot->data_gpa, len, op->type == VIRTIO_BLK_T_IN,
			   sizes, 4);
	if (n)
		REQUIRE_OK(fe_blk_submit_segs(q, slot, op->type,
					      op->first * shadow.block_size / FE_SECTOR, segs, n));
	else
		REQUIRE_OK(fe_blk_submit(q, slot, op->type,
					 op->first * shadow.block_size / FE_SECTOR, len));
	crash_in_flight++;
}

/* Puts one request on the queue; false if it has no room. */
static bool submit_one(unsigned int index)
{
	struct fe_blk *q = &queue[index];
	struct fe_blk_slot *slot;
	struct op *op;

	if (q->vq->n_free < (q->indirect ? 1 : MAX_PIECES + 2))
		return false;
	slot = fe_blk_get(q);
	if (!slot)
		return false;
	op = &ops[index][slot - q->slot];
	*op = (struct op){.type = random_type()};
	slot->cookie = op;
	if (op->type != VIRTIO_BLK_T_FLUSH && !claim(op)) {
		fe_blk_put(q, slot);
		return false;
	}
	if (op->type == VIRTIO_BLK_T_OUT)
		op->stamp = fe_shadow_fill(&shadow, op->first, op->n, slot->data);
	submit(q, slot, op);
	return true;
}

void crash_fill(void)
{
	for (unsigned int i = 0; i < config.n_queues; i++) {
		while (submit_one(i))
			;
		fe_vq_kick(&dev.vq[i]);
	}
}

static void complete_one(struct fe_blk *q, struct fe_blk_slot *slot)
{
	struct op *op = slot->cookie;
	const uint32_t len = op->n * shadow.block_size;

	REQUIRE_EQ(*slot->status, VIRTIO_BLK_S_OK);
	REQUIRE_EQ(q->last_len, op->type == VIRTIO_BLK_T_IN ? len + 1 : 1);
	if (op->type == VIRTIO_BLK_T_IN) {
		shadow_check_read(&shadow, op->first, op->n, slot->data);
	} else if (op->type == VIRTIO_BLK_T_OUT) {
		fe_shadow_wrote(&shadow, op->first, op->n, op->stamp);
	}
	fe_blk_put(q, slot);
	crash_in_flight--;
	crash_done++;
}

unsigned int crash_reap(void)
{
	struct fe_blk_slot *slot;
	unsigned int n = 0;
	int ret;

	for (unsigned int i = 0; i < config.n_queues; i++) {
		while ((ret = fe_blk_reap(&queue[i], &slot)) > 0) {
			complete_one(&queue[i], slot);
			n++;
		}
		/* -EPROTO: nobody waits for what is said to be done. */
		REQUIRE_OK(ret);
	}
	return n;
}

/* Sleeps until a queue has called, or the time is up; how many requests have come back. */
static unsigned int await_any(uint64_t deadline)
{
	struct pollfd p[CRASH_QUEUES + 1];
	unsigned int n;

	p[config.n_queues] =
		(struct pollfd){.fd = config.inband ? dev.channel.fd : -1, .events = POLLIN};
	for (unsigned int i = 0; i < config.n_queues; i++) {
		p[i] = (struct pollfd){.fd = dev.vq[i].call_fd, .events = POLLIN};
		fe_vq_silence(&dev.vq[i], false); /* asks for the next call */
	}
	n = crash_reap();
	if (n)
		return n;
	poll(p, config.n_queues + 1, fe_left_ms(deadline));
	if (config.inband)
		REQUIRE_OK(fe_dev_take(&dev));
	for (unsigned int i = 0; i < config.n_queues; i++)
		fe_vq_take_event(p[i].fd);
	return crash_reap();
}

void crash_pump(unsigned int us)
{
	const uint64_t end = fe_now_ns() + us * 1000ull;

	do {
		crash_fill();
		if (!crash_reap())
			await_any(end);
	} while (fe_now_ns() < end);
}

void crash_drain(void)
{
	uint64_t deadline = fe_deadline(COMPLETE_MS);

	while (crash_in_flight) {
		if (await_any(deadline))
			deadline = fe_deadline(COMPLETE_MS);
		if (!fe_left_ms(deadline))
			tap_check(false, true, __FILE__, __LINE__,
				  "%u requests have not completed within %u ms", crash_in_flight,
				  COMPLETE_MS);
	}
}

/* ---- the daemon ---- */

void crash_kill(void)
{
	REQUIRE_EQ(fe_daemon_stop(&server, SIGKILL, NULL), 128 + SIGKILL);
}

void crash_restart(void)
{
	REQUIRE_OK(fe_daemon_serve(&server, config.options));
}

void crash_reconnect(enum fe_base base)
{
	REQUIRE_OK(fe_inflight_reconnect(&dev, server.socket, &inflight, base));
}

void crash_once(void)
{
	crash_kill();
	crash_restart();
	crash_reconnect(FE_BASE_QEMU);
}

/* ---- sessions ---- */

void crash_begin(const struct crash_config *wanted)
{
	uint64_t off = 0, mem;

	config = *wanted;
	if (!config.options)
		config.options = no_options;
	if (!config.block_size)
		config.block_size = 4096;
	if (!config.max_bytes)
		config.max_bytes = 16 * KIB;
	if (!config.disk_size)
		config.disk_size = 32 * MIB;
	if (!config.indirect)
		off |= FE_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	if (!config.event_idx)
		off |= FE_BIT(VIRTIO_RING_F_EVENT_IDX);
	mem = 8 * MIB + (uint64_t)config.n_queues * config.depth * (config.max_bytes + 8192);
	crash_in_flight = 0;
	REQUIRE_OK(fe_image_make(server.image, config.disk_size));
	REQUIRE_OK(fe_daemon_serve(&server, config.options));
	inflight =
		(struct fe_inflight){.queue_size = config.inflight_size, .payload = config.payload};
	REQUIRE_OK(fe_inflight_start(&dev, server.socket,
				     &(struct fe_dev_options){
					     .features_off = off,
					     .packed = config.packed,
					     .channel = config.inband,
					     .inband = config.inband,
					     .n_queues = config.n_queues,
					     .queue_size = config.queue_size,
					     .mem_size = (mem + 4095) & ~4095ull,
				     },
				     &inflight));
	REQUIRE_OK(
		fe_shadow_init(&shadow, config.disk_size / config.block_size, config.block_size));
	for (unsigned int i = 0; i < config.n_queues; i++)
		REQUIRE_OK(fe_blk_init(&queue[i], &dev, i, config.depth, config.max_bytes));
}

void crash_end(void)
{
	crash_drain();
	REQUIRE_OK(fe_dev_stop(&dev));
	/* What comes after the last completion must be nothing. */
	CHECK_EQ(crash_reap(), 0);
	for (unsigned int i = 0; i < config.n_queues; i++)
		CHECK_EQ(fe_inflight_count(&inflight, i), 0);
	shadow_check_image(&shadow);
	fe_shadow_free(&shadow);
	for (unsigned int i = 0; i < config.n_queues; i++)
		fe_blk_free(&queue[i]);
	fe_inflight_free(&inflight);
	fe_dev_close(&dev);
}

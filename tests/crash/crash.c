/* SPDX-License-Identifier: BSD-3-Clause */
/* The crash tests' common ground, see crash.h. Owns the queues' requests and the disks' models. */
#define _GNU_SOURCE
#include "tests/crash/crash.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
struct fe_keeper keeper;
uint64_t crash_rng;
uint64_t crash_done;
unsigned int crash_in_flight;

static const char *const no_options[] = {NULL};

/* A disk, and its front-end. */
struct front {
	const char *socket, *image;
	struct fe_dev *dev;
	struct fe_inflight *inflight;
	struct fe_shadow *shadow;
	struct fe_blk queue[CRASH_QUEUES];
	struct op ops[CRASH_QUEUES][CRASH_DEPTH];
	unsigned int in_flight;
	uint64_t done;
};

static struct crash_config config;

/* The first is made of what everybody knows; of the others only we know. */
static struct front front[CRASH_DISKS];
static struct {
	struct fe_daemon place; /* a copy of `server` with another socket and image */
	struct fe_dev dev;
	struct fe_inflight inflight;
	struct fe_shadow shadow;
} more[CRASH_DISKS];

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
static bool claim(const struct front *f, struct op *op)
{
	const bool write = op->type != VIRTIO_BLK_T_IN;

	for (unsigned int i = 0; i < 16; i++) {
		op->n = 1 + (uint32_t)crash_random(config.max_bytes / f->shadow->block_size);
		op->first = crash_random(f->shadow->n_blocks - op->n + 1);
		if (fe_shadow_claim(f->shadow, op->first, op->n, write))
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

static void submit(struct front *f, struct fe_blk *q, struct fe_blk_slot *slot, struct op *op)
{
	const uint32_t len = op->n * f->shadow->block_size;
	const uint64_t sector = op->first * f->shadow->block_size / FE_SECTOR;
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
		REQUIRE_OK(fe_blk_submit_segs(q, slot, op->type, sector, segs, n));
	else
		REQUIRE_OK(fe_blk_submit(q, slot, op->type, sector, len));
	f->in_flight++;
	crash_in_flight++;
}

/* Puts one request on the queue; false if it has no room. */
static bool submit_one(struct front *f, unsigned int index)
{
	struct fe_blk *q = &f->queue[index];
	struct fe_blk_slot *slot;
	struct op *op;

	if (q->vq->n_free < (q->indirect ? 1 : MAX_PIECES + 2))
		return false;
	slot = fe_blk_get(q);
	if (!slot)
		return false;
	op = &f->ops[index][slot - q->slot];
	*op = (struct op){.type = random_type()};
	slot->cookie = op;
	if (op->type != VIRTIO_BLK_T_FLUSH && !claim(f, op)) {
		fe_blk_put(q, slot);
		return false;
	}
	if (op->type == VIRTIO_BLK_T_OUT)
		op->stamp = fe_shadow_fill(f->shadow, op->first, op->n, slot->data);
	submit(f, q, slot, op);
	return true;
}

void crash_fill(void)
{
	for (unsigned int i = 0; i < config.n_disks * config.n_queues; i++) {
		struct front *f = &front[i / config.n_queues];
		const unsigned int index = i % config.n_queues;

		while (submit_one(f, index))
			;
		fe_vq_kick(&f->dev->vq[index]);
	}
}

static void complete_one(struct front *f, struct fe_blk *q, struct fe_blk_slot *slot)
{
	struct op *op = slot->cookie;
	const uint32_t len = op->n * f->shadow->block_size;

	REQUIRE_EQ(*slot->status, VIRTIO_BLK_S_OK);
	REQUIRE_EQ(q->last_len, op->type == VIRTIO_BLK_T_IN ? len + 1 : 1);
	if (op->type == VIRTIO_BLK_T_IN) {
		shadow_check_read(f->shadow, op->first, op->n, slot->data);
	} else if (op->type == VIRTIO_BLK_T_OUT) {
		fe_shadow_wrote(f->shadow, op->first, op->n, op->stamp);
	}
	fe_blk_put(q, slot);
	f->in_flight--;
	f->done++;
	crash_in_flight--;
	crash_done++;
}

unsigned int crash_reap(void)
{
	struct fe_blk_slot *slot;
	unsigned int n = 0;
	int ret;

	for (unsigned int i = 0; i < config.n_disks * config.n_queues; i++) {
		struct front *f = &front[i / config.n_queues];
		struct fe_blk *q = &f->queue[i % config.n_queues];

		while ((ret = fe_blk_reap(q, &slot)) > 0) {
			complete_one(f, q, slot);
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
	struct pollfd p[CRASH_DISKS * (CRASH_QUEUES + 1)];
	unsigned int n_fds = 0, n;

	for (unsigned int d = 0; d < config.n_disks; d++) {
		struct fe_dev *device = front[d].dev;

		for (unsigned int i = 0; i < config.n_queues; i++) {
			p[n_fds++] = (struct pollfd){.fd = device->vq[i].call_fd, .events = POLLIN};
			fe_vq_silence(&device->vq[i], false); /* asks for the next call */
		}
		if (config.inband)
			p[n_fds++] = (struct pollfd){.fd = device->channel.fd, .events = POLLIN};
	}
	n = crash_reap();
	if (n)
		return n;
	poll(p, n_fds, fe_left_ms(deadline));
	for (unsigned int d = 0; d < config.n_disks; d++) {
		if (config.inband)
			REQUIRE_OK(fe_dev_take(front[d].dev));
		for (unsigned int i = 0; i < config.n_queues; i++)
			fe_vq_take_event(front[d].dev->vq[i].call_fd);
	}
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

static bool file_contains(const char *path, const char *text)
{
	FILE *f = fopen(path, "re");
	bool found = false;
	char *buf = NULL;
	long size;

	if (!f)
		return false;
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	buf = size > 0 ? malloc((size_t)size) : NULL;
	if (buf && fread(buf, 1, (size_t)size, f) == (size_t)size)
		found = memmem(buf, (size_t)size, text, strlen(text));
	free(buf);
	fclose(f);
	return found;
}

void crash_needs_kill_points(void)
{
	tap_check(getenv("VUBLKD") != NULL, true, __FILE__, __LINE__, "VUBLKD is not set");
	/* A build without them does not know its variable. */
	if (!file_contains(getenv("VUBLKD"), "VUBLK_KILL"))
		tap_skip("VUBLKD is not built with --enable-kill-points");
}

void crash_kill(void)
{
	if (config.kept)
		REQUIRE_OK(fe_keeper_kill(&keeper));
	else
		REQUIRE_EQ(fe_daemon_stop(&server, SIGKILL, NULL), 128 + SIGKILL);
}

/* One process for all disks, which it finds in a directory of settings. */
static void make_args_for_all(struct fe_daemon_args *args)
{
	unsigned int n = 0;

	snprintf(args->image, sizeof(args->image), "--config-dir=%s/conf", dir);
	args->arg[n++] = args->image;
	for (const char *const *option = config.options; *option && n < FE_DAEMON_ARGS; option++)
		args->arg[n++] = *option;
	args->arg[n] = NULL;
}

void crash_restart(void)
{
	static struct fe_daemon_args args;

	if (config.n_disks > 1)
		make_args_for_all(&args);
	else
		fe_daemon_make_args(&server, config.options, &args);
	if (config.kept) {
		REQUIRE_OK(fe_keeper_start(&keeper, &server, args.arg, config.kill));
		REQUIRE_OK(fe_keeper_await_ready(&keeper, 1));
		return;
	}
	REQUIRE_OK(fe_daemon_spawn(&server, args.arg, NULL, NULL));
	for (unsigned int i = 0; i < config.n_disks; i++) {
		struct fe_daemon *place = i ? &more[i].place : &server;

		place->pid = server.pid;
		REQUIRE_OK(fe_daemon_await_socket(place));
	}
}

void crash_check_connected(void)
{
	for (unsigned int i = 0; i < config.n_disks; i++) {
		struct pollfd p = {.fd = front[i].dev->conn.fd, .events = POLLRDHUP};

		REQUIRE_EQ(poll(&p, 1, 0), 0);
	}
}

void crash_reconnect(enum fe_base base)
{
	for (unsigned int i = 0; i < config.n_disks; i++)
		REQUIRE_OK(fe_inflight_reconnect(front[i].dev, front[i].socket, front[i].inflight,
						 base));
}

void crash_once(void)
{
	crash_kill();
	crash_restart();
	crash_reconnect(FE_BASE_QEMU);
}

uint64_t crash_disk_done(unsigned int disk)
{
	return front[disk].done;
}

/* ---- sessions ---- */

/* The file that tells the daemon of this disk. */
static void tell(unsigned int disk)
{
	const struct fe_daemon *place = &more[disk].place;
	char path[300];
	FILE *file;

	snprintf(path, sizeof(path), "%s/conf", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/conf/d%u.conf", dir, disk);
	file = fopen(path, "we");
	REQUIRE(file);
	fprintf(file, "blk-file = %s\nsocket-path = %s\n", place->image, place->socket);
	REQUIRE(!fclose(file));
}

static void make_fronts(void)
{
	for (unsigned int i = 0; i < config.n_disks; i++) {
		struct front *f = &front[i];
		struct fe_daemon *place = &more[i].place;

		*place = server;
		if (i) {
			snprintf(place->socket, sizeof(place->socket), "%s/d%u.sock", dir, i);
			snprintf(place->image, sizeof(place->image), "%s/d%u.img", dir, i);
		}
		*f = (struct front){
			.socket = i ? place->socket : server.socket,
			.image = i ? place->image : server.image,
			.dev = i ? &more[i].dev : &dev,
			.inflight = i ? &more[i].inflight : &inflight,
			.shadow = i ? &more[i].shadow : &shadow,
		};
		REQUIRE_OK(fe_image_make(f->image, config.disk_size));
		if (config.n_disks > 1)
			tell(i);
	}
}

static void begin(struct front *f)
{
	const unsigned int number = (unsigned int)(f - front);
	struct fe_dev_options options;
	uint64_t off = 0, mem;

	if (!config.indirect)
		off |= FE_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	if (!config.event_idx)
		off |= FE_BIT(VIRTIO_RING_F_EVENT_IDX);
	mem = 8 * MIB + (uint64_t)config.n_queues * config.depth * (config.max_bytes + 8192);
	*f->inflight =
		(struct fe_inflight){.queue_size = config.inflight_size, .payload = config.payload};
	options = (struct fe_dev_options){
		.features_off = off,
		.packed = config.packed ^ (config.mixed && number % 2),
		.channel = config.inband,
		.inband = config.inband,
		.n_queues = config.n_queues,
		.queue_size = config.queue_size,
		.mem_size = (mem + 4095) & ~4095ull,
	};
	if (config.no_region)
		REQUIRE_OK(fe_dev_start(f->dev, f->socket, &options));
	else
		REQUIRE_OK(fe_inflight_start(f->dev, f->socket, &options, f->inflight));
	REQUIRE_OK(
		fe_shadow_init(f->shadow, config.disk_size / config.block_size, config.block_size));
	/* So that no block of one disk has ever what another disk has there. */
	f->shadow->last_stamp = (uint64_t)number << 56;
	for (unsigned int i = 0; i < config.n_queues; i++)
		REQUIRE_OK(fe_blk_init(&f->queue[i], f->dev, i, config.depth, config.max_bytes));
}

void crash_begin(const struct crash_config *wanted)
{
	config = *wanted;
	if (!config.options)
		config.options = no_options;
	if (!config.block_size)
		config.block_size = 4096;
	if (!config.max_bytes)
		config.max_bytes = 16 * KIB;
	if (!config.disk_size)
		config.disk_size = 32 * MIB;
	if (!config.n_disks)
		config.n_disks = 1;
	crash_in_flight = 0;
	make_fronts();
	crash_restart();
	for (unsigned int i = 0; i < config.n_disks; i++)
		begin(&front[i]);
}

static void end(struct front *f)
{
	for (unsigned int i = 0; i < config.n_queues && !config.no_region; i++)
		CHECK_EQ(fe_inflight_count(f->inflight, i), 0);
	shadow_check_image(f->shadow, f->image);
	fe_shadow_free(f->shadow);
	for (unsigned int i = 0; i < config.n_queues; i++)
		fe_blk_free(&f->queue[i]);
	fe_inflight_free(f->inflight);
	fe_dev_close(f->dev);
}

void crash_end(void)
{
	crash_drain();
	for (unsigned int i = 0; i < config.n_disks; i++)
		REQUIRE_OK(fe_dev_stop(front[i].dev));
	/* What comes after the last completion must be nothing. */
	CHECK_EQ(crash_reap(), 0);
	for (unsigned int i = 0; i < config.n_disks; i++)
		end(&front[i]);
}

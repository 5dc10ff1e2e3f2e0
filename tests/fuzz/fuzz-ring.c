/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings as a hostile driver writes them, split and packed, with the requests that they carry, and
 * beside the real code a model of both (ring_model.h): what is available, what each request has to
 * do to the disk and to memory, what is written as used, whether the driver is called. After each
 * step all of guest memory and of the disk is what the model says, so nothing else was written
 * either.
 *
 * With an in-flight region the device may be killed between two steps, and goes on anew with what
 * was taken and not given back, in that order. (Kills within a step: tests/crash.)
 *
 * O_DIRECT, merging and syncs that fail are fuzz-request's.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/shared/inflight.h"
#include "lib/vq/ring.h"
#include "lib/vq/track.h"
#include "src/base/log.h"
#include "src/request/merge.h"
#include "src/request/request.h"
#include "src/request/sync.h"
#include "tests/fuzz/ring_model.h"
#include "tests/unit/support/blk-disk.h"

#define HANDLE 7

static struct {
	struct image image;
	struct blk_disk disk;
	struct vublk_queue vq;
	struct blk_env env;
	struct blk_counters counters;
	struct step_clock clock;
	struct bounce_pool bounces; /* never used: it is not O_DIRECT */
	struct bounce_user bounce_user;
	struct target target;
	struct blk_req req[CHAINS];
	struct io *op[CHAINS];
	unsigned n_ops;
	uint8_t content[DISK];
	struct vhu_mem *map;
	struct vhu_inflight *inflight; /* NULL: not tracked */
	uint64_t features;
	int memory_fd, call_fd;
} fuzz;

static void compare(void)
{
	FUZZ_CHECK(!memcmp(model.memory, model.expected, MEMORY));
	FUZZ_CHECK(!memcmp(fuzz.content, model.expected_content, DISK));
	FUZZ_CHECK(vublk_queue_broken(&fuzz.vq) == model.broken);
}

/* ---- what becomes of requests ---- */

static void finished(struct blk_req *req, uint32_t written)
{
	const unsigned i = (unsigned)(req - fuzz.req);
	struct guest *guest = &model.guest[i];

	FUZZ_CHECK(guest->popped && !guest->answered);
	for (unsigned k = 0; k < fuzz.n_ops; k++)
		FUZZ_CHECK(fuzz.op[k] != &req->io);
	guest->answered = true;
	guest->written = written;
	model.order[model.n_answered++] = i;
	if (guest->status < 0)
		model.broken = true;
	else
		model_finish(guest, written);
	vublk_queue_push(&fuzz.vq, &req->chain, written);
}

static void abandoned(struct blk_req *req)
{
	(void)req;
	FUZZ_CHECK(!"nothing is abandoned");
}

static void malformed(struct blk_req *req, const char *why)
{
	vublk_queue_break(&fuzz.vq, why);
	finished(req, 0);
}

/* ---- the engine ---- */

static struct guest *guest_of(const struct io *io)
{
	return &model.guest[(const struct blk_req *)(const void *)io - fuzz.req];
}

static void submit(struct target *target, struct io *io)
{
	const struct guest *guest = guest_of(io);

	(void)target;
	FUZZ_CHECK(io->file == HANDLE && fuzz.n_ops < CHAINS);
	FUZZ_CHECK(guest->popped && !guest->answered && guest->status == VIRTIO_BLK_S_OK);
	if (io->op != IO_SYNC)
		FUZZ_CHECK(guest->size && io->offset == guest->at + guest->done);
	fuzz.op[fuzz.n_ops++] = io;
}

static bool cancel(struct target *target, struct io *io)
{
	(void)target, (void)io;
	return false;
}

static const struct target_class target_class = {
	.name = "fuzz", .submit = submit, .cancel = cancel};

/* Moves `size` bytes of the real ones; the kernel looks at each piece once. */
static void move(const struct io *io, uint64_t size)
{
	uint8_t *disk = fuzz.content + io->offset;

	for (unsigned i = 0; size; i++) {
		const size_t n = io->iov[i].iov_len < size ? io->iov[i].iov_len : (size_t)size;

		FUZZ_CHECK(i < io->niov);
		if (io->op == IO_READ)
			memcpy(io->iov[i].iov_base, disk, n);
		else
			memcpy(disk, io->iov[i].iov_base, n);
		disk += n;
		size -= n;
	}
}

static int64_t execute(struct io *io, struct guest *guest, uint8_t how, uint16_t amount)
{
	const bool transfer = io->op == IO_READ || io->op == IO_WRITE;
	uint64_t size = guest->size - guest->done;

	if (how % 8 == 1) {
		guest->failed = true;
		return -EIO;
	}
	if (io->op == IO_SYNC)
		return 0;
	if (!transfer) {
		FUZZ_CHECK(io->length == size);
		if (how % 8 == 2)
			return -EOPNOTSUPP;
		memset(fuzz.content + io->offset, 0, io->length);
		model_moved(guest, size);
		return 0;
	}
	FUZZ_CHECK(io->niov && io->niov <= 1024 && vublk_iov_size(io->iov, io->niov) <= size);
	size = vublk_iov_size(io->iov, io->niov);
	if (how % 8 == 3)
		size = amount % size + 1;
	move(io, size);
	model_moved(guest, size);
	return (int64_t)size;
}

static void complete(unsigned i, uint8_t how, uint16_t amount)
{
	struct io *io = fuzz.op[i];
	struct guest *guest = guest_of(io);

	memmove(fuzz.op + i, fuzz.op + i + 1, (--fuzz.n_ops - i) * sizeof(fuzz.op[0]));
	/* A sync may answer several: it does not fail here. */
	io->result = execute(io, guest, io->op == IO_SYNC ? 0 : how, amount);
	io->done(io);
	compare();
}

/* ---- the device ---- */

static void pop(void)
{
	unsigned i = 0;
	int got, right;

	while (i < CHAINS && model.guest[i].popped)
		i++;
	if (i == CHAINS)
		return;
	right = model_pop(&model.guest[i]);
	fuzz.req[i].env = &fuzz.env;
	got = vublk_queue_pop(&fuzz.vq, &fuzz.req[i].chain);
	if (got == -EAGAIN) {
		/* A long one has to wait, but for nothing. */
		FUZZ_CHECK(right && model.n_taken);
		model.broken = vublk_queue_broken(&fuzz.vq);
		return;
	}
	FUZZ_CHECK(got == right);
	model.broken |= got < 0;
	if (got == 1) {
		struct guest *guest = &model.guest[i];

		FUZZ_CHECK(fuzz.req[i].chain.out_size == guest->out_size);
		FUZZ_CHECK(fuzz.req[i].chain.in_size == guest->in_size);
		model_took(guest);
		guest->status = model_begin(guest);
		blk_req_begin(&fuzz.req[i]);
		blk_merge_flush(&fuzz.env);
	}
	compare();
}

static void publish(void)
{
	const bool any = model.n_answered;
	const bool call = any && model_publish();
	uint64_t calls;

	model.n_answered = 0;
	vublk_queue_publish(&fuzz.vq);
	FUZZ_CHECK((read(fuzz.call_fd, &calls, sizeof(calls)) > 0) == call);
	compare();
}

static void ask_for_kicks(bool want)
{
	const bool more = vublk_queue_want_kicks(&fuzz.vq, want);

	if (model.broken)
		return;
	model_kicks(want);
	/* What came meanwhile nobody kicks for. */
	FUZZ_CHECK(more == (want && (model.packed ? model_is_available()
						  : model_load16(AVAIL + 2) != model.next_avail)));
	compare();
}

/* ---- a run ---- */

static void make_memory(void)
{
	struct vhu_region regions[RANGES];
	int fds[RANGES];

	fuzz.memory_fd = memfd_create("fuzz", MFD_CLOEXEC);
	FUZZ_CHECK(fuzz.memory_fd >= 0 && !ftruncate(fuzz.memory_fd, MEMORY));
	model.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fuzz.memory_fd, 0);
	FUZZ_CHECK(model.memory != MAP_FAILED);
	for (unsigned i = 0; i < RANGES; i++) {
		regions[i] = (struct vhu_region){
			.guest_addr = range[i].gpa,
			.size = range[i].size,
			.user_addr = USER + range[i].gpa,
			.mmap_offset = range[i].offset,
		};
		fds[i] = fuzz.memory_fd;
	}
	FUZZ_CHECK(!vhu_mem_new(&fuzz.map, "fuzz", regions, fds, RANGES));
	fuzz.call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	FUZZ_CHECK(fuzz.call_fd >= 0);
}

static const uint8_t *noise(void)
{
	static uint8_t bytes[DISK];

	for (size_t i = 0; !bytes[0] && i < DISK; i++)
		bytes[DISK - 1 - i] = (uint8_t)((DISK - 1 - i) ^ (DISK - 1 - i) >> 8 ^ 0x55);
	return bytes;
}

static void make_disk(bool read_only)
{
	blk_disk_make(&fuzz.disk, &fuzz.image);
	fuzz.image.size = fuzz.image.end = DISK;
	fuzz.image.read_only = model.read_only = read_only;
	fuzz.image.max_discard = DISCARD;
	fuzz.image.max_write_zeroes = 2 * DISCARD;
	image_end_init(&blk_disk_end, &fuzz.image, "fuzz");
	atomic_store(&blk_disk_end.told_beyond, true); /* once is enough */
	blk_sync_init(&blk_disk_sync);
	fuzz.target.class = &target_class;
	bounce_init(&fuzz.bounces);
	fuzz.env = (struct blk_env){.disk = &fuzz.disk,
				    .target = &fuzz.target,
				    .file = HANDLE,
				    .bounce = &fuzz.bounces,
				    .bounce_user = &fuzz.bounce_user,
				    .counters = &fuzz.counters,
				    .clock = &fuzz.clock,
				    .finished = finished,
				    .abandoned = abandoned,
				    .malformed = malformed,
				    .io_errors = fuzz.env.io_errors};
	memcpy(fuzz.content, noise(), DISK);
	memcpy(model.expected_content, noise(), DISK);
}

static void make_region(void)
{
	struct vhu_inflight_desc desc = {.num_queues = 1, .queue_size = RING_SIZE};
	int fd;

	FUZZ_CHECK(!vhu_inflight_create(1, RING_SIZE, model.packed, &fd, &desc.mmap_size));
	FUZZ_CHECK(!vhu_inflight_adopt(&fuzz.inflight, "fuzz", &desc, fd, model.packed, 1));
	close(fd);
}

/* The device's first look at the ring, or a later process's. */
static void begin_ring(uint32_t base)
{
	const struct vq_layout layout = {
		.size = model.size,
		.desc = USER + DESC,
		.avail = USER + AVAIL,
		.used = USER + USED,
		.base = base,
	};
	uint64_t calls;

	model.broken = model.called = false;
	model.kicks_wanted = true;
	model.seen_avail = model.next_avail;
	vq_init(&fuzz.vq, "fuzz", 0);
	fuzz.vq.call_fd = fuzz.call_fd;
	FUZZ_CHECK(!vq_setup(&fuzz.vq, &layout, fuzz.map, fuzz.inflight, fuzz.features));
	FUZZ_CHECK(!vublk_queue_begin(&fuzz.vq));
	model_store16(model.packed ? USED + 2 : USED, 0); /* kicks are wanted */
	/* A call may have been lost. */
	FUZZ_CHECK(read(fuzz.call_fd, &calls, sizeof(calls)) > 0 || errno == EAGAIN);
}

/* The process dies, with all that it has; the kernel has nothing. The next one begins. */
static void die(uint16_t base)
{
	/* A driver that has written our index, or gone back, gets nowhere. */
	if (!fuzz.inflight || (!model.packed && (model_load16(USED + 2) != model.used_idx ||
						 (uint16_t)(model_load16(AVAIL + 2) -
							    model.used_idx) < model.n_taken)))
		return;
	for (unsigned i = 0; i < CHAINS; i++) {
		struct guest *guest = &model.guest[i];

		if (!guest->popped)
			continue;
		if (!guest->answered)
			vublk_queue_abandon(&fuzz.vq, &fuzz.req[i].chain);
		model_take_again(guest);
		guest->popped = guest->answered = false;
	}
	fuzz.n_ops = model.n_answered = 0;
	vq_teardown(&fuzz.vq);
	blk_sync_destroy(&blk_disk_sync);
	blk_sync_init(&blk_disk_sync);
	if (model.packed)
		model_restore_slots();
	begin_ring(base); /* which the region knows better */
	compare();
}

/* Where ring and driver begin, anywhere in the ring. */
static void make_ring(uint8_t kind, uint8_t entries, uint16_t base)
{
	uint32_t place = base;

	fuzz.features = 1ull << VIRTIO_F_VERSION_1 | (kind & 1 ? 1ull << VIRTIO_F_RING_PACKED : 0) |
			(kind & 2 ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0) |
			(kind & 4 ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0);
	model.packed = kind & 1;
	model.event_idx = kind & 2;
	model.indirect = kind & 4;
	model.size = model.packed ? entries % RING_SIZE + 1u : 2u << entries % 6u;
	fuzz.inflight = NULL;
	model.tracked = kind & 16;
	model.n_again = model.number = 0;
	model.n_taken = model.n_answered = fuzz.n_ops = model.in_use = 0;
	model.offers = model.next_desc = 0;
	model.next_avail = model.packed ? base % (uint16_t)model.size : base;
	model.avail_idx = model.seen_avail = model.next_avail;
	model.avail_wrap = model.used_wrap = model.wrap = base >> 15;
	model.used_idx = model.next_avail;
	if (model.packed) {
		place = model.next_avail | (unsigned)model.avail_wrap << 15;
		place |= place << 16;
		model.next_desc = model.next_avail;
	} else {
		model_poke16(AVAIL + 2, base);
		model_poke16(USED + 2, base);
	}
	if (model.tracked)
		make_region();
	begin_ring(place);
	for (unsigned i = 0; i < CHAINS; i++) {
		model.guest[i].popped = model.guest[i].answered = false;
		vublk_chain_init(&fuzz.req[i].chain, fuzz.req[i].iov, BLK_REQ_IOVS);
	}
}

static void step(struct fuzz_input *in)
{
	const uint8_t choice = fuzz_u8(in), kind = choice % 8;

	if (choice >= 0xf0)
		die(fuzz_u16(in));
	else if (kind <= 1)
		driver_offer(in);
	else if (kind == 2)
		driver_write(in);
	else if (kind == 3 || kind == 4)
		pop();
	else if (kind == 5 && fuzz.n_ops)
		complete(choice / 8u % fuzz.n_ops, fuzz_u8(in), fuzz_u16(in));
	else if (kind == 6)
		publish();
	else if (kind == 7)
		ask_for_kicks(choice & 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	const uint8_t kind = fuzz_u8(&in), entries = fuzz_u8(&in);

	log_set_level(LOG_LEVEL_ERROR);
	if (!model.memory)
		make_memory();
	memset(model.memory, 0, MEMORY);
	memset(model.expected, 0, MEMORY);
	make_disk(kind & 8);
	make_ring(kind, entries, fuzz_u16(&in));
	compare();
	while (in.left)
		step(&in);
	/* What is popped is answered, whatever became of the ring. */
	while (fuzz.n_ops)
		complete(0, 0, 0);
	publish();
	FUZZ_CHECK(model.n_taken == model.n_again && fuzz.vq.n_taken == model.n_again);
	FUZZ_CHECK(!fuzz.vq.allocated);
	vublk_queue_end(&fuzz.vq);
	vq_teardown(&fuzz.vq);
	vhu_inflight_put(fuzz.inflight);
	blk_sync_destroy(&blk_disk_sync);
	return 0;
}

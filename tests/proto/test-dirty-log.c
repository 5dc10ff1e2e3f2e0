/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of dirty pages, as a front-end that migrates the guest sees it: it is compared with the
 * pages that have really changed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define PAGE      4096ull
#define QUEUES    2
#define DEPTH     16
#define DATA_SIZE (64 * KIB)
#define MEM_SIZE  (16 * MIB)
#define LOG_SIZE  (MEM_SIZE / PAGE / 8)
#define DISK      (32 * MIB)
#define ROUNDS    300

static struct fe_blk queue[QUEUES];
static int file = -1;
static uint8_t *marks;            /* the log */
static uint8_t allowed[LOG_SIZE]; /* pages that may be marked */
static uint8_t *memory;           /* the guest's */
static uint8_t copy[MEM_SIZE];    /* of it */
static uint64_t rng;

/* ---- the log ---- */

static bool is_set(const uint8_t *bits, uint64_t page)
{
	return __atomic_load_n(&bits[page / 8], __ATOMIC_ACQUIRE) >> page % 8 & 1;
}

static void set_bits(uint8_t *bits, uint64_t gpa, uint64_t size)
{
	for (uint64_t page = gpa / PAGE; page <= (gpa + size - 1) / PAGE; page++)
		bits[page / 8] |= (uint8_t)(1u << page % 8);
}

static int tell_log(uint64_t size, uint64_t offset)
{
	const struct vhu_log log = {size, offset};

	return fe_tell(&dev.conn, VHU_SET_LOG_BASE, &log, sizeof(log), &file, 1);
}

static int tell_logging(bool on)
{
	return fe_tell_u64(&dev.conn, VHU_SET_FEATURES,
			   dev.features | (on ? FE_BIT(VHU_F_LOG_ALL) : 0));
}

static void make_log(void)
{
	file = memfd_create("log", MFD_CLOEXEC);
	REQUIRE_OK(ftruncate(file, 2 * LOG_SIZE));
	marks = mmap(NULL, 2 * LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	REQUIRE(marks != MAP_FAILED);
}

/* An image whose blocks are all different, two workers, two queues; nothing is logged yet. */
static void begin(void)
{
	uint8_t block[64 * KIB];

	needs_vublkd();
	rng = seed_from("FE_LOG_SEED");
	make_log();
	serve(DISK, "--num-workers=2");
	for (uint64_t at = 0; at < DISK; at += sizeof(block)) {
		fe_pattern(block, at, sizeof(block), 7);
		REQUIRE_OK(fe_image_write(server.image, at, block, sizeof(block)));
	}
	proto_attach(&(struct fe_dev_options){
		.n_queues = QUEUES, .mem_size = MEM_SIZE, .queue_size = 64});
	for (unsigned int i = 0; i < QUEUES; i++)
		REQUIRE_OK(fe_blk_init(&queue[i], &dev, i, DEPTH, DATA_SIZE));
	memory = dev.mem.region[0].host;
}

static void end(void)
{
	for (unsigned int i = 0; i < QUEUES; i++)
		fe_blk_free(&queue[i]);
	if (marks)
		munmap(marks, 2 * LOG_SIZE);
	marks = NULL;
	close(file);
	proto_teardown();
}

/* ---- what changes is marked, and nothing else ---- */

/* What the device may write of the rings. */
static void allow_rings(void)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		const struct fe_vq *vq = &dev.vq[i];

		if (fe_vq_is_packed(vq)) {
			set_bits(allowed, vq->desc_gpa, 16 * vq->num);
			set_bits(allowed, vq->used_gpa, 4);
		} else {
			set_bits(allowed, vq->used_gpa, 4 + 8 * vq->num + 2);
		}
	}
}

/* A random request, added and not kicked. */
static void add_one(struct fe_blk *b)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
					 VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID};
	const uint32_t type = types[fe_random(&rng) % 5];
	struct fe_blk_slot *slot = fe_blk_get(b);
	uint32_t len = 512 * (1 + (uint32_t)(fe_random(&rng) % (DATA_SIZE / 512)));

	REQUIRE(slot);
	if (type == VIRTIO_BLK_T_FLUSH)
		len = 0;
	if (type == VIRTIO_BLK_T_GET_ID)
		len = VIRTIO_BLK_ID_BYTES;
	if (len && type != VIRTIO_BLK_T_OUT) {
		set_bits(allowed, slot->data_gpa, len);
		memset(slot->data, (int)fe_random(&rng), len);
	}
	set_bits(allowed, slot->status_gpa, 1);
	REQUIRE_OK(fe_blk_submit(b, slot, type, fe_random(&rng) % (DISK / 512 - DATA_SIZE / 512),
				 len));
}

static void check_page(uint64_t page)
{
	const uint64_t deadline = fe_deadline(5000);

	/* The last store may just have been made. */
	while (!is_set(marks, page))
		if (!fe_left_ms(deadline))
			tap_check(false, true, __FILE__, __LINE__,
				  "page %llu was written and is not marked",
				  (unsigned long long)page);
}

/*
 * What we have stored ourselves since the copy was made, to make the requests available, is none
 * of the device's. In a packed ring it has used at least the first slot.
 */
static void forget_own_stores(void)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		const struct fe_vq *vq = &dev.vq[i];
		const bool packed = fe_vq_is_packed(vq);
		const uint64_t at = packed ? vq->desc_gpa : vq->avail_gpa;

		if (packed)
			check_page((at + 16ull * vq->packed.used.idx) / PAGE);
		memcpy(copy + at, memory + at, packed ? 16 * vq->num : 6 + 2 * vq->num);
	}
}

/* Is each page that differs from the copy marked? */
static void check_marked(void)
{
	forget_own_stores();
	for (uint64_t page = 0; page < MEM_SIZE / PAGE; page++)
		if (memcmp(memory + page * PAGE, copy + page * PAGE, PAGE))
			check_page(page);
}

static void check_no_others(void)
{
	for (uint64_t i = 0; i < LOG_SIZE; i++)
		if (marks[i] & ~allowed[i])
			tap_check(false, true, __FILE__, __LINE__,
				  "pages from %llu on: marked 0x%x, of which may be 0x%x",
				  (unsigned long long)i * 8, marks[i], allowed[i]);
}

static void await_all(void)
{
	const uint64_t deadline = fe_deadline(10000);

	for (unsigned int i = 0; i < QUEUES; i++) {
		while (fe_vq_n_used(&dev.vq[i]) < queue[i].in_flight)
			REQUIRE(fe_left_ms(deadline));
		REQUIRE_OK(fe_vq_wait_rest(&dev.vq[i], deadline));
	}
}

static void one_round(bool logging)
{
	struct fe_blk_slot *slot;

	memset(allowed, 0, sizeof(allowed));
	allow_rings();
	for (unsigned int i = 0; i < QUEUES; i++)
		for (uint64_t n = 1 + fe_random(&rng) % DEPTH; n; n--)
			add_one(&queue[i]);
	memcpy(copy, memory, MEM_SIZE);
	memset(marks, 0, LOG_SIZE);
	for (unsigned int i = 0; i < QUEUES; i++) {
		fe_vq_publish(&dev.vq[i]);
		fe_vq_raw_kick(&dev.vq[i]);
	}
	await_all();
	if (logging) {
		check_marked();
		check_no_others();
	} else {
		memset(allowed, 0, sizeof(allowed));
		check_no_others();
	}
	for (unsigned int i = 0; i < QUEUES; i++) {
		while (queue[i].in_flight) {
			REQUIRE_OK(fe_blk_await(&queue[i], &slot));
			REQUIRE_EQ(*slot->status, VIRTIO_BLK_S_OK);
			fe_blk_put(&queue[i], slot);
		}
	}
}

static void what_changes_is_marked_and_nothing_else(void)
{
	begin();
	REQUIRE_OK(tell_log(LOG_SIZE, 0));
	REQUIRE_OK(tell_logging(true));
	for (unsigned int i = 0; i < ROUNDS; i++)
		one_round(true);
}

static void logging_is_switched_off_and_on(void)
{
	begin();
	REQUIRE_OK(tell_log(LOG_SIZE, 0));
	for (unsigned int i = 0; i < 30; i++) {
		REQUIRE_OK(tell_logging(i % 2));
		one_round(i % 2);
	}
}

/* ---- a migration under load ---- */

/* As a migration's pass: takes the marks away, then copies the pages. Returns how many. */
static unsigned int pass(uint8_t *log)
{
	unsigned int n = 0;

	for (uint64_t i = 0; i < LOG_SIZE; i++) {
		const uint8_t bits = __atomic_exchange_n(&log[i], 0, __ATOMIC_SEQ_CST);

		for (unsigned int k = 0; k < 8; k++) {
			if (!(bits >> k & 1))
				continue;
			memcpy(copy + (i * 8 + k) * PAGE, memory + (i * 8 + k) * PAGE, PAGE);
			n++;
		}
	}
	return n;
}

/* Reads, as many as there is room for, when some are done; those are looked at and put back. */
static void load(void)
{
	struct fe_blk_slot *slot;

	for (unsigned int i = 0; i < QUEUES; i++) {
		if (queue[i].in_flight == DEPTH)
			REQUIRE_OK(fe_vq_wait(&dev.vq[i], fe_deadline(FE_TIMEOUT_MS)));
		while (fe_blk_reap(&queue[i], &slot) > 0) {
			REQUIRE_EQ(*slot->status, VIRTIO_BLK_S_OK);
			fe_blk_put(&queue[i], slot);
		}
		while ((slot = fe_blk_get(&queue[i])))
			REQUIRE_OK(fe_blk_submit(&queue[i], slot, VIRTIO_BLK_T_IN,
						 fe_random(&rng) % (DISK / 512 - DATA_SIZE / 512),
						 DATA_SIZE));
		fe_vq_kick(&dev.vq[i]);
	}
}

/* Does the copy have what the device has written last? */
static void check_copied(const char *what, uint64_t gpa, uint64_t size)
{
	if (memcmp(copy + gpa, memory + gpa, size))
		tap_check(false, false, __FILE__, __LINE__, "the copy of %s at 0x%llx is old", what,
			  (unsigned long long)gpa);
}

static void check_copy(void)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		const struct fe_vq *vq = &dev.vq[i];

		for (unsigned int k = 0; k < DEPTH; k++) {
			check_copied("data", queue[i].slot[k].data_gpa, DATA_SIZE);
			check_copied("a status", queue[i].slot[k].status_gpa, 1);
		}
		if (!fe_vq_is_packed(vq))
			check_copied("a used ring", vq->used_gpa, 4 + 8 * vq->num);
	}
}

static void migrate(unsigned int n_logs)
{
	unsigned int copied = 0;

	for (unsigned int i = 0; i < 5; i++)
		load();
	REQUIRE_OK(tell_log(LOG_SIZE, 0));
	REQUIRE_OK(tell_logging(true));
	memcpy(copy, memory, MEM_SIZE);
	for (unsigned int i = 0; i < 400; i++) {
		load();
		if (i % 4 == 0)
			copied += pass(marks);
		/* The log moves, as when memory is plugged. The old one is looked at last. */
		if (i % (400 / n_logs) == 400 / n_logs - 1) {
			REQUIRE_OK(tell_log(LOG_SIZE, i / (400 / n_logs) % 2 ? 0 : LOG_SIZE));
			copied += pass(marks) + pass(marks + LOG_SIZE);
		}
	}
	for (unsigned int i = 0; i < QUEUES; i++)
		REQUIRE_OK(fe_dev_stop_vq(&dev, i));
	copied += pass(marks) + pass(marks + LOG_SIZE);
	tap_diag("%u pages were copied", copied);
	check_copy();
}

static void copy_is_whole_when_rings_have_stopped(void)
{
	begin();
	migrate(1);
}

static void log_is_replaced_under_load(void)
{
	begin();
	migrate(50);
}

/* ---- a front-end that does not mean well ---- */

static void log_that_is_truncated_ends_the_connection(void)
{
	begin();
	REQUIRE_OK(tell_log(LOG_SIZE, 0));
	REQUIRE_OK(tell_logging(true));
	REQUIRE_OK(ftruncate(file, 0));
	load();
	REQUIRE_OK(fe_wait_closed(&dev.conn));
	for (unsigned int i = 0; i < QUEUES; i++)
		fe_blk_free(&queue[i]);
	REQUIRE_OK(ftruncate(file, 2 * LOG_SIZE));
	check_serves();
}

/* Too small a log: its end is not passed, and the operator is told. */
static void log_that_is_too_small(void)
{
	begin();
	REQUIRE_OK(tell_log(1, LOG_SIZE));
	REQUIRE_OK(tell_logging(true));
	for (unsigned int i = 0; i < 20; i++)
		load();
	for (unsigned int i = 0; i < QUEUES; i++)
		REQUIRE_OK(fe_dev_stop_vq(&dev, i));
	for (uint64_t i = 0; i < 2 * LOG_SIZE; i++)
		if (i != LOG_SIZE)
			CHECK_EQ(marks[i], 0);
	CHECK_EQ(n_logged("no room for guest address"), 1);
}

static void nonsense_is_refused(void)
{
	const uint64_t values[] = {0, 1, LOG_SIZE, 2 * LOG_SIZE + 1, INT64_MAX, UINT64_MAX};

	begin();
	for (unsigned int i = 0; i < 6; i++)
		for (unsigned int k = 0; k < 6; k++)
			CHECK_EQ(tell_log(values[i], values[k]),
				 values[i] && values[i] <= 2 * LOG_SIZE &&
						 values[k] <= 2 * LOG_SIZE - values[i]
					 ? 0
					 : FE_REFUSED);
	/* Without LOG_SHMFD there is no such message. */
	detach();
	for (unsigned int i = 0; i < QUEUES; i++)
		fe_blk_free(&queue[i]);
	attach(.protocol_off = FE_BIT(VHU_PROTOCOL_F_LOG_SHMFD));
	CHECK_EQ(tell_log(LOG_SIZE, 0), FE_REFUSED);
	check_round_trip(&blk, 0, 4096);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"what_changes_is_marked_and_nothing_else",
		 what_changes_is_marked_and_nothing_else},
		{"logging_is_switched_off_and_on", logging_is_switched_off_and_on},
		{"copy_is_whole_when_rings_have_stopped", copy_is_whole_when_rings_have_stopped},
		{"log_is_replaced_under_load", log_is_replaced_under_load},
		{"log_that_is_truncated_ends_the_connection",
		 log_that_is_truncated_ends_the_connection},
		{"log_that_is_too_small", log_that_is_too_small},
		{"nonsense_is_refused", nonsense_is_refused},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "dirty log", .setup = proto_setup, .teardown = end, .cases = cases},
		{.name = "packed: dirty log",
		 .setup = proto_setup_packed,
		 .teardown = end,
		 .cases = cases},
		{0},
	};

	return tap_main(argc, argv, suites);
}

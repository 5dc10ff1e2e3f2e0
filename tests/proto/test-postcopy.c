/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Postcopy migration: requests whose pages are not there, which are waited for and never taken for
 * zeros, whatever becomes of the front-end.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/frontend/fe_postcopy.h"
#include "tests/proto/proto.h"

#define DISK      (16 * MIB)
#define MEM_SIZE  (8 * MIB)
#define GPA       0x100000ull
#define DEPTH     8u
#define DATA_SIZE (64 * KIB)
#define SECTORS   (DATA_SIZE / FE_SECTOR)

static struct fe_postcopy pc;

static void needs_postcopy(void)
{
	const char *variant = getenv("VUBLKD_VARIANT");

	needs_vublkd();
	if (variant && !strcmp(variant, "sanitized"))
		tap_skip("this build maps guest memory twice, and a front-end knows of one place");
}

static void teardown(void)
{
	fe_postcopy_free(&pc);
	proto_teardown();
}

static void greet_listening(void)
{
	greet(.postcopy = true);
	REQUIRE_OK(fe_postcopy_advise(&pc, &dev));
	REQUIRE_OK(fe_postcopy_listen(&pc));
}

static void fetch_ring(const struct fe_vq *vq)
{
	REQUIRE_OK(fe_postcopy_fetch(&pc, vq->desc_gpa, 16 * vq->num));
	REQUIRE_OK(fe_postcopy_fetch(&pc, vq->avail_gpa, 6 + 2 * vq->num));
	REQUIRE_OK(fe_postcopy_fetch(&pc, vq->used_gpa, 6 + 8 * vq->num));
}

/* What the guest touches of a request before the device does. */
static void fetch_request(const struct fe_blk_slot *slot)
{
	REQUIRE_OK(fe_postcopy_fetch(&pc, slot->header_gpa, FE_POSTCOPY_PAGE));
	REQUIRE_OK(fe_postcopy_fetch(&pc, slot->table_gpa, 16 * FE_BLK_MAX_SEG));
}

/* A guest that has come over, with nothing of its memory. */
static void begin(bool slot)
{
	needs_postcopy();
	serve(DISK, "--postcopy");
	greet_listening();
	REQUIRE_EQ(add_region(GPA, MEM_SIZE, 2 * FE_POSTCOPY_PAGE), 0);
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, DEPTH, DATA_SIZE));
	REQUIRE_OK(fe_postcopy_take_away(&pc, GPA, MEM_SIZE));
	REQUIRE_OK(fe_postcopy_share(&pc, 0, slot));
	REQUIRE_OK(fe_postcopy_acknowledge(&pc));
}

static void begin_serving(bool slot)
{
	begin(slot);
	REQUIRE_OK(fe_postcopy_serve(&pc));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	fetch_ring(blk.vq);
}

static void submit(struct fe_blk_slot *slot, uint32_t type, uint64_t sector, bool away)
{
	fetch_request(slot);
	REQUIRE_OK(fe_blk_submit(&blk, slot, type, sector, DATA_SIZE));
	if (away)
		REQUIRE_OK(fe_postcopy_take_away(&pc, slot->data_gpa, DATA_SIZE));
}

static struct fe_blk_slot *take(void)
{
	struct fe_blk_slot *slot;

	REQUIRE_OK(fe_blk_await(&blk, &slot));
	return slot;
}

/* ---- pages ---- */

static void writes_then_reads(void)
{
	static uint8_t bytes[DATA_SIZE];

	for (unsigned int i = 0; i < 3 * DEPTH; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&blk);

		REQUIRE_OK(fe_postcopy_fetch(&pc, slot->data_gpa, DATA_SIZE));
		fe_pattern(slot->data, 0, DATA_SIZE, i + 1);
		submit(slot, VIRTIO_BLK_T_OUT, i * SECTORS, true);
		fe_vq_kick(blk.vq);
		REQUIRE(take() == slot);
		CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
		REQUIRE_OK(fe_image_read(server.image, i * DATA_SIZE, bytes, DATA_SIZE));
		CHECK_EQ(fe_pattern_differs(bytes, 0, DATA_SIZE, i + 1), -1);
		fe_blk_put(&blk, slot);
	}
	for (unsigned int i = 0; i < 3 * DEPTH; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&blk);

		submit(slot, VIRTIO_BLK_T_IN, i * SECTORS, true);
		fe_vq_kick(blk.vq);
		REQUIRE(take() == slot);
		CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
		CHECK_EQ(fe_pattern_differs(slot->data, 0, DATA_SIZE, i + 1), -1);
		fe_blk_put(&blk, slot);
	}
}

static void run_to_the_end(bool slot)
{
	begin_serving(slot);
	writes_then_reads();
	CHECK(atomic_load(&pc.n_faults) > 3 * DEPTH);
	REQUIRE_OK(fe_postcopy_end(&pc));
	CHECK_EQ(atomic_load(&pc.n_unknown), 0);
	/* Memory is memory again: what a balloon takes is zeros. */
	REQUIRE_OK(fe_postcopy_take_away(&pc, blk.slot[0].data_gpa, DATA_SIZE));
	submit(fe_blk_get(&blk), VIRTIO_BLK_T_OUT, 0, true);
	fe_vq_kick(blk.vq);
	CHECK_EQ(*take()->status, VIRTIO_BLK_S_OK);
	CHECK_EQ(fe_blk_write(&blk, 0, blk.slot[0].data, FE_SECTOR), VIRTIO_BLK_S_OK);
	check_serves();
}

static void pages_come_when_they_are_touched(void)
{
	run_to_the_end(true);
}

static void regions_come_in_a_table(void)
{
	run_to_the_end(false);
}

static void memory_is_added_under_way(void)
{
	struct fe_blk_slot *slot;
	uint64_t data;

	begin_serving(true);
	REQUIRE_EQ(add_region(0x40000000, 2 * MIB, 0), 1);
	REQUIRE_OK(fe_postcopy_share(&pc, 1, true));
	data = fe_alloc_in(&dev.mem, 1, DATA_SIZE, FE_POSTCOPY_PAGE);
	/* It goes on with what it has meanwhile. */
	slot = fe_blk_get(&blk);
	submit(slot, VIRTIO_BLK_T_OUT, 0, true);
	fe_vq_kick(blk.vq);
	CHECK_EQ(*take()->status, VIRTIO_BLK_S_OK);
	REQUIRE_OK(fe_postcopy_acknowledge(&pc));
	/* The new one, whose pages the source has never touched. */
	slot->data_gpa = data;
	slot->data = fe_ptr(&dev.mem, data, DATA_SIZE);
	submit(slot, VIRTIO_BLK_T_IN, 0, true);
	fe_vq_kick(blk.vq);
	CHECK_EQ(*take()->status, VIRTIO_BLK_S_OK);
	REQUIRE_OK(fe_postcopy_end(&pc));
	CHECK_EQ(atomic_load(&pc.n_unknown), 0);
}

/* ---- a front-end that goes ---- */

static uint8_t before[DATA_SIZE];

/*
 * A write is under way whose data will never come. The kernel takes the data from where it is, or,
 * if that is not aligned, a thread of the daemon's does.
 */
static void begin_missing(uint64_t misaligned)
{
	struct fe_blk_slot *slot;

	begin_serving(true);
	fe_pattern(before, 0, DATA_SIZE, 77);
	REQUIRE_OK(fe_image_write(server.image, 2 * MIB, before, DATA_SIZE));
	slot = fe_blk_get(&blk);
	fetch_request(slot);
	slot->data_gpa += misaligned;
	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, 2 * MIB / FE_SECTOR, DATA_SIZE / 2));
	REQUIRE_OK(fe_postcopy_take_away(&pc, slot->data_gpa, DATA_SIZE / 2));
	fe_postcopy_stop(&pc);
	fe_vq_kick(blk.vq);
	REQUIRE_OK(fe_postcopy_await_fault(&pc));
}

/* What was there stays, and others are served. */
static void check_unchanged(void)
{
	static uint8_t after[DATA_SIZE];

	check_serves();
	REQUIRE_OK(fe_image_read(server.image, 2 * MIB, after, DATA_SIZE));
	CHECK(!memcmp(before, after, DATA_SIZE));
}

static void goes_while_a_page_is_missing(void)
{
	begin_missing(0);
	fe_postcopy_free(&pc);
	check_unchanged();
}

static void goes_while_a_page_is_copied(void)
{
	begin_missing(1);
	fe_postcopy_free(&pc);
	check_unchanged();
}

/* Somebody else has it, too, as a child that it has forked. */
static void goes_and_leaves_the_userfaultfd(void)
{
	begin_missing(0);
	check_unchanged();
}

/* The daemon leaves first, and waits for the memory; then nobody is there to bring it. */
static void goes_when_it_was_left(void)
{
	begin_missing(0);
	REQUIRE_OK(fe_send(&dev.conn, VHU_GET_FEATURES, VHU_VERSION ^ 3, NULL, 0, NULL, 0));
	while (!n_logged("malformed"))
		usleep(1000);
	fe_postcopy_free(&pc);
	check_unchanged();
}

/* A map that the write does not know of has come meanwhile. */
static void goes_after_other_memory_has_come(void)
{
	const uint64_t ok = 0;

	begin_missing(0);
	REQUIRE_OK(fe_postcopy_share(&pc, 0, false));
	REQUIRE_OK(fe_send(&dev.conn, VHU_SET_MEM_TABLE, VHU_VERSION, &ok, sizeof(ok), NULL, 0));
	usleep(20000); /* so that it is being dealt with, mostly */
	fe_postcopy_free(&pc);
	check_unchanged();
}

/* ---- messages ---- */

static void wrong_order_is_refused(void)
{
	struct fe_postcopy other;

	needs_postcopy();
	serve(DISK, "--postcopy");
	greet(.postcopy = true);
	pc.dev = &dev;
	pc.uffd = pc.stop_fd = -1;
	CHECK_EQ(fe_postcopy_listen(&pc), FE_REFUSED);
	REQUIRE_OK(fe_postcopy_advise(&pc, &dev));
	REQUIRE_EQ(add_region(GPA, MEM_SIZE, 0), 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	CHECK_EQ(fe_postcopy_listen(&pc), FE_REFUSED);
	REQUIRE_OK(fe_dev_remove_region(&dev, 0));
	REQUIRE_OK(fe_postcopy_listen(&pc));
	CHECK_EQ(fe_postcopy_advise(&other, &dev), FE_REFUSED);
	REQUIRE_OK(fe_postcopy_share(&pc, 0, true));
	/* It is not the device's yet. */
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	CHECK_EQ(fe_dev_start_vq(&dev, 0), FE_REFUSED);
	CHECK_EQ(fe_dev_remove_region(&dev, 0), FE_REFUSED);
	REQUIRE_OK(fe_postcopy_acknowledge(&pc));
	CHECK_OK(fe_dev_start_vq(&dev, 0));
	CHECK_OK(fe_postcopy_end(&pc));
	CHECK_OK(fe_postcopy_end(&pc));
}

/* QEMU acknowledges even when it has nothing to say of its memory. */
static void acknowledgement_of_nothing(void)
{
	const uint64_t ok = 0;

	needs_postcopy();
	serve(DISK, "--postcopy");
	greet_listening();
	REQUIRE_OK(fe_send(&dev.conn, 0, VHU_VERSION, &ok, sizeof(ok), NULL, 0));
	REQUIRE_OK(fe_send(&dev.conn, VHU_REM_MEM_REG, VHU_VERSION, &ok, sizeof(ok), NULL, 0));
	REQUIRE_OK(fe_sync(&dev.conn));
	CHECK_EQ(n_logged("refused"), 0);
}

static void only_with_the_option(void)
{
	needs_vublkd();
	serve(DISK);
	greet(.postcopy = true);
	CHECK(!(dev.protocol_offered & FE_BIT(VHU_PROTOCOL_F_PAGEFAULT)));
	CHECK(run("--socket-path=x", "--blk-file=y", "--postcopy", "--fixed-buffers") > 0);
}

static const struct tap_case cases[] = {
	{"pages_come_when_they_are_touched", pages_come_when_they_are_touched},
	{"regions_come_in_a_table", regions_come_in_a_table},
	{"memory_is_added_under_way", memory_is_added_under_way},
	{"goes_while_a_page_is_missing", goes_while_a_page_is_missing},
	{"goes_while_a_page_is_copied", goes_while_a_page_is_copied},
	{"goes_and_leaves_the_userfaultfd", goes_and_leaves_the_userfaultfd},
	{"goes_when_it_was_left", goes_when_it_was_left},
	{"goes_after_other_memory_has_come", goes_after_other_memory_has_come},
	{0},
};

static const struct tap_case message_cases[] = {
	{"wrong_order_is_refused", wrong_order_is_refused},
	{"acknowledgement_of_nothing", acknowledgement_of_nothing},
	{"only_with_the_option", only_with_the_option},
	{0},
};

int main(int argc, char **argv)
{
	static const struct tap_suite suites[] = {
		{.name = "postcopy", .setup = proto_setup, .teardown = teardown, .cases = cases},
		{.name = "packed: postcopy",
		 .setup = proto_setup_packed,
		 .teardown = teardown,
		 .cases = cases},
		{.name = "postcopy: messages",
		 .setup = proto_setup,
		 .teardown = teardown,
		 .cases = message_cases},
		{0}};

	return tap_main(argc, argv, suites);
}

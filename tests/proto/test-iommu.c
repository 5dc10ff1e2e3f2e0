/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk behind an IOMMU (VIRTIO_F_ACCESS_PLATFORM): pages of rings, tables and data lie scattered,
 * have to be asked for, and are taken away while requests are under way.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/frontend/fe_iommu.h"
#include "tests/proto/proto.h"

#define IOVA      UINT64_C(0x7ffff0000000)
#define MEM_SIZE  (8 * MIB)
#define DISK      (16 * MIB)
#define DEPTH     16u
#define DATA_SIZE (64 * KIB)
#define PAGE      FE_IOMMU_PAGE
#define SECTORS   (DATA_SIZE / FE_SECTOR)
#define READ      1u
#define WRITE     2u

static struct fe_iommu iommu;
static bool inband;
static uint64_t rng;

static void connect_dev(unsigned queue_size, uint64_t protocol_off)
{
	proto_greet(&(struct fe_dev_options){.iommu = true,
					     .channel = true,
					     .inband = inband,
					     .queue_size = queue_size,
					     .protocol_off = protocol_off});
	if (!fe_dev_has(&dev, VIRTIO_F_ACCESS_PLATFORM))
		tap_skip("VIRTIO_F_ACCESS_PLATFORM is not offered");
}

/* A ring of 512 is larger than a page. */
static void begin_with(uint64_t protocol_off)
{
	needs_vublkd();
	rng = seed_from("FE_IOMMU_SEED");
	serve(DISK);
	connect_dev(512, protocol_off);
	REQUIRE_OK(fe_iommu_begin(&iommu, &dev, IOVA, MEM_SIZE, &rng));
	REQUIRE_OK(fe_dev_share_memory(&dev));
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, DEPTH, DATA_SIZE));
}

static void begin(void)
{
	begin_with(0);
}

/* Waits for news of the channel or the ring, and answers. */
static void turn(void)
{
	struct pollfd pfd[2] = {{.fd = iommu.silent ? -1 : dev.channel.fd, .events = POLLIN},
				{.fd = blk.vq->call_fd, .events = POLLIN}};

	poll(pfd, 2, 10);
	if (pfd[1].revents & POLLIN) {
		uint64_t calls;

		CHECK(read(blk.vq->call_fd, &calls, sizeof(calls)) == (ssize_t)sizeof(calls));
	}
	REQUIRE_OK(fe_iommu_serve(&iommu));
}

/* Waits for one completion. */
static struct fe_blk_slot *take(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	struct fe_blk_slot *slot;
	int got;

	while (!(got = fe_blk_reap(&blk, &slot))) {
		REQUIRE(fe_left_ms(deadline) > 0);
		turn();
	}
	REQUIRE_EQ(got, 1);
	return slot;
}

/* One request with the slot's whole buffer; its status. */
static uint8_t exchange(struct fe_blk_slot *slot, uint32_t type, uint64_t sector)
{
	REQUIRE_OK(fe_blk_submit(&blk, slot, type, sector, DATA_SIZE));
	fe_vq_kick(blk.vq);
	REQUIRE(take() == slot);
	return *slot->status;
}

/* The back-end has asked for something that it was not answered. */
static void await_miss(void)
{
	struct pollfd pfd = {.fd = dev.channel.fd, .events = POLLIN};

	REQUIRE_EQ(poll(&pfd, 1, FE_TIMEOUT_MS), 1);
}

/* A slot that was of use: all that its request needs is known. */
static struct fe_blk_slot *begin_used(void)
{
	struct fe_blk_slot *slot;

	begin();
	slot = fe_blk_get(&blk);
	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_OK);
	return slot;
}

static void end(void)
{
	REQUIRE_OK(fe_dev_stop(&dev));
	fe_iommu_end(&iommu);
}

/* ---- data ---- */

/* What each part of the disk holds; requests under way have parts of their own. */
#define PARTS (DISK / DATA_SIZE)

static uint64_t seed_of[PARTS];
static unsigned part_of[DEPTH];
static uint8_t reads[DEPTH];

static void submit_some(uint8_t *busy)
{
	struct fe_blk_slot *slot;

	while ((slot = fe_blk_get(&blk))) {
		const unsigned i = (unsigned)(slot - blk.slot);
		unsigned part = (unsigned)(fe_random(&rng) % PARTS);

		while (busy[part])
			part = (part + 1) % PARTS;
		busy[part] = 1;
		part_of[i] = part;
		reads[i] = seed_of[part] && fe_random(&rng) % 2;
		if (reads[i]) {
			memset(slot->data, 0, DATA_SIZE);
		} else {
			seed_of[part] = fe_random(&rng) | 1;
			fe_pattern(slot->data, 0, DATA_SIZE, seed_of[part]);
		}
		REQUIRE_OK(fe_blk_submit(&blk, slot, reads[i] ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT,
					 part * SECTORS, DATA_SIZE));
	}
	fe_vq_kick(blk.vq);
}

/* Of a request that has ended nothing may be touched any more: its pages become others. */
static void move_pages(const struct fe_blk_slot *slot)
{
	for (unsigned i = 0; i < 3; i++)
		REQUIRE_OK(fe_iommu_move(
			&iommu, slot->data_gpa + fe_random(&rng) % (DATA_SIZE / PAGE) * PAGE,
			0xe5));
}

static void check_done(struct fe_blk_slot *slot, uint8_t *busy)
{
	const unsigned i = (unsigned)(slot - blk.slot);

	CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
	if (reads[i])
		CHECK_EQ(fe_pattern_differs(slot->data, 0, DATA_SIZE, seed_of[part_of[i]]), -1);
	busy[part_of[i]] = 0;
}

static void check_image(void)
{
	static uint8_t bytes[DATA_SIZE];

	for (unsigned part = 0; part < PARTS; part++) {
		if (!seed_of[part])
			continue;
		REQUIRE_OK(fe_image_read(server.image, part * DATA_SIZE, bytes, sizeof(bytes)));
		CHECK_EQ(fe_pattern_differs(bytes, 0, sizeof(bytes), seed_of[part]), -1);
	}
}

/* Random I/O, of which each request's pages are moved afterwards; `all`: all is taken away, too. */
static void load(unsigned rounds, bool all)
{
	static uint8_t busy[PARTS];

	memset(seed_of, 0, sizeof(seed_of));
	memset(busy, 0, sizeof(busy));
	for (unsigned round = 0; round < rounds; round++) {
		struct fe_blk_slot *slot;

		submit_some(busy);
		slot = take();
		check_done(slot, busy);
		move_pages(slot);
		fe_blk_put(&blk, slot);
		if (all && round % 8 == 0)
			REQUIRE_OK(
				fe_iommu_tell(&iommu, VHU_IOTLB_INVALIDATE, 0, UINT64_MAX, 0, 0));
	}
	while (blk.in_flight) {
		struct fe_blk_slot *slot = take();

		check_done(slot, busy);
		fe_blk_put(&blk, slot);
	}
	check_image();
}

static void data_is_what_it_is(void)
{
	begin();
	load(400, false);
	CHECK(iommu.n_misses > 400);
	CHECK_EQ(iommu.n_refused, 0);
	end();
}

/* The rings' pages are among what is taken away. */
static void all_is_taken_away_under_load(void)
{
	begin();
	load(200, true);
	end();
}

static void without_acknowledgements(void)
{
	begin_with(FE_BIT(VHU_PROTOCOL_F_REPLY_ACK));
	for (unsigned i = 0; i < 20; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&blk);

		CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, i * SECTORS), VIRTIO_BLK_S_OK);
		fe_blk_put(&blk, slot);
	}
	end();
}

/* Calls go the same way as what is asked for, and may have answers, too. */
static void with_calls_by_messages(void)
{
	const struct vhu_header header = {VHU_BACKEND_VRING_CALL, VHU_VERSION | VHU_FLAG_REPLY, 8};
	char answer[sizeof(header) + 8] = {0};

	memcpy(answer, &header, sizeof(header));
	inband = true;
	begin();
	REQUIRE(fe_dev_speaks(&dev, VHU_PROTOCOL_F_INBAND_NOTIFICATIONS));
	for (unsigned i = 0; i < 5; i++) {
		REQUIRE_EQ(send(dev.channel.fd, answer, sizeof(answer), 0), sizeof(answer));
		load(40, true);
	}
	CHECK_EQ(iommu.n_refused, 0);
	end();
}

/* ---- failures ---- */

static void what_is_not_mapped_is_an_error(void)
{
	struct fe_blk_slot *slot;

	begin();
	slot = fe_blk_get(&blk);
	for (unsigned i = 0; i < 3; i++) {
		REQUIRE_OK(fe_iommu_allow(&iommu, slot->data_gpa + 5 * PAGE, 0));
		CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_IOERR);
		REQUIRE_OK(fe_iommu_allow(&iommu, slot->data_gpa + 5 * PAGE, 3));
		CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_OK);
	}
	/* Also what is the driver's to know, not the IOMMU's. */
	slot->data_gpa += UINT64_C(1) << 50;
	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_IOERR);
	end();
}

static void permissions_are_heeded(void)
{
	struct fe_blk_slot *slot;

	begin();
	slot = fe_blk_get(&blk);
	REQUIRE_OK(fe_iommu_allow(&iommu, slot->data_gpa + PAGE, READ));
	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_IN, 0), VIRTIO_BLK_S_IOERR);
	REQUIRE_OK(fe_iommu_allow(&iommu, slot->data_gpa + PAGE, WRITE));
	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_IN, 0), VIRTIO_BLK_S_OK);
	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_IOERR);
	end();
}

static void status_that_is_not_mapped_breaks_the_ring(void)
{
	struct fe_blk_slot *slot;

	begin();
	blk.indirect = false;
	slot = fe_blk_get(&blk);
	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_OK);
	REQUIRE_OK(fe_iommu_allow(&iommu, slot->status_gpa, READ));
	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, 0, DATA_SIZE));
	fe_vq_kick(blk.vq);
	for (unsigned i = 0; i < 500 && !n_logged("without a status byte"); i++)
		turn();
	CHECK_EQ(n_logged("without a status byte"), 1);
	end();
}

/* Of a slot that was of use a page is gone now, and nobody answers. */
static struct fe_blk_slot *begin_silent(void)
{
	struct fe_blk_slot *slot = begin_used();

	REQUIRE_OK(fe_iommu_tell(&iommu, VHU_IOTLB_INVALIDATE, slot->data_gpa, PAGE, 0, 0));
	iommu.silent = true;
	return slot;
}

/* Another one then waits for the answer. */
static struct fe_blk_slot *begin_missing(void)
{
	struct fe_blk_slot *slot = begin_silent();

	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, 0, DATA_SIZE));
	fe_vq_kick(blk.vq);
	await_miss();
	return slot;
}

static void no_answer_is_an_error_in_the_end(void)
{
	struct fe_blk_slot *slot = begin_silent();

	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_IOERR);
	iommu.silent = false;
	end();
}

static void channel_is_closed_while_missing(void)
{
	struct fe_blk_slot *slot = begin_missing();

	shutdown(dev.channel.fd, SHUT_RDWR);
	REQUIRE(take() == slot);
	CHECK_EQ(*slot->status, VIRTIO_BLK_S_IOERR);
	end();
}

/* ---- stops ---- */

/* While it is not answered what it asks for, a ring is stopped, and goes on later. */
static void drains_while_missing(void)
{
	struct fe_blk_slot *slot = begin_used();
	uint32_t base;

	fe_pattern(slot->data, 0, DATA_SIZE, 5);
	REQUIRE_OK(fe_iommu_tell(&iommu, VHU_IOTLB_INVALIDATE, slot->data_gpa, PAGE, 0, 0));
	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, SECTORS, DATA_SIZE));
	base = fe_vq_used_base(blk.vq);
	fe_vq_kick(blk.vq);
	await_miss();
	REQUIRE_OK(fe_dev_stop(&dev));
	CHECK_EQ(blk.vq->base, base);
	REQUIRE_OK(fe_iommu_serve(&iommu));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE(take() == slot);
	CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_IN, SECTORS), VIRTIO_BLK_S_OK);
	CHECK_EQ(fe_pattern_differs(slot->data, 0, DATA_SIZE, 5), -1);
	end();
}

/* A ring that was never known is stopped at once, too. */
static void stops_before_it_is_known(void)
{
	begin();
	await_miss();
	REQUIRE_OK(fe_dev_stop(&dev));
	CHECK_EQ(blk.vq->base, fe_vq_fresh_base(blk.vq));
	REQUIRE_OK(fe_iommu_serve(&iommu));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	CHECK_EQ(exchange(fe_blk_get(&blk), VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_OK);
	end();
}

static void hangs_up_while_missing(void)
{
	struct fe_blk_slot *slot = begin_missing();

	fe_dev_hang_up(&dev);
	iommu.silent = false;
	REQUIRE_OK(fe_dev_reconnect(&dev, server.socket));
	REQUIRE(take() == slot);
	CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
	end();
}

/* ---- hostile front-ends ---- */

static void any_number_of_translations(void)
{
	struct fe_blk_slot *slot = begin_used();

	for (uint64_t i = 0; i < 70000; i++) {
		const struct vhu_iotlb_msg msg = {
			.iova = i * 8192,
			.size = 1 + fe_random(&rng) % 9000,
			.uaddr = FE_IOMMU_USER + fe_random(&rng) % (MEM_SIZE - 9000),
			.perm = (uint8_t)(1 + i % 3),
			.type = i % 50 ? VHU_IOTLB_UPDATE : VHU_IOTLB_INVALIDATE};

		REQUIRE_OK(
			fe_send(&dev.conn, VHU_IOTLB_MSG, VHU_VERSION, &msg, sizeof(msg), NULL, 0));
	}
	REQUIRE_OK(fe_sync(&dev.conn));
	REQUIRE_OK(fe_iommu_tell(&iommu, VHU_IOTLB_INVALIDATE, 0, 0, 0, 0));
	CHECK_EQ(exchange(slot, VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_OK);
	end();
}

static void translations_that_cannot_be(void)
{
	begin();
	CHECK_EQ(fe_iommu_tell(&iommu, VHU_IOTLB_UPDATE, 0, PAGE, 0, 3), FE_REFUSED);
	CHECK_EQ(fe_iommu_tell(&iommu, VHU_IOTLB_UPDATE, UINT64_MAX, 2, FE_IOMMU_USER, 3),
		 FE_REFUSED);
	CHECK_EQ(fe_iommu_tell(&iommu, VHU_IOTLB_UPDATE, 0, PAGE, FE_IOMMU_USER, 4), FE_REFUSED);
	CHECK_EQ(fe_iommu_tell(&iommu, 77, 0, PAGE, FE_IOMMU_USER, 3), FE_REFUSED);
	CHECK_EQ(exchange(fe_blk_get(&blk), VIRTIO_BLK_T_OUT, 0), VIRTIO_BLK_S_OK);
	end();
}

/* ---- the log of dirty pages ---- */

static uint8_t allowed[(MEM_SIZE / PAGE + 64) / 8];

static void allow(uint64_t iova, uint64_t size)
{
	for (uint64_t at = iova & ~(uint64_t)(PAGE - 1); at < iova + size; at += PAGE) {
		const uint32_t page = iommu.behind[(at - IOVA) / PAGE];

		allowed[page / 8] |= (uint8_t)(1u << page % 8);
	}
}

/* What is translated is marked where it is, by guest-physical addresses. */
static void pages_are_logged_where_they_are(void)
{
	const struct vhu_log log = {sizeof(allowed), 0};
	const int file = memfd_create("log", MFD_CLOEXEC);
	uint8_t marks[sizeof(allowed)];
	const struct fe_vq *vq;

	begin();
	vq = blk.vq;
	memset(allowed, 0, sizeof(allowed));
	REQUIRE_OK(ftruncate(file, sizeof(allowed)));
	REQUIRE_OK(fe_tell(&dev.conn, VHU_SET_LOG_BASE, &log, sizeof(log), &file, 1));
	REQUIRE_OK(fe_tell_u64(&dev.conn, VHU_SET_FEATURES, dev.features | FE_BIT(VHU_F_LOG_ALL)));
	if (fe_vq_is_packed(vq))
		allow(vq->desc_gpa, 16 * vq->num);
	allow(vq->used_gpa, fe_vq_is_packed(vq) ? 4 : 4 + 8 * vq->num + 2);
	for (unsigned i = 0; i < 5; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&blk);

		allow(slot->data_gpa, DATA_SIZE);
		allow(slot->status_gpa, 1);
		CHECK_EQ(exchange(slot, VIRTIO_BLK_T_IN, i * SECTORS), VIRTIO_BLK_S_OK);
	}
	CHECK_EQ(pread(file, marks, sizeof(marks), 0), (ssize_t)sizeof(marks));
	CHECK(!memcmp(marks, allowed, sizeof(marks)));
	close(file);
	end();
}

static const struct tap_case cases[] = {
	{"data_is_what_it_is", data_is_what_it_is},
	{"all_is_taken_away_under_load", all_is_taken_away_under_load},
	{"without_acknowledgements", without_acknowledgements},
	{"with_calls_by_messages", with_calls_by_messages},
	{"what_is_not_mapped_is_an_error", what_is_not_mapped_is_an_error},
	{"permissions_are_heeded", permissions_are_heeded},
	{"status_that_is_not_mapped_breaks_the_ring", status_that_is_not_mapped_breaks_the_ring},
	{"no_answer_is_an_error_in_the_end", no_answer_is_an_error_in_the_end},
	{"channel_is_closed_while_missing", channel_is_closed_while_missing},
	{"drains_while_missing", drains_while_missing},
	{"stops_before_it_is_known", stops_before_it_is_known},
	{"hangs_up_while_missing", hangs_up_while_missing},
	{"any_number_of_translations", any_number_of_translations},
	{"translations_that_cannot_be", translations_that_cannot_be},
	{"pages_are_logged_where_they_are", pages_are_logged_where_they_are},
	{0},
};

int main(int argc, char **argv)
{
	static const struct tap_suite suites[] = {PROTO_SUITES("iommu", cases), {0}};

	return tap_main(argc, argv, suites);
}

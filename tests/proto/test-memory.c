/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory: SET_MEM_TABLE, the memory slots, and what happens to them while rings run. */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define PAGE 4096ull

/* Starts rings and requests on the memory that `dev` has got. */
static void finish_attach(void)
{
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	REQUIRE_OK(fe_blk_init(&blk, &dev, 0, 2, 256 * KIB));
}

/* Memory as it cannot be: announced with one field changed. */
static int tell_changed(unsigned int region, uint64_t *field, uint64_t value)
{
	uint64_t truth = *field;

	*field = value;
	int ret =
		dev.options.mem_slots ? fe_dev_add_region(&dev, region) : fe_dev_share_memory(&dev);

	*field = truth;
	return ret;
}

static void regions_at_many_places(bool slots, unsigned int n)
{
	serve(16 * MIB);
	greet(.mem_slots = slots);
	add_region(0, 2 * MIB, 0);
	for (unsigned int i = 1; i < n; i++)
		add_region(4 * MIB * i + (i % 3 ? 4 * FE_BIT(30) : 0), 64 * KIB, i % 4 * PAGE);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	finish_attach();
	for (unsigned int i = 0; i < n; i++)
		check_region(i);
}

static void one_region(void)
{
	regions_at_many_places(false, 1);
}

/* GPA_ADDRESSES: rings above and below 4 GiB. */
static void guest_physical(uint64_t at, bool slots)
{
	needs_vublkd();
	serve(16 * MIB);
	greet(.guest_physical = true, .mem_slots = slots);
	REQUIRE(fe_dev_speaks(&dev, VHU_PROTOCOL_F_GPA_ADDRESSES));
	add_region(at, 2 * MIB, PAGE);
	add_region(at + 4 * MIB, MIB, 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	finish_attach();
}

static void guest_physical_ring_addresses(void)
{
	guest_physical(4 * FE_BIT(30), false);
	check_region(0);
	check_region(1);
}

/* The ring is where it says in the guest's memory, and nowhere else. */
static void guest_physical_addresses_are_no_others(void)
{
	uint64_t truth;

	guest_physical(MIB, true);
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	dev.protocol &= ~FE_BIT(VHU_PROTOCOL_F_GPA_ADDRESSES);
	CHECK_EQ(fe_dev_set_addr(&dev, 0), FE_REFUSED); /* user addresses */
	dev.protocol |= FE_BIT(VHU_PROTOCOL_F_GPA_ADDRESSES);
	truth = dev.vq[0].desc_gpa;
	for (uint64_t wrong = 0; wrong < 4 * MIB; wrong += MIB) {
		/* below the memory, inside, at its end, behind it */
		dev.vq[0].desc_gpa = wrong == MIB ? 3 * MIB - 16 : wrong;
		if (wrong != 2 * MIB)
			CHECK_EQ(fe_dev_set_addr(&dev, 0), FE_REFUSED);
	}
	dev.vq[0].desc_gpa = UINT64_MAX - 15;
	CHECK_EQ(fe_dev_set_addr(&dev, 0), FE_REFUSED);
	dev.vq[0].desc_gpa = truth;
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	check_region(0);
}

static void guest_physical_ring_moves_with_its_memory(void)
{
	guest_physical(0, true);
	REQUIRE_OK(fe_dev_remove_region(&dev, 1));
	check_region(0);
	REQUIRE_OK(fe_dev_add_region(&dev, 1));
	check_region(1);
	REQUIRE_OK(fe_dev_remove_region(&dev, 0));
	REQUIRE_OK(fe_dev_add_region(&dev, 0));
	check_region(0);
}

static void eight_regions(void)
{
	regions_at_many_places(false, 8);
}

static void thirty_two_regions(void)
{
	needs_vublkd();
	regions_at_many_places(false, 32);
}

static void thirty_two_slots(void)
{
	regions_at_many_places(true, 32);
}

static void as_many_slots_as_promised(void)
{
	needs_vublkd();
	regions_at_many_places(true, 512);
	REQUIRE_EQ(dev.max_slots, 512);
	/* one more is refused, and harms nothing */
	struct fe_region extra = dev.mem.region[511];

	extra.wire.guest_addr = 1ull << 40;
	struct vhu_mem_reg reg = {.region = extra.wire};

	CHECK_EQ(fe_tell(&dev.conn, VHU_ADD_MEM_REG, &reg, sizeof(reg), &extra.fd, 1), FE_REFUSED);
	check_region(511);
	CHECK_OK(fe_dev_remove_region(&dev, 511));
	CHECK_OK(fe_dev_add_region(&dev, 511));
	check_region(511);
}

static void buffers_across_touching_regions(void)
{
	uint8_t data[3 * PAGE], back[3 * PAGE];

	needs_vublkd(); /* qemu-storage-daemon 7.2 gets this wrong */
	serve(16 * MIB);
	greet();
	add_region(0, 2 * MIB, 0);
	add_region(2 * MIB, PAGE, PAGE);
	add_region(2 * MIB + PAGE, 2 * MIB, 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	finish_attach();
	/* 100 bytes of the first, all of the second, the rest from the third region */
	struct fe_seg seg = {.addr = 2 * MIB - 100, .len = sizeof(data)};

	fe_pattern(data, 0, sizeof(data), 5);
	REQUIRE_OK(fe_mem_write(&dev.mem, seg.addr, data, sizeof(data)));
	CHECK_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_OUT, 80, &seg, 1), 0);
	REQUIRE_OK(fe_image_read(server.image, 80 * FE_SECTOR, back, sizeof(back)));
	CHECK(!memcmp(data, back, sizeof(data)));
	memset(back, 0, sizeof(back));
	REQUIRE_OK(fe_mem_write(&dev.mem, seg.addr, back, sizeof(back)));
	seg.write = true;
	CHECK_EQ(fe_blk_segs(&blk, VIRTIO_BLK_T_IN, 80, &seg, 1), 0);
	REQUIRE_OK(fe_mem_read(&dev.mem, seg.addr, back, sizeof(back)));
	CHECK(!memcmp(data, back, sizeof(data)));
}

/* In the ring, of either kind, the descriptor of the indirect table at `from` says `to`. */
static void move_table(struct fe_vq *vq, uint64_t from, uint64_t to)
{
	for (unsigned int d = 0; d < vq->num; d++)
		if (fe_vq_is_packed(vq) && vq->packed.desc[d].addr == from)
			vq->packed.desc[d].addr = to;
		else if (!fe_vq_is_packed(vq) && vq->ring.desc[d].addr == from)
			vq->ring.desc[d].addr = to;
}

/* The table of an indirect chain may lie anywhere too: unaligned, and across the seam. */
static void indirect_table_across_touching_regions(void)
{
	static const unsigned int before_seam[] = {0, 1, 8, 16, 24, 33};

	needs_vublkd();
	serve(16 * MIB);
	greet();
	add_region(0, 2 * MIB, 0);
	add_region(2 * MIB, 2 * MIB, PAGE);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	finish_attach();
	for (unsigned int i = 0; i < sizeof(before_seam) / sizeof(*before_seam); i++) {
		struct fe_blk_slot *slot = fe_blk_get(&blk);
		uint64_t table = 2 * MIB - before_seam[i];
		struct vring_desc descs[3];

		fe_pattern(slot->data, 0, 4096, 40 + i);
		REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, 8 * i, 4096));
		REQUIRE_OK(fe_mem_read(&dev.mem, slot->table_gpa, descs, sizeof(descs)));
		REQUIRE_OK(fe_mem_write(&dev.mem, table, descs, sizeof(descs)));
		move_table(&dev.vq[0], slot->table_gpa, table);
		CHECK_EQ(fe_blk_drain(&blk), 0);
		uint8_t back[4096];

		REQUIRE_OK(fe_image_read(server.image, 4096 * i, back, sizeof(back)));
		CHECK_EQ(fe_pattern_differs(back, 0, sizeof(back), 40 + i), -1);
	}
}

static void new_table_while_a_ring_runs(void)
{
	serve(16 * MIB);
	attach();
	check_round_trip(&blk, 0, 4096);
	for (unsigned int i = 0; i < 5; i++) {
		add_region(FE_BIT(32) + i * MIB, 64 * KIB, 0);
		CHECK_OK(fe_dev_share_memory(&dev));
		check_round_trip(&blk, 0, 4096);
		check_region(1 + i);
	}
}

static void new_table_while_requests_are_in_flight(void)
{
	static uint8_t data[MIB];

	needs_vublkd(); /* qemu-storage-daemon 7.2 gets this wrong */
	serve(16 * MIB);
	attach();
	for (unsigned int round = 0; round < 20; round++) {
		write_all_slots(round);
		CHECK_OK(fe_dev_share_memory(&dev));
		CHECK_EQ(fe_blk_drain(&blk), 0);
	}
	for (unsigned int i = 0; i < 4; i++) {
		REQUIRE_OK(fe_image_read(server.image, i * MIB, data, MIB));
		CHECK_EQ(fe_pattern_differs(data, i * MIB, MIB, 19), -1);
	}
}

static void slots_come_and_go_while_a_ring_runs(void)
{
	needs_vublkd();
	serve(16 * MIB);
	attach(.mem_slots = true);
	unsigned int extra = add_region(FE_BIT(33), 64 * KIB, PAGE);

	for (unsigned int i = 0; i < 5; i++) {
		CHECK_OK(fe_dev_add_region(&dev, extra));
		check_region(extra);
		CHECK_OK(fe_dev_remove_region(&dev, extra));
		check_round_trip(&blk, 0, 4096);
	}
	/* a request that names memory which is gone breaks the ring, no more */
	uint64_t gpa = fe_alloc_in(&dev.mem, extra, PAGE, PAGE);
	struct fe_seg seg = {.addr = gpa, .len = PAGE};

	REQUIRE_OK(fe_blk_submit_segs(&blk, fe_blk_get(&blk), VIRTIO_BLK_T_OUT, 0, &seg, 1));
	fe_vq_kick(blk.vq);
	CHECK_OK(fe_vq_wait_error(blk.vq));
	CHECK(!fe_vq_has_used(blk.vq));
	check_serves();
}

static void removing_what_is_not_there_is_refused(void)
{
	needs_vublkd();
	serve(16 * MIB);
	attach(.mem_slots = true);
	struct vhu_region *wire = &dev.mem.region[0].wire;

	wire->guest_addr++;
	CHECK_EQ(fe_dev_remove_region(&dev, 0), FE_REFUSED);
	wire->guest_addr--, wire->user_addr++;
	CHECK_EQ(fe_dev_remove_region(&dev, 0), FE_REFUSED);
	wire->user_addr--, wire->size += PAGE;
	CHECK_EQ(fe_dev_remove_region(&dev, 0), FE_REFUSED);
	wire->size -= PAGE;
	check_round_trip(&blk, 0, 4096);
}

/* Front-ends that change the memory's layout take regions away before they add others. */
static void a_ring_waits_for_its_memory(void)
{
	needs_vublkd();
	serve(16 * MIB);
	attach(.mem_slots = true);
	check_round_trip(&blk, 0, 4096);
	CHECK_OK(fe_dev_remove_region(&dev, 0));
	CHECK_OK(fe_dev_add_region(&dev, 0));
	check_round_trip(&blk, 0, 4096);
	CHECK_OK(fe_dev_remove_region(&dev, 0));

	struct fe_blk_slot *slot = fe_blk_get(&blk);

	CHECK_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_IN, 0, 4096));
	CHECK_OK(fe_dev_add_region(&dev, 0));
	CHECK_EQ(fe_blk_drain(&blk), 0);
	check_round_trip(&blk, 0, 4096);
}

static void removing_with_an_fd(void)
{
	needs_vublkd();
	serve(16 * MIB);
	attach(.mem_slots = true);
	unsigned int extra = add_region(FE_BIT(33), 64 * KIB, 0);
	struct vhu_mem_reg reg = {.region = dev.mem.region[extra].wire};
	int before = fe_daemon_count_fds(&server);

	CHECK_OK(fe_dev_add_region(&dev, extra));
	CHECK_OK(fe_tell(&dev.conn, VHU_REM_MEM_REG, &reg, sizeof(reg), &dev.mem.region[extra].fd,
			 1));
	check_fds(before);
	check_round_trip(&blk, 0, 4096);
}

static void impossible_regions(bool slots)
{
	struct vhu_region *first, *second;

	needs_vublkd();
	serve(16 * MIB);
	greet(.mem_slots = slots);
	add_region(0, 4 * MIB, 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	finish_attach();
	add_region(8 * MIB, 64 * KIB, 0);
	first = &dev.mem.region[0].wire;
	second = &dev.mem.region[1].wire;

	CHECK_EQ(tell_changed(1, &second->size, 0), FE_REFUSED);
	CHECK_EQ(tell_changed(1, &second->size, UINT64_MAX), FE_REFUSED);
	/* larger than its file: touching it would be SIGBUS */
	CHECK_EQ(tell_changed(1, &second->size, MIB), FE_REFUSED);
	CHECK_EQ(tell_changed(1, &second->mmap_offset, PAGE), FE_REFUSED);
	CHECK_EQ(tell_changed(1, &second->mmap_offset, UINT64_MAX - PAGE + 1), FE_REFUSED);
	CHECK_EQ(tell_changed(1, &second->mmap_offset, UINT64_MAX), FE_REFUSED);
	/* past the end of the guest's or the front-end's address space */
	CHECK_EQ(tell_changed(1, &second->guest_addr, UINT64_MAX - PAGE + 1), FE_REFUSED);
	CHECK_EQ(tell_changed(1, &second->user_addr, UINT64_MAX - PAGE + 1), FE_REFUSED);
	/* on top of another one */
	CHECK_EQ(tell_changed(1, &second->guest_addr, 0), FE_REFUSED);
	CHECK_EQ(tell_changed(1, &second->guest_addr, first->size - PAGE), FE_REFUSED);
	check_round_trip(&blk, 0, 4096);
}

static void impossible_regions_in_a_table(void)
{
	impossible_regions(false);
}

static void impossible_regions_in_slots(void)
{
	impossible_regions(true);
}

static void impossible_tables(void)
{
	struct vhu_mem_table table = {0};
	int fds[VHU_MAX_TABLE + 1];
	uint32_t whole = sizeof(table);

	needs_vublkd();
	serve(16 * MIB);
	attach();
	for (unsigned int i = 0; i < VHU_MAX_TABLE; i++) {
		table.region[i] = dev.mem.region[0].wire;
		table.region[i].guest_addr = FE_BIT(33) + i * 64 * MIB;
		fds[i] = dev.mem.region[0].fd;
	}
	fds[VHU_MAX_TABLE] = fds[0];

	struct {
		const char *what;
		uint32_t count, size;
		unsigned int n_fds;
	} tries[] = {
		{"more regions than payload", 4, 8 + 3 * 32, 4},
		{"count out of range", 33, whole, 32},
		{"count out of bounds", 0x08000001, 8 + 32, 1},
		{"fds missing", 3, 8 + 3 * 32, 2},
		{"no fd", 1, 8 + 32, 0},
		{"an fd too many", 2, 8 + 2 * 32, 3},
		{"payload cut", 1, 8 + 31, 1},
		{"payload empty", 1, 4, 1},
	};
	for (unsigned int i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
		table.count = tries[i].count;
		int ret = fe_tell(&dev.conn, VHU_SET_MEM_TABLE, &table, tries[i].size, fds,
				  tries[i].n_fds);

		tap_check(ret == FE_REFUSED, true, __FILE__, __LINE__, "%s: %d", tries[i].what,
			  ret);
	}
	/* User-mode Linux sends all entries, whatever the count. */
	table.count = 1;
	table.region[0] = dev.mem.region[0].wire;
	CHECK_OK(fe_tell(&dev.conn, VHU_SET_MEM_TABLE, &table, 8 + 8 * 32, fds, 1));
	check_round_trip(&blk, 0, 4096);
}

static void refused_table_ends_an_unacknowledged_connection(void)
{
	needs_vublkd();
	serve(16 * MIB);
	attach(.protocol_off = FE_BIT(VHU_PROTOCOL_F_REPLY_ACK));
	check_round_trip(&blk, 0, 4096);
	CHECK_OK(tell_changed(0, &dev.mem.region[0].wire.size, 0));
	CHECK_OK(fe_wait_closed(&dev.conn));
	check_serves();
}

static void memory_that_is_no_memory(void)
{
	int pipes[2];

	needs_vublkd();
	serve(16 * MIB);
	attach(.mem_slots = true);
	unsigned int extra = add_region(FE_BIT(33), 64 * KIB, 0);
	int memfd = dev.mem.region[extra].fd;

	REQUIRE_OK(pipe(pipes));
	dev.mem.region[extra].fd = pipes[0];
	CHECK_EQ(fe_dev_add_region(&dev, extra), FE_REFUSED);
	dev.mem.region[extra].fd = memfd;
	close(pipes[0]);
	close(pipes[1]);
	check_round_trip(&blk, 0, 4096);
}

static void ring_in_a_region_of_its_own(void)
{
	serve(16 * MIB);
	greet();
	add_region(FE_BIT(35), 64 * KIB, PAGE); /* the rings come first */
	add_region(0, 4 * MIB, 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	finish_attach();
	check_round_trip(&blk, 0, 128 * KIB);
}

static const struct tap_case cases[] = {
	{"one_region", one_region},
	{"guest_physical_ring_addresses", guest_physical_ring_addresses},
	{"guest_physical_addresses_are_no_others", guest_physical_addresses_are_no_others},
	{"guest_physical_ring_moves_with_its_memory", guest_physical_ring_moves_with_its_memory},
	{"eight_regions", eight_regions},
	{"thirty_two_regions", thirty_two_regions},
	{"thirty_two_slots", thirty_two_slots},
	{"as_many_slots_as_promised", as_many_slots_as_promised},
	{"buffers_across_touching_regions", buffers_across_touching_regions},
	{"indirect_table_across_touching_regions", indirect_table_across_touching_regions},
	{"new_table_while_a_ring_runs", new_table_while_a_ring_runs},
	{"new_table_while_requests_are_in_flight", new_table_while_requests_are_in_flight},
	{"slots_come_and_go_while_a_ring_runs", slots_come_and_go_while_a_ring_runs},
	{"removing_what_is_not_there_is_refused", removing_what_is_not_there_is_refused},
	{"a_ring_waits_for_its_memory", a_ring_waits_for_its_memory},
	{"removing_with_an_fd", removing_with_an_fd},
	{"impossible_regions_in_a_table", impossible_regions_in_a_table},
	{"impossible_regions_in_slots", impossible_regions_in_slots},
	{"impossible_tables", impossible_tables},
	{"refused_table_ends_an_unacknowledged_connection",
	 refused_table_ends_an_unacknowledged_connection},
	{"memory_that_is_no_memory", memory_that_is_no_memory},
	{"ring_in_a_region_of_its_own", ring_in_a_region_of_its_own},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("memory", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "The device MUST NOT make assumptions on the particular arrangement of descriptors" (virtio 1.2,
 * 2.7.4.1): one read and one write in every way to cut them up. A request is two streams of bytes
 * here: what the device reads (header, data) and what it writes (data, status).
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "tests/proto/proto.h"

#define HEADER   16u
#define WHOLE    UINT32_MAX
#define MAX_SEGS 20000u
#define AREA     (1 * MIB)

struct cut {
	const char *name;
	uint32_t sizes[8]; /* round and round */
	unsigned int n;
};

/* Pieces of the stream that begins with the header, and of the one that ends with the status. */
static const struct cut out_cuts[] = {
	{"header shares its descriptor with the data", {WHOLE}, 1},
	{"header, data", {HEADER, WHOLE}, 2},
	{"header in two, data shared", {8, WHOLE}, 2},
	{"header in three, the last one shared", {3, 12, WHOLE}, 3},
	{"all in odd pieces", {7, 1, 13, 100, 3}, 5},
	{"pieces of 512 that begin inside the header", {9, 512}, 2},
	{"bytes", {1}, 1},
};

static const struct cut in_cuts[] = {
	{"status shares its descriptor with the data", {WHOLE}, 1},
	{"data split, status shared", {100, WHOLE}, 2},
	{"all in odd pieces", {3, 200, 1, 5, 77}, 5},
	{"pieces of 64, status alone", {64}, 1},
	{"bytes", {1}, 1},
};

static struct fe_seg segs[MAX_SEGS];
static uint64_t out_gpa, in_gpa, table_gpa;
static uint8_t image_bytes[64 * KIB];

static void prepare(unsigned int queue_size)
{
	serve(4 * MIB);
	attach(.queue_size = queue_size, .mem_size = 64 * MIB);
	/* not aligned to anything */
	out_gpa = fe_alloc(&dev.mem, AREA, 4096) + 5;
	in_gpa = fe_alloc(&dev.mem, AREA, 4096) + 11;
	table_gpa = fe_alloc(&dev.mem, MAX_SEGS * 16, 16);
	REQUIRE(fe_ptr(&dev.mem, table_gpa, MAX_SEGS * 16) != NULL);
}

/*
 * One request of `len` bytes at `sector`, cut so; `n_direct` of its descriptors in the ring and the
 * others in an indirect table, or all in the ring if that is WHOLE.
 */
static void framed(uint32_t type, uint64_t sector, uint32_t len, const struct cut *out,
		   const struct cut *in, uint32_t n_direct)
{
	bool write = type == VIRTIO_BLK_T_OUT;
	uint32_t out_len = HEADER + (write ? len : 0), in_len = (write ? 0 : len) + 1, used = 0;
	struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	uint8_t *to_device = fe_ptr(&dev.mem, out_gpa, out_len);
	uint8_t *from_device = fe_ptr(&dev.mem, in_gpa - 1, in_len + 2);
	static uint64_t seed = 1000;
	unsigned int n;

	seed++;
	memcpy(to_device, &header, HEADER);
	memset(from_device, 0xa5, in_len + 2);
	if (write) {
		fe_pattern(to_device + HEADER, 0, len, seed);
	} else {
		fe_pattern(image_bytes, 0, len, seed);
		/* written by the device's own way, so that no stale cache is read */
		REQUIRE_EQ(fe_blk_write(&blk, sector, image_bytes, len), 0);
	}
	n = fe_cut(segs, MAX_SEGS, out_gpa, out_len, false, out->sizes, out->n);
	REQUIRE(n > 0);
	unsigned int n_in = fe_cut(segs + n, MAX_SEGS - n, in_gpa, in_len, true, in->sizes, in->n);

	REQUIRE(n_in > 0);
	n += n_in;

	int ret = fe_vq_exchange(&dev.vq[0], segs, n, n_direct, n_direct == WHOLE ? 0 : table_gpa,
				 &used);
	uint8_t status = from_device[in_len];

	tap_check(!ret && status == VIRTIO_BLK_S_OK, true, __FILE__, __LINE__,
		  "%s: %s; %s (%u descriptors, %d direct): %d, status %u", write ? "write" : "read",
		  out->name, in->name, n, (int)n_direct, ret, status);
	CHECK_EQ(used, in_len);
	CHECK_EQ(from_device[0], 0xa5);
	CHECK_EQ(from_device[in_len + 1], 0xa5);
	if (write)
		REQUIRE_OK(fe_image_read(server.image, sector * FE_SECTOR, image_bytes, len));
	tap_check(fe_pattern_differs(write ? image_bytes : from_device + 1, 0, len, seed) < 0, true,
		  __FILE__, __LINE__, "%s: %s; %s: wrong data", write ? "write" : "read", out->name,
		  in->name);
}

static void every_cut(uint32_t len, uint32_t n_direct)
{
	for (unsigned int o = 0; o < sizeof(out_cuts) / sizeof(*out_cuts); o++)
		for (unsigned int i = 0; i < sizeof(in_cuts) / sizeof(*in_cuts); i++) {
			framed(VIRTIO_BLK_T_OUT, 8 * o + i, len, &out_cuts[o], &in_cuts[i],
			       n_direct);
			framed(VIRTIO_BLK_T_IN, 8 * o + i, len, &out_cuts[o], &in_cuts[i],
			       n_direct);
		}
}

static void direct(void)
{
	needs_vublkd();
	prepare(1024);
	every_cut(512, WHOLE);
}

static void indirect(void)
{
	needs_vublkd();
	prepare(128);
	every_cut(512, 0);
}

static void indirect_after_one_direct_descriptor(void)
{
	needs_vublkd();
	needs_split("of a packed one a list is direct or indirect (2.8.5)");
	prepare(128);
	every_cut(512, 1);
}

/* More than a queue of 1024 has, and more than the 1024 that peers stop at. */
static void four_thousand_descriptors(void)
{
	needs_vublkd();
	prepare(128);
	every_cut(4096, 0);
}

static void indirect_after_several_direct_descriptors(void)
{
	static const struct cut thirds = {"pieces of 40", {40}, 1};

	needs_vublkd();
	needs_split("of a packed one a list is direct or indirect (2.8.5)");
	prepare(128);
	for (uint32_t n_direct = 1; n_direct < 12; n_direct++) {
		framed(VIRTIO_BLK_T_OUT, 3, 512, &thirds, &in_cuts[0], n_direct);
		framed(VIRTIO_BLK_T_IN, 5, 512, &out_cuts[0], &thirds, n_direct);
	}
}

static void longest_direct_chain(void)
{
	static const struct cut bytes = {"bytes", {1}, 1};
	static const struct cut sectors = {"pieces of 63", {63}, 1};

	needs_vublkd();
	prepare(32768);
	framed(VIRTIO_BLK_T_OUT, 0, 16 * KIB, &bytes, &bytes, WHOLE);
	framed(VIRTIO_BLK_T_IN, 0, 15 * KIB + 512, &bytes, &bytes, WHOLE);
	framed(VIRTIO_BLK_T_OUT, 0, 64 * KIB, &sectors, &bytes, WHOLE);
}

/* What a guest like QEMU's firmware, Linux or Windows sends: these even our peer understands. */
static void customary(void)
{
	static const struct cut header_data = {"header, data", {HEADER, WHOLE}, 2};
	static const struct cut header_pages = {"header, sectors", {HEADER, 512}, 2};
	static const struct cut sectors = {"sectors, status", {512}, 1};

	prepare(128);
	for (uint32_t len = 512; len <= 8192; len += 512) {
		framed(VIRTIO_BLK_T_OUT, len / 512, len, &header_data, &sectors, WHOLE);
		framed(VIRTIO_BLK_T_IN, len / 512, len, &header_data, &sectors, WHOLE);
		framed(VIRTIO_BLK_T_OUT, len / 512, len, &header_pages, &sectors, 0);
		framed(VIRTIO_BLK_T_IN, len / 512, len, &header_pages, &sectors, 0);
	}
}

static void indirect_table_flagged_as_writable(void)
{
	needs_vublkd();
	prepare(128);
	/* 2.7.5.3.2: "The device MUST ignore the write-only flag in the descriptor that refers to
	 * an indirect table"; 2.8.7 says the same. */
	struct fe_blk_slot *slot = fe_blk_get(&blk);

	fe_pattern(slot->data, 0, 512, 3);
	REQUIRE_OK(fe_blk_submit(&blk, slot, VIRTIO_BLK_T_OUT, 0, 512));
	struct fe_vq *vq = &dev.vq[0];

	if (fe_vq_is_packed(vq)) /* its flags wait to be published */
		vq->packed.held_flags |= VRING_DESC_F_WRITE;
	else
		vq->ring.desc[vq->ring.avail->ring[0]].flags |= VRING_DESC_F_WRITE;
	CHECK_EQ(fe_blk_drain(&blk), 0);
}

static const struct tap_case cases[] = {
	{"customary", customary},
	{"direct", direct},
	{"indirect", indirect},
	{"indirect_after_one_direct_descriptor", indirect_after_one_direct_descriptor},
	{"indirect_after_several_direct_descriptors", indirect_after_several_direct_descriptors},
	{"four_thousand_descriptors", four_thousand_descriptors},
	{"longest_direct_chain", longest_direct_chain},
	{"indirect_table_flagged_as_writable", indirect_table_flagged_as_writable},
	{0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("framing", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See image/blocks.h. A GPT's header is in block 1, so where it is says how large a block is (UEFI
 * 5.3.2). An MBR is in block 0 and has no such sign; but its partitions must fit onto the disk, and
 * commonly fill it: counted in blocks eight times as large they reach beyond the end.
 */
#include "image/blocks.h"

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define SMALL 512u
#define LARGE 4096u
static_assert(IMAGE_HEAD >= 2 * LARGE, "both blocks in which a GPT may be");

#define GPT_REVISION 0x00010000u
#define MBR_ENTRIES  4
#define MBR_GPT      0xee /* type of the partition that stands for a GPT */

struct gpt_header {
	char signature[8];
	uint32_t revision;
	uint32_t size;
	uint32_t crc;
	uint32_t reserved;
	uint64_t my_lba;
};

struct mbr_entry {
	uint8_t status, first_chs[3], type, last_chs[3];
	uint32_t start, length; /* blocks */
};

static bool is_gpt_header(const unsigned char *block)
{
	struct gpt_header header;

	memcpy(&header, block, sizeof(header));
	return !memcmp(header.signature, "EFI PART", sizeof(header.signature)) &&
	       le32toh(header.revision) == GPT_REVISION && le64toh(header.my_lba) == 1;
}

/* The block behind the last partition of an MBR; 0: there is none, or no MBR. */
static uint64_t mbr_end(const unsigned char *head)
{
	uint64_t end = 0;

	if (head[510] != 0x55 || head[511] != 0xaa)
		return 0;
	for (int i = 0; i < MBR_ENTRIES; i++) {
		struct mbr_entry entry;
		uint64_t behind;

		memcpy(&entry, head + 446 + 16 * i, sizeof(entry));
		behind = (uint64_t)le32toh(entry.start) + le32toh(entry.length);
		/* A boot sector of a file system ends like an MBR, and has other things here. */
		if (entry.status & 0x7f)
			return 0;
		if (entry.type && entry.type != MBR_GPT && behind > end)
			end = behind;
	}
	return end;
}

enum image_blocks image_blocks_find(const unsigned char head[IMAGE_HEAD], uint64_t size)
{
	const bool small = is_gpt_header(head + SMALL), large = is_gpt_header(head + LARGE);
	const uint64_t end = mbr_end(head);

	if (small && large)
		return IMAGE_BLOCKS_UNCLEAR; /* one is what is left of an earlier table */
	if (small || large)
		return small ? IMAGE_BLOCKS_512 : IMAGE_BLOCKS_4096;
	if (!end || end * SMALL > size)
		return IMAGE_BLOCKS_UNKNOWN;
	return end * LARGE > size ? IMAGE_BLOCKS_512 : IMAGE_BLOCKS_UNCLEAR;
}

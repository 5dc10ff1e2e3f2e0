/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The note of lib/vq/track.c: what one process leaves the next one finds, whenever it was killed,
 * and whoever sets the flag meanwhile.
 */
#include "tests/unit/support/step-recorder.h"
#include "tests/unit/support/track.h"

#define OLD 0x11223344u
#define NEW 0xa5b6c7d8u

static const uint64_t kinds[] = {0, RING_PACKED};
#define N_KINDS (sizeof(kinds) / sizeof(*kinds))

static struct pictures pictures;
static uint8_t unwatched;
static bool packed;
static struct vublk_note next;

static void *region(void)
{
	return packed ? (void *)pr : (void *)sr;
}

static void open_tracked(unsigned kind)
{
	packed = kinds[kind];
	track_open(8, kinds[kind], packed ? 0x80008000 : 0);
}

static void note(uint32_t value, bool flag)
{
	vublk_queue_note(&ring.vq, &(struct vublk_note){.value = value, .flag = flag});
}

static bool is_noted(uint32_t value, bool flag)
{
	const struct vublk_note noted = vublk_queue_noted(&ring.vq);

	return noted.value == value && noted.flag == flag;
}

static void found_again(void)
{
	for (unsigned kind = 0; kind < N_KINDS; kind++) {
		open_tracked(kind);
		CHECK(is_noted(0, false));
		note(OLD, false);
		CHECK(is_noted(OLD, false));
		note(NEW, true);
		CHECK(is_noted(NEW, true));
		note(0, false);
		CHECK(is_noted(0, false));
		ring_free();
	}
}

/* Before there is a note, and beside one. */
static void flag_alone(void)
{
	for (unsigned kind = 0; kind < N_KINDS; kind++) {
		open_tracked(kind);
		vq_track_flag(region(), packed, false);
		CHECK(is_noted(0, false));
		vq_track_flag(region(), packed, true);
		CHECK(is_noted(0, true));
		note(OLD, true);
		vq_track_flag(region(), packed, false);
		CHECK(is_noted(OLD, false));
		vq_track_flag(region(), packed, true);
		CHECK(is_noted(OLD, true));
		ring_free();
	}
}

/* Other back-ends use these bytes for nothing, and need not clear them. */
static void bytes_that_are_no_note(void)
{
	for (unsigned kind = 0; kind < N_KINDS; kind++) {
		open_tracked(kind);
		for (unsigned byte = 0; byte < 256; byte++) {
			memset(packed ? pr->padding : sr->desc[0].padding, (int)byte, 5);
			if (byte < 0xb5 || byte > 0xb7)
				CHECK(is_noted(0, false));
		}
		ring_free();
	}
}

static void write_next(void)
{
	vublk_queue_note(&ring.vq, &next);
}

/* Killed after any store: a value is the old one, the new one or none, and the flag is kept. */
static void killed_while_it_is_written(void)
{
	for (unsigned i = 0; i < 4 * N_KINDS; i++) {
		const bool was = i & 1, is = i & 2;
		unsigned none = 0;

		open_tracked(i / 4);
		recorder_watch(&unwatched, 0, region(), 64);
		note(OLD, was);
		next = (struct vublk_note){.value = NEW, .flag = is};
		recorder_run(&pictures, write_next);
		REQUIRE(pictures.n > 5);
		for (unsigned k = 0; k < pictures.n; k++) {
			struct vublk_note noted;

			recorder_restore(&pictures.p[k]);
			noted = vublk_queue_noted(&ring.vq);
			CHECK(noted.flag == was || noted.flag == is);
			CHECK(noted.value == 0 || noted.value == (k ? NEW : OLD));
			none += !noted.value;
		}
		CHECK(none > 0);
		CHECK(is_noted(NEW, is));
		ring_free();
	}
}

/* The flag is set by another thread while the note is written: it is there from then on. */
static void flag_set_meanwhile(void)
{
	for (unsigned kind = 0; kind < N_KINDS; kind++) {
		open_tracked(kind);
		recorder_watch(&unwatched, 0, region(), 64);
		note(OLD, false);
		next = (struct vublk_note){.value = NEW};
		recorder_run(&pictures, write_next);
		for (unsigned k = 0; k < pictures.n; k++) {
			recorder_restore(&pictures.p[k]);
			vq_track_flag(region(), packed, true);
			CHECK(vublk_queue_noted(&ring.vq).flag);
			/* and once more, as who notes does then */
			note(NEW, true);
			CHECK(is_noted(NEW, true));
		}
		ring_free();
	}
}

static void no_region(void)
{
	ring_make(8, 0);
	REQUIRE_OK(ring_setup());
	note(OLD, true);
	CHECK(is_noted(0, false));
	ring_free();
}

static const struct tap_case cases[] = {
	{"found_again", found_again},
	{"flag_alone", flag_alone},
	{"bytes_that_are_no_note", bytes_that_are_no_note},
	{"killed_while_it_is_written", killed_while_it_is_written},
	{"flag_set_meanwhile", flag_set_meanwhile},
	{"no_region", no_region},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "track note", .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}

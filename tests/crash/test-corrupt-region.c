/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In-flight regions that no honest back-end leaves behind: the daemon refuses them or survives
 * them, and serves the next front-end. (With the sanitizers' build this finds more.)
 *
 * A daemon that is killed with requests in flight leaves a true region, true rings and memory;
 * these are kept, and each round spoils a copy. FE_CORRUPT_ROUNDS is the number of random rounds
 * for each kind of ring, FE_CRASH_SEED repeats them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash/crash.h"

#define QUEUES     2
#define RING       32
#define EXTRA      8 /* entries that the region is to have more than the ring; it has 1024 */
#define DEPTH      10
#define DATA_SIZE  (64 * 1024)
#define MEM_SIZE   (4 * MIB)
#define EACH_CLEAN 16 /* rounds between two looks whether all is well */
#define ROUNDS     1500

static struct fe_dev victim;
static struct fe_inflight truth, spoilt;
static struct fe_blk victim_blk[QUEUES];
static uint8_t *memory; /* as the dead daemon has left it */
static unsigned int n_refused, n_not_started, n_ran;

/* ---- the truth ---- */

/* Reads, as many as there is room for. */
static void fill(unsigned int n)
{
	for (unsigned int q = 0; q < QUEUES; q++) {
		struct fe_blk *b = &victim_blk[q];

		for (unsigned int i = 0; i < n; i++) {
			struct fe_blk_slot *slot = fe_blk_get(b);

			if (!slot || b->vq->n_free < 3)
				break;
			REQUIRE_OK(fe_blk_submit(b, slot, VIRTIO_BLK_T_IN,
						 crash_random(8 * MIB / FE_SECTOR), DATA_SIZE));
		}
	}
	for (unsigned int q = 0; q < QUEUES; q++)
		fe_vq_kick(&victim.vq[q]);
}

static bool held(void)
{
	return fe_inflight_count(&truth, 0) > 1 && fe_inflight_count(&truth, 1) > 1;
}

/* Stops the daemon, wherever it is. */
static void stop(void)
{
	siginfo_t info;

	REQUIRE_OK(kill(server.pid, SIGSTOP));
	REQUIRE_OK(waitid(P_PID, (id_t)server.pid, &info, WSTOPPED | WEXITED | WNOWAIT));
	REQUIRE_EQ(info.si_code, CLD_STOPPED);
}

/*
 * Kills the daemon while it holds requests of both queues. It is stopped to be looked at, for a
 * look at one that runs is out of date before the signal has come; so it may be as fast as it
 * likes.
 */
static void kill_with_requests(void)
{
	const uint64_t deadline = fe_deadline(20000);

	/* Some that are finished, so that the region is not as new. */
	fill(3);
	for (;;) {
		for (unsigned int q = 0; q < QUEUES; q++)
			REQUIRE_OK(fe_blk_drain(&victim_blk[q]));
		fill(DEPTH - 2);
		usleep((useconds_t)crash_random(300));
		stop();
		if (held())
			break;
		REQUIRE(fe_left_ms(deadline));
		REQUIRE_OK(kill(server.pid, SIGCONT));
	}
	crash_kill();
	REQUIRE(held());
}

static void end_victim(void)
{
	for (unsigned int q = 0; q < QUEUES; q++)
		fe_blk_free(&victim_blk[q]);
	fe_inflight_free(&truth);
	fe_dev_close(&victim);
	free(memory);
	memory = NULL;
}

/* Blocks that must be read: a hole would be too fast. */
static void make_image(void)
{
	char *data = malloc(MIB);

	memset(data, 1, MIB);
	REQUIRE_OK(fe_image_make(server.image, 16 * MIB));
	for (unsigned int i = 0; i < 16; i++)
		REQUIRE_OK(fe_image_write(server.image, i * MIB, data, MIB));
	free(data);
}

static void make_truth(bool packed)
{
	static const char *const none[] = {NULL};

	crash_seed();
	make_image();
	REQUIRE_OK(fe_daemon_serve(&server, none));
	truth = (struct fe_inflight){.queue_size = RING + EXTRA};
	REQUIRE_OK(fe_inflight_start(&victim, server.socket,
				     &(struct fe_dev_options){
					     .features_off = FE_BIT(VIRTIO_RING_F_INDIRECT_DESC),
					     .packed = packed,
					     .n_queues = QUEUES,
					     .queue_size = RING,
					     .mem_size = MEM_SIZE,
				     },
				     &truth));
	for (unsigned int q = 0; q < QUEUES; q++)
		REQUIRE_OK(fe_blk_init(&victim_blk[q], &victim, q, DEPTH, DATA_SIZE));
	kill_with_requests();
	/* And some that it has not seen. */
	fill(DEPTH);
	for (unsigned int q = 0; q < QUEUES && !packed; q++)
		victim.vq[q].base = fe_vq_used_base(&victim.vq[q]);
	memory = malloc(MEM_SIZE);
	memcpy(memory, victim.mem.region[0].host, MEM_SIZE);
	fe_dev_hang_up(&victim);
	REQUIRE_OK(fe_daemon_serve(&server, none));
}

/* ---- one round ---- */

enum moment {
	NEVER,
	AFTER_SET,
	AFTER_START
};

/*
 * A session with the spoilt region, which is truncated at some moment. The first answer that was no
 * success, of that message which sets the region (*set) or of one that starts a ring.
 */
static int play(enum moment truncation, bool *set)
{
	struct pollfd p = {.fd = victim.vq[0].call_fd, .events = POLLIN};
	int ret;

	*set = false;
	ret = fe_inflight_open(&victim, server.socket, &spoilt);
	if (!ret) {
		*set = true;
		/*
		 * Now that it has answered us, nothing of the last session is under way any more.
		 */
		memcpy(victim.mem.region[0].host, memory, MEM_SIZE);
		if (truncation == AFTER_SET)
			REQUIRE_OK(ftruncate(spoilt.fd, 0));
		ret = fe_inflight_begin(&victim);
		if (truncation == AFTER_START)
			REQUIRE_OK(ftruncate(spoilt.fd, 0));
		/* Whatever it makes of it, some of that shall happen. */
		poll(&p, 1, 2);
		fe_vq_take_event(p.fd);
	}
	fe_dev_hang_up(&victim);
	return ret;
}

static void check_alive(void)
{
	REQUIRE(fe_daemon_alive(&server));
	check_serves();
}

/* ---- a thing that must be refused ---- */

struct refusal {
	const char *what;
	void (*spoil)(void);
};

static struct inflight_split *s0(void)
{
	return fe_inflight_split(&spoilt, 0);
}

static struct inflight_packed *p0(void)
{
	return fe_inflight_packed(&spoilt, 0);
}

/* An entry that is in flight. */
static unsigned int packed_busy(void)
{
	unsigned int i = 0;

	while (!p0()->desc[i].inflight)
		i++;
	return i;
}

#define SPOIL(name, ...) \
	static void name(void) \
	{ \
		__VA_ARGS__; \
	}

/* Of the message. */
SPOIL(no_queues, spoilt.desc.num_queues = 0)
SPOIL(many_queues, spoilt.desc.num_queues = 0xffff)
SPOIL(no_entries, spoilt.desc.queue_size = 0)
SPOIL(many_entries, spoilt.desc.queue_size = 0xffff)
SPOIL(more_entries_than_bytes, spoilt.desc.queue_size = 2048)
SPOIL(no_bytes, spoilt.desc.mmap_size = 0)
SPOIL(few_bytes, spoilt.desc.mmap_size /= 2)
SPOIL(odd_offset, spoilt.desc.mmap_offset++)
SPOIL(offset_beyond_the_end, spoilt.desc.mmap_offset = 1 << 30)
SPOIL(offset_that_wraps, spoilt.desc.mmap_offset = UINT64_MAX - 7)
SPOIL(size_that_wraps, spoilt.desc.mmap_offset = 4096; spoilt.desc.mmap_size = UINT64_MAX)
SPOIL(short_file, REQUIRE_OK(ftruncate(spoilt.fd, 4096)); spoilt.desc.mmap_offset = 4096)

static const struct refusal of_message[] = {
	{"no queues", no_queues},
	{"65535 queues", many_queues},
	{"no entries", no_entries},
	{"65535 entries", many_entries},
	{"more entries than bytes", more_entries_than_bytes},
	{"no bytes", no_bytes},
	{"half of the bytes", few_bytes},
	{"an odd offset", odd_offset},
	{"an offset beyond the end", offset_beyond_the_end},
	{"an offset that wraps", offset_that_wraps},
	{"a size that wraps", size_that_wraps},
	{"a file that is too short", short_file},
	{0},
};

SPOIL(split_version, s0()->version = 2)
SPOIL(split_features, s0()->features = 1)
SPOIL(split_desc_num, s0()->desc_num--)
SPOIL(split_desc_num_0, s0()->desc_num = 0)
SPOIL(split_used_far, s0()->used_idx = (uint16_t)(s0()->used_idx + 0x4000))
SPOIL(split_used_ahead, s0()->used_idx++)
SPOIL(split_batch_head, s0()->used_idx--; s0()->last_batch_head = RING)
SPOIL(split_batch_next, s0()->used_idx -= 2; s0()->desc[s0()->last_batch_head].next = 0xffff)
SPOIL(split_entry_not_of_the_ring, s0()->desc[RING + 1].inflight = 1)
SPOIL(split_all_in_flight, for (unsigned int i = 0; i < RING; i++) s0()->desc[i].inflight = 1)

static const struct refusal of_split[] = {
	{"version 2", split_version},
	{"a feature", split_features},
	{"another number of entries", split_desc_num},
	{"no entries in it", split_desc_num_0},
	{"a used index that is far away", split_used_far},
	{"a used index ahead of the ring's", split_used_ahead},
	{"a last batch that begins nowhere", split_batch_head},
	{"a last batch that leads nowhere", split_batch_next},
	{"an entry in flight that the ring has not", split_entry_not_of_the_ring},
	{"more in flight than available", split_all_in_flight},
	{0},
};

SPOIL(packed_version, p0()->version = 2)
SPOIL(packed_features, p0()->features = 1)
SPOIL(packed_desc_num, p0()->desc_num--)
SPOIL(packed_used, p0()->used.idx = RING)
SPOIL(packed_old_used, p0()->used.old_idx = 0xffff)
SPOIL(packed_wrap, p0()->used.wrap = 2)
SPOIL(packed_old_wrap, p0()->used.old_wrap = 0xff)
SPOIL(packed_free_loop, p0()->desc[p0()->old_free_head].next = p0()->old_free_head;
      p0()->free_head = p0()->old_free_head)
SPOIL(packed_num_0, p0()->desc[packed_busy()].num = 0)
SPOIL(packed_num_huge, p0()->desc[packed_busy()].num = 0xffff)
SPOIL(packed_num_1, p0()->desc[packed_busy()].num = 1)
SPOIL(packed_last, p0()->desc[packed_busy()].last = 0xffff)
SPOIL(packed_next, p0()->desc[packed_busy()].next = 0xfff0)
SPOIL(packed_next_self, p0()->desc[packed_busy()].next = (uint16_t)packed_busy())

static void packed_share(void)
{
	const unsigned int first = packed_busy();
	const uint16_t second = p0()->desc[first].next;

	p0()->desc[second].inflight = 1;
	p0()->desc[second].num = 1;
	p0()->desc[second].last = second;
}

static const struct refusal of_packed[] = {
	{"version 2", packed_version},
	{"a feature", packed_features},
	{"another number of entries", packed_desc_num},
	{"a used index that is none", packed_used},
	{"an old used index that is none", packed_old_used},
	{"a wrap counter of 2", packed_wrap},
	{"an old wrap counter of 255", packed_old_wrap},
	{"a loop in the free list", packed_free_loop},
	{"a request of no entries", packed_num_0},
	{"a request of 65535 entries", packed_num_huge},
	{"a request that ends too early", packed_num_1},
	{"a request that ends nowhere", packed_last},
	{"a request that leads nowhere", packed_next},
	{"a request that leads to itself", packed_next_self},
	{"two requests that share an entry", packed_share},
	{0},
};

/* A copy of the truth, in a file without seals. */
static void copy(uint64_t offset)
{
	REQUIRE_OK(fe_inflight_copy(&spoilt, &truth, offset, 0));
}

/* With the numbers that the message had; its map knows no others. */
static void drop(uint64_t offset)
{
	spoilt.desc = truth.desc;
	spoilt.desc.mmap_offset = offset;
	fe_inflight_free(&spoilt);
}

static void check_refused(const struct refusal *r, bool at_set)
{
	bool set;
	int ret;

	for (; r->what; r++) {
		copy(0);
		r->spoil();
		ret = play(NEVER, &set);
		drop(0);
		if (ret != FE_REFUSED || set == at_set)
			tap_check(false, false, __FILE__, __LINE__, "%s: the answer is %d at %s",
				  r->what, ret, set ? "the start" : "SET_INFLIGHT_FD");
		REQUIRE(fe_daemon_alive(&server));
	}
	check_serves();
}

static void refused(bool is_packed)
{
	bool set;

	make_truth(is_packed);
	check_refused(of_message, true);
	check_refused(is_packed ? of_packed : of_split, false);
	/* The truth itself is welcome; or else all this has proved nothing. */
	copy(0);
	CHECK_OK(play(NEVER, &set));
	drop(0);
	/* So it is at an offset that is no page's. */
	copy(4096 + 64);
	CHECK_OK(play(NEVER, &set));
	drop(4096 + 64);
	check_alive();
	end_victim();
}

static void split_refused(void)
{
	refused(false);
}

static void packed_refused(void)
{
	refused(true);
}

/* ---- random nonsense ---- */

static uint16_t number(void)
{
	switch (crash_random(5)) {
	case 0:
		return (uint16_t)crash_random(65536);
	case 1:
		return (uint16_t)(RING + EXTRA - 2 + crash_random(4));
	case 2:
		return (uint16_t)(1024 - 2 + crash_random(6));
	default:
		return (uint16_t)crash_random(RING);
	}
}

static void spoil_split(struct inflight_split *s)
{
	struct inflight_desc_split *d = &s->desc[crash_random(RING + EXTRA)];

	switch (crash_random(10)) {
	case 0:
		s->version = (uint16_t)crash_random(3);
		break;
	case 1:
		s->desc_num = number();
		break;
	case 2:
		s->last_batch_head = number();
		break;
	case 3:
		s->used_idx = (uint16_t)(s->used_idx - crash_random(RING + 2));
		break;
	case 4:
		s->used_idx = number();
		break;
	case 5:
		d->counter = crash_random(2) ? UINT64_MAX - crash_random(2) : crash_random(4);
		break;
	case 6:
	case 7:
		d->inflight = (uint8_t)crash_random(256);
		break;
	default:
		d->next = number();
		break;
	}
}

static void spoil_packed(struct inflight_packed *s)
{
	struct inflight_desc_packed *d = &s->desc[crash_random(RING + EXTRA)];
	uint16_t *const fields[] = {
		&s->version,  &s->desc_num,     &s->free_head, &s->old_free_head,
		&s->used.idx, &s->used.old_idx, &d->next,      &d->next,
		&d->last,     &d->num,          &d->id,        &d->flags,
	};

	switch (crash_random(8)) {
	case 0:
		s->used.wrap = (uint8_t)crash_random(3);
		break;
	case 1:
		s->used.old_wrap = (uint8_t)crash_random(3);
		break;
	case 2:
		d->inflight = (uint8_t)crash_random(3);
		break;
	case 3:
		d->counter = crash_random(2) ? UINT64_MAX - crash_random(2) : crash_random(4);
		break;
	case 4:
		d->addr = crash_random(2) ? crash_random(MEM_SIZE) : fe_random(&crash_rng);
		d->len = (uint32_t)crash_random(1 << 20);
		break;
	default:
		*fields[crash_random(sizeof(fields) / sizeof(fields[0]))] = number();
		break;
	}
}

static void spoil_bytes(void)
{
	const uint64_t from = crash_random(spoilt.desc.mmap_size);
	uint64_t n = 1 + crash_random(64);

	for (uint64_t i = from; n-- && i < spoilt.desc.mmap_size; i++)
		spoilt.region[i] = (uint8_t)crash_random(256);
}

static void spoil_message(void)
{
	struct vhu_inflight_desc *d = &spoilt.desc;

	switch (crash_random(4)) {
	case 0:
		d->num_queues = number();
		break;
	case 1:
		d->queue_size = number();
		break;
	case 2:
		d->mmap_size = crash_random(2 * d->mmap_size);
		break;
	default:
		d->mmap_offset = crash_random(2 * d->mmap_size);
		break;
	}
}

static void spoil(bool is_packed)
{
	unsigned int n = 1 + (unsigned int)crash_random(4);

	if (crash_random(40) == 0)
		memset(spoilt.region, (int)crash_random(256), spoilt.desc.mmap_size);
	while (n--) {
		const unsigned int q = (unsigned int)crash_random(QUEUES);

		if (crash_random(8) == 0)
			spoil_bytes();
		else if (is_packed)
			spoil_packed(fe_inflight_packed(&spoilt, q));
		else
			spoil_split(fe_inflight_split(&spoilt, q));
	}
	/* Last, for we need it ourselves to find our way. */
	if (crash_random(16) == 0)
		spoil_message();
}

static void one_round(bool is_packed)
{
	enum moment truncation = NEVER;
	bool set;
	int ret;

	copy(0);
	if (crash_random(16) == 0)
		truncation = crash_random(2) ? AFTER_SET : AFTER_START;
	/* A good one that is truncated gets further. */
	if (truncation == NEVER || crash_random(2))
		spoil(is_packed);
	ret = play(truncation, &set);
	drop(0);
	if (ret && ret != FE_REFUSED && ret != -EPIPE && ret != -ECONNRESET)
		REQUIRE_OK(ret);
	if (!set)
		n_refused++;
	else if (ret)
		n_not_started++;
	else
		n_ran++;
}

static void random_rounds(bool is_packed)
{
	const unsigned int rounds = number_from("FE_CORRUPT_ROUNDS", ROUNDS);

	make_truth(is_packed);
	for (unsigned int i = 0; i < rounds; i++) {
		one_round(is_packed);
		if (i % EACH_CLEAN == 0)
			check_alive();
	}
	check_alive();
	tap_diag("%u regions: %u not taken, %u not started with, %u survived", rounds, n_refused,
		 n_not_started, n_ran);
	end_victim();
}

static void split_random(void)
{
	random_rounds(false);
}

static void packed_random(void)
{
	random_rounds(true);
}

static const struct tap_case cases[] = {
	{"split_refused", split_refused},
	{"packed_refused", packed_refused},
	{"split_random", split_random},
	{"packed_random", packed_random},
	{0},
};

static struct tap_suite suites[] = {
	{.name = "corrupt-region",
	 .setup = proto_setup,
	 .teardown = proto_teardown,
	 .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	suites[0].seconds = 60 + number_from("FE_CORRUPT_ROUNDS", ROUNDS) / 10;
	return tap_main(argc, argv, suites);
}

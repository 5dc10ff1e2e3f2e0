/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client whose work is the same each time, for the tests of costs: it makes a batch of reads
 * available at once, waits until the last one is back, and goes on with the next batch. So what the
 * daemon does for it does not depend on who of the two is faster.
 *
 *	lockstep SOCKET [WORD | NAME=NUMBER]...
 *
 *	packed direct no-event-idx
 *				the ring; it is split, with indirect descriptors and EVENT_IDX
 *	inflight		with an in-flight region
 *	no-kick			with a ring that the device has to look at unasked
 *	poll			looks for completions; else it sleeps until it is called
 *	hold			at the end stays connected until standard input ends
 *	depth=32 batches=100	how much; one more batch comes first and is not counted
 *	bytes=4096 unaligned	of a request; its buffer begins at an odd address
 *	queues=1		that are started; only the first one is used
 *
 * Prints "ios=N kicks=N calls=N". Any trouble: one line on standard error and status 1.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/frontend/fe_blk.h"
#include "tests/frontend/fe_dev.h"
#include "tests/frontend/fe_inflight.h"
#include "tests/frontend/fe_time.h"

#define MIB (1ull << 20)

static struct {
	bool packed, direct, no_event_idx, inflight, no_kick, poll, hold, unaligned;
	unsigned int depth, batches, bytes, queues;
} option = {.depth = 32, .batches = 100, .bytes = 4096, .queues = 1};

static struct fe_dev dev;
static struct fe_blk blk;
static struct fe_inflight inflight = {.fd = -1};
static uint64_t kicks, calls;

static void check(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "lockstep: %s: %s\n", what, ret < 0 ? strerror(-ret) : "refused");
	exit(EXIT_FAILURE);
}

/* ---- options ---- */

static bool set_flag(const char *word)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{"packed", &option.packed},     {"direct", &option.direct},
		{"poll", &option.poll},         {"no-event-idx", &option.no_event_idx},
		{"inflight", &option.inflight}, {"no-kick", &option.no_kick},
		{"hold", &option.hold},         {"unaligned", &option.unaligned},
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		if (!strcmp(word, flags[i].name))
			return *flags[i].flag = true;
	return false;
}

static bool set_number(const char *word)
{
	return sscanf(word, "depth=%u", &option.depth) == 1 ||
	       sscanf(word, "batches=%u", &option.batches) == 1 ||
	       sscanf(word, "bytes=%u", &option.bytes) == 1 ||
	       sscanf(word, "queues=%u", &option.queues) == 1;
}

/* ---- the device ---- */

static void start(const char *path)
{
	const struct fe_dev_options options = {
		.features_off = (option.no_event_idx ? FE_BIT(VIRTIO_RING_F_EVENT_IDX) : 0) |
				(option.direct ? FE_BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0),
		.n_queues = option.queues,
		.mem_size = 8 * MIB + (uint64_t)option.depth * (option.bytes + 16384),
		.packed = option.packed,
	};
	int ret = option.inflight ? fe_inflight_start(&dev, path, &options, &inflight)
				  : fe_dev_start(&dev, path, &options);

	check(ret, path);
	if (option.no_kick)
		check(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, 0, -1), "no kick descriptor");
	check(fe_blk_init(&blk, &dev, 0, option.depth, option.bytes + 1), "requests");
	fe_vq_silence(blk.vq, option.poll);
}

/* ---- the work ---- */

/* How many calls have come that were not counted yet. */
static uint64_t take_calls(void)
{
	eventfd_t n;

	return eventfd_read(blk.vq->call_fd, &n) ? 0 : n;
}

static void submit(unsigned int i)
{
	const uint64_t n_places = MIB / option.bytes;
	struct fe_blk_slot *slot = fe_blk_get(&blk);
	const uint64_t place = n_places ? i % n_places : 0;

	const struct fe_seg data = {
		.addr = slot->data_gpa + option.unaligned, .len = option.bytes, .write = true};

	check(fe_blk_submit_segs(&blk, slot, VIRTIO_BLK_T_IN, place * option.bytes / FE_SECTOR,
				 &data, 1),
	      "a read");
}

static void reap(void)
{
	struct fe_blk_slot *slot;
	int ret;

	while ((ret = fe_blk_reap(&blk, &slot)) > 0) {
		check(*slot->status, "the status of a read");
		fe_blk_put(&blk, slot);
	}
	check(ret, "the used ring");
}

/* Asks for the next call and sleeps until it comes; unless there is something already. */
static void await(void)
{
	if (option.poll) {
		check(fe_vq_wait(blk.vq, fe_deadline(FE_TIMEOUT_MS)), "no completion");
		return;
	}
	fe_vq_silence(blk.vq, false);
	if (fe_vq_has_used(blk.vq))
		return;
	check(fe_wait_fd(blk.vq->call_fd, POLLIN, fe_deadline(FE_TIMEOUT_MS)), "no call");
	calls += take_calls();
}

static void run_batch(void)
{
	for (unsigned int i = 0; i < option.depth; i++)
		submit(i);
	if (option.no_kick)
		fe_vq_publish(blk.vq);
	else
		kicks += fe_vq_kick(blk.vq);
	for (reap(); blk.in_flight; reap())
		await();
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: lockstep SOCKET [WORD | NAME=NUMBER]...\n");
		return EXIT_FAILURE;
	}
	for (int i = 2; i < argc; i++)
		if (!set_flag(argv[i]) && !set_number(argv[i]))
			check(-EINVAL, argv[i]);
	start(argv[1]);
	if (option.batches)
		run_batch();
	take_calls();
	kicks = calls = 0;
	for (unsigned int i = 0; i < option.batches; i++)
		run_batch();
	calls += take_calls();
	printf("ios=%llu kicks=%llu calls=%llu\n",
	       (unsigned long long)option.batches * option.depth, (unsigned long long)kicks,
	       (unsigned long long)calls);
	fflush(stdout);
	while (option.hold && getchar() != EOF)
		;
	fe_blk_free(&blk);
	fe_dev_close(&dev);
	fe_inflight_free(&inflight);
	return 0;
}

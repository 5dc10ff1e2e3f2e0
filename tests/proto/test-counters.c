/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is counted of a disk, as SIGUSR1 has it logged: after known requests the numbers are exactly
 * those, and they outlive rings and sessions.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/proto/proto.h"

#define OK     VIRTIO_BLK_S_OK
#define IOERR  VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP
#define DISK   (4 * MIB)

enum {
	READ,
	WRITE,
	FLUSH,
	DISCARD,
	ZEROES,
	OTHER,
	KINDS
};

struct kind {
	unsigned long long n, bytes, merged, failed, us;
};

struct counted {
	struct kind kind[KINDS];
	unsigned long long in_flight, recovered, kicks, calls;
};

static uint8_t buf[64 * KIB];

/* ---- what is logged ---- */

static int has_logged(void *n)
{
	return n_logged(": requests so far: ") > *(unsigned int *)n;
}

/* The last line of that kind, in a text that is overwritten by the next. */
static char *last_line(void)
{
	static char text[65536];
	char *line = NULL;

	fe_daemon_stderr(&server, text, sizeof(text));
	for (char *at = text; (at = strstr(at, ": requests so far: ")); at++)
		line = at;
	REQUIRE(line != NULL);
	*strchrnul(line, '\n') = '\0';
	return line;
}

static struct counted take(void)
{
	static const char *const names[KINDS] = {" read ",    " write ",        " flush ",
						 " discard ", " write_zeroes ", " other "};
	unsigned int before = n_logged(": requests so far: ");
	struct counted counted = {0};
	const char *line;

	REQUIRE_OK(kill(server.pid, SIGUSR1));
	REQUIRE(fe_wait_for(has_logged, &before, fe_deadline(FE_TIMEOUT_MS)) > 0);
	line = last_line();
	for (unsigned int i = 0; i < KINDS; i++) {
		struct kind *kind = &counted.kind[i];
		const char *at = strstr(line, names[i]);
		int n;

		REQUIRE(at != NULL);
		n = sscanf(at + strlen(names[i]),
			   "%llu (%llu bytes, %llu merged, %llu failed, mean %llu us)", &kind->n,
			   &kind->bytes, &kind->merged, &kind->failed, &kind->us);
		REQUIRE_EQ(n, kind->n ? 5 : 1);
	}
	REQUIRE_EQ(sscanf(strstr(line, "; in flight "),
			  "; in flight %llu, recovered %llu, kicks %llu, calls %llu",
			  &counted.in_flight, &counted.recovered, &counted.kicks, &counted.calls),
		   4);
	return counted;
}

static void check_kind(const struct kind *kind, uint64_t n, uint64_t bytes, uint64_t merged,
		       uint64_t failed)
{
	CHECK_EQ(kind->n, n);
	CHECK_EQ(kind->bytes, bytes);
	CHECK_EQ(kind->merged, merged);
	CHECK_EQ(kind->failed, failed);
}

static void begin(void)
{
	needs_vublkd();
	serve(DISK, "--cache=writeback", "--num-workers=2");
	/* The socket is there before the disk is: who is asked in between has nothing to count. */
	REQUIRE_OK(fe_daemon_await_log(&server, ": serving "));
}

/* ---- kinds ---- */

static void nothing_is_counted_at_first(void)
{
	struct counted counted;

	begin();
	for (unsigned int i = 0; i < 2; i++) {
		counted = take();
		for (unsigned int k = 0; k < KINDS; k++)
			CHECK_EQ(counted.kind[k].n, 0);
		CHECK_EQ(counted.in_flight + counted.recovered + counted.kicks, 0);
		if (!i)
			attach();
	}
}

static void each_kind_is_counted(void)
{
	struct counted counted;
	char id[20];

	begin();
	attach();
	CHECK_EQ(fe_blk_read(&blk, 0, buf, 512), OK);
	CHECK_EQ(fe_blk_read(&blk, 100, buf, 4096), OK);
	CHECK_EQ(fe_blk_read(&blk, 8, buf, 64 * KIB), OK);
	CHECK_EQ(fe_blk_write(&blk, 8, buf, 1024), OK);
	CHECK_EQ(fe_blk_write(&blk, 64, buf, 8192), OK);
	CHECK_EQ(fe_blk_flush(&blk), OK);
	CHECK_EQ(fe_blk_discard(&blk, 128, 64, 0), OK);
	CHECK_EQ(fe_blk_write_zeroes(&blk, 256, 16, 0), OK);
	CHECK_EQ(fe_blk_write_zeroes(&blk, 512, 8, 0), OK);
	CHECK_EQ(fe_blk_get_id(&blk, id, sizeof(id)), OK);
	counted = take();
	check_kind(&counted.kind[READ], 3, 512 + 4096 + 64 * KIB, 0, 0);
	check_kind(&counted.kind[WRITE], 2, 1024 + 8192, 0, 0);
	check_kind(&counted.kind[FLUSH], 1, 0, 0, 0);
	check_kind(&counted.kind[DISCARD], 1, 64 * 512, 0, 0);
	check_kind(&counted.kind[ZEROES], 2, 24 * 512, 0, 0);
	check_kind(&counted.kind[OTHER], 1, 20, 0, 0);
	CHECK_EQ(counted.in_flight, 0);
	CHECK_EQ(counted.recovered, 0);
	CHECK(counted.kicks >= 1 && counted.kicks <= 10);
	CHECK(counted.calls >= 1 && counted.calls <= 11); /* one at the start */
}

static void refused_ones_are_errors(void)
{
	struct counted counted;
	struct fe_seg none;

	begin();
	attach();
	CHECK_EQ(fe_blk_read(&blk, DISK / 512, buf, 512), IOERR);
	CHECK_EQ(fe_blk_read(&blk, 0, buf, 100), IOERR);
	CHECK_EQ(fe_blk_write(&blk, UINT64_MAX, buf, 512), IOERR);
	CHECK_EQ(fe_blk_discard(&blk, 0, 8, 1), UNSUPP);
	CHECK_EQ(fe_blk_write_zeroes(&blk, DISK / 512, 8, 0), IOERR);
	CHECK_EQ(fe_blk_segs(&blk, 77, 0, &none, 0), UNSUPP);
	CHECK_EQ(fe_blk_read(&blk, 0, buf, 512), OK);
	counted = take();
	check_kind(&counted.kind[READ], 3, 512, 0, 2);
	check_kind(&counted.kind[WRITE], 1, 0, 0, 1);
	check_kind(&counted.kind[DISCARD], 1, 0, 0, 1);
	check_kind(&counted.kind[ZEROES], 1, 0, 0, 1);
	check_kind(&counted.kind[OTHER], 1, 0, 0, 1);
	CHECK_EQ(counted.in_flight, 0);
}

static void what_the_host_fails_is_an_error(void)
{
	const struct rlimit limit = {4096, 4096};
	struct counted counted;

	begin();
	attach();
	CHECK_EQ(fe_blk_write(&blk, 8, buf, 4096), OK);
	/* As if the file system were full. */
	REQUIRE_OK(prlimit(server.pid, RLIMIT_FSIZE, &limit, NULL));
	for (unsigned int i = 0; i < 5; i++)
		CHECK_EQ(fe_blk_write(&blk, 8, buf, 4096), IOERR);
	counted = take();
	check_kind(&counted.kind[WRITE], 6, 4096, 0, 5);
}

/* `n` requests of 4 KiB that are there at once, each where the one before ends, or `gap` behind. */
static void do_run(uint32_t type, unsigned int n, uint64_t gap)
{
	for (unsigned int i = 0; i < n; i++) {
		struct fe_blk_slot *slot = fe_blk_get(&blk);

		REQUIRE(slot != NULL);
		REQUIRE_OK(fe_blk_submit(&blk, slot, type, i * (4096 + gap) / 512, 4096));
	}
	CHECK_EQ(fe_blk_drain(&blk), OK);
}

static void merged_ones_are_counted(void)
{
	struct counted counted;

	begin();
	attach();
	do_run(VIRTIO_BLK_T_OUT, 4, 0);
	do_run(VIRTIO_BLK_T_IN, 3, 0);
	do_run(VIRTIO_BLK_T_IN, 4, 4096);
	counted = take();
	check_kind(&counted.kind[WRITE], 4, 4 * 4096, 3, 0);
	check_kind(&counted.kind[READ], 7, 7 * 4096, 2, 0);
}

/* ---- time ---- */

/* The driver waits for each one, so that all of them have not taken longer than it has waited. */
static void latency_is_no_longer_than_it_took(void)
{
	const uint64_t before = fe_now_ns();
	struct counted counted;

	begin();
	attach();
	for (unsigned int i = 0; i < 20; i++) {
		CHECK_EQ(fe_blk_write(&blk, 0, buf, sizeof(buf)), OK);
		CHECK_EQ(fe_blk_flush(&blk), OK);
	}
	counted = take();
	CHECK(counted.kind[WRITE].us > 0); /* 64 KiB are copied */
	CHECK((counted.kind[WRITE].us + counted.kind[FLUSH].us) * 20 <=
	      (fe_now_ns() - before) / 1000);
}

/* ---- ends ---- */

static void check_same(const struct counted *a, const struct counted *b)
{
	for (unsigned int i = 0; i < KINDS; i++) {
		check_kind(&a->kind[i], b->kind[i].n, b->kind[i].bytes, b->kind[i].merged,
			   b->kind[i].failed);
		CHECK_EQ(a->kind[i].us, b->kind[i].us);
	}
	CHECK_EQ(a->in_flight, 0);
	CHECK_EQ(a->kicks, b->kicks);
	CHECK_EQ(a->calls, b->calls);
}

static void work(void)
{
	CHECK_EQ(fe_blk_write(&blk, 8, buf, 4096), OK);
	CHECK_EQ(fe_blk_read(&blk, 8, buf, 4096), OK);
	CHECK_EQ(fe_blk_read(&blk, DISK / 512, buf, 512), IOERR);
	CHECK_EQ(fe_blk_flush(&blk), OK);
	do_run(VIRTIO_BLK_T_IN, 3, 0);
}

static void check_work(const struct counted *counted, unsigned int times)
{
	check_kind(&counted->kind[READ], 5 * times, 4 * times * 4096ull, 2 * times, times);
	check_kind(&counted->kind[WRITE], times, times * 4096ull, 0, 0);
	check_kind(&counted->kind[FLUSH], times, 0, 0, 0);
}

/* The last call of a queue is made after its completion is seen. */
static struct counted take_at_rest(void)
{
	proto_settle_calls();
	return take();
}

static void numbers_outlive_a_ring(void)
{
	struct counted before, after;

	begin();
	attach();
	work();
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	before = take();
	check_work(&before, 1);
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
	after = take();
	check_work(&after, 1);
	CHECK_EQ(after.calls, before.calls + 1);
	work();
	after = take();
	check_work(&after, 2);
}

static void numbers_outlive_a_session(void)
{
	struct counted before, after;

	begin();
	attach();
	work();
	before = take_at_rest();
	detach();
	REQUIRE_OK(fe_daemon_await_log(&server, "the front-end is disconnected"));
	after = take();
	check_same(&after, &before);
	attach();
	work();
	after = take_at_rest();
	CHECK_EQ(after.kind[WRITE].n, 2);
	CHECK_EQ(after.kind[READ].n, 2 * before.kind[READ].n);
	CHECK(after.kicks > before.kicks);
	CHECK(after.calls > before.calls);
}

/* Of three queues, which two workers serve. */
static void queues_are_summed_up(void)
{
	struct counted counted;
	struct fe_blk each;

	begin();
	attach(.n_queues = 3);
	work();
	for (unsigned int i = 1; i < 3; i++) {
		REQUIRE_OK(fe_blk_init(&each, &dev, i, 1, 4096));
		for (unsigned int k = 0; k < i; k++)
			CHECK_EQ(fe_blk_flush(&each), OK);
		fe_blk_free(&each);
	}
	counted = take();
	check_kind(&counted.kind[READ], 5, 4 * 4096, 2, 1);
	check_kind(&counted.kind[FLUSH], 1 + 1 + 2, 0, 0, 0);
	REQUIRE_OK(fe_dev_stop_vq(&dev, 2));
	counted = take();
	check_kind(&counted.kind[FLUSH], 1 + 1 + 2, 0, 0, 0);
}

#define ROW(name) \
	{ \
#name, name \
	}
static const struct tap_case cases[] = {
	ROW(nothing_is_counted_at_first), ROW(each_kind_is_counted),
	ROW(refused_ones_are_errors),     ROW(what_the_host_fails_is_an_error),
	ROW(merged_ones_are_counted),     ROW(latency_is_no_longer_than_it_took),
	ROW(numbers_outlive_a_ring),      ROW(numbers_outlive_a_session),
	ROW(queues_are_summed_up),        {0},
};

static const struct tap_suite suites[] = {
	PROTO_SUITES("counters", cases),
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}

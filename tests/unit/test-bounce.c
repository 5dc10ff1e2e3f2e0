/* SPDX-License-Identifier: BSD-3-Clause */
/* src/io/bounce.c: buffers that several disks share, and whose turn it is. */
#include <errno.h>
#include <string.h>

#include "src/base/container.h"
#include "src/io/bounce.h"
#include "tests/tap.h"

#define MOST  80u
#define SHARE 45u /* that one may have: io/fair.h */

struct client {
	struct bounce_waiter waiter;
	void *buffer;
	bool puts_back; /* at once */
};

static struct bounce_pool pool;
static struct bounce_user users[3];
static struct client clients[3][MOST];
static unsigned served[3];

static unsigned user_of(const struct client *client)
{
	return (unsigned)((client - clients[0]) / MOST);
}

static void ready(struct bounce_waiter *waiter, void *buffer)
{
	struct client *client = container_of(waiter, struct client, waiter);
	const unsigned i = user_of(client);

	/* In order. */
	CHECK(client == &clients[i][SHARE + served[i]] || i);
	served[i]++;
	CHECK(buffer && !client->buffer);
	client->buffer = buffer;
	if (!client->puts_back)
		return;
	client->buffer = NULL;
	bounce_put(&pool, &users[i], buffer);
}

static int get(unsigned i, unsigned k)
{
	clients[i][k] = (struct client){.waiter.ready = ready};
	return bounce_get(&pool, &users[i], &clients[i][k].waiter, &clients[i][k].buffer);
}

static void put(unsigned i, unsigned k)
{
	void *buffer = clients[i][k].buffer;

	REQUIRE(buffer);
	clients[i][k].buffer = NULL;
	bounce_put(&pool, &users[i], buffer);
}

/* So many that it gets at once. */
static unsigned get_many(unsigned i, unsigned n)
{
	unsigned got = 0;

	for (unsigned k = 0; k < n; k++)
		got += !get(i, k);
	return got;
}

static void put_all(void)
{
	for (bool more = true; more;) {
		more = false;
		for (unsigned i = 0; i < 3; i++)
			for (unsigned k = 0; k < MOST; k++)
				if (clients[i][k].buffer) {
					put(i, k);
					more = true;
				}
	}
}

/* One that puts nothing back leaves some for others. */
static void one_does_not_have_all(void)
{
	CHECK_EQ(get_many(0, MOST), SHARE);
	for (unsigned round = 0; round < 100; round++) {
		CHECK_OK(get(1, 0));
		CHECK_OK(get(1, 1));
		put(1, 0);
		put(1, 1);
	}
	CHECK_EQ(served[0], 0);
	put_all();
	CHECK_EQ(served[0], MOST - SHARE);
	CHECK_EQ(pool.fair.held, 0);
}

/* When something is put back those who wait have it in turn. */
static void turns(void)
{
	CHECK_EQ(get_many(0, MOST), SHARE);
	while (pool.fair.held < BOUNCE_MOST)
		users[2].share.held++, pool.fair.held++;
	for (unsigned k = 0; k < 3; k++)
		CHECK_EQ(get(1, k), -EAGAIN);
	/* The first one has SHARE, the other none. */
	for (unsigned k = 0; k < 30; k++)
		put(0, k);
	CHECK_EQ(served[1], 3);
	CHECK(served[0] > 3);
	while (users[2].share.held)
		users[2].share.held--, pool.fair.held--;
	put_all();
	CHECK_EQ(served[0], MOST - SHARE);
	CHECK_EQ(pool.fair.held, 0);
}

/* Who has no use for it any more puts it back from within, and the next one has it. */
static void put_back_from_within(void)
{
	CHECK_EQ(get_many(0, MOST), SHARE);
	for (unsigned k = SHARE; k < MOST; k++)
		clients[0][k].puts_back = true;
	put(0, 0);
	put(0, 1);
	CHECK_EQ(served[0], MOST - SHARE);
	put_all();
	CHECK_EQ(pool.fair.held, 0);
}

static void who_waits_may_leave(void)
{
	CHECK_EQ(get_many(0, MOST), SHARE);
	CHECK(!bounce_cancel(&pool, &users[0], &clients[0][0].waiter));
	CHECK(!bounce_cancel(&pool, &users[1], &clients[0][MOST - 1].waiter));
	for (unsigned k = MOST; k-- > SHARE;)
		CHECK(bounce_cancel(&pool, &users[0], &clients[0][k].waiter));
	CHECK(!users[0].share.waits && !pool.fair.waiting);
	put_all();
	CHECK_EQ(served[0], 0);
	CHECK_EQ(get_many(0, SHARE), SHARE);
	put_all();
}

static void *make_none(void)
{
	return NULL;
}

/* Without memory one waits for those that there are. */
static void no_memory_for_more(void)
{
	void *(*make)(void) = pool.make;

	pool.make = make_none;
	CHECK_EQ(get(0, 0), -ENOMEM);
	CHECK_EQ(pool.fair.held, 0);
	pool.make = make;
	CHECK_OK(get(1, 0));
	pool.make = make_none;
	CHECK_EQ(get(2, 0), -EAGAIN);
	put(1, 0);
	CHECK_EQ(served[2], 1);
	put_all();
}

static void setup(void)
{
	memset(users, 0, sizeof(users));
	memset(clients, 0, sizeof(clients));
	memset(served, 0, sizeof(served));
	bounce_init(&pool);
}

static void teardown(void)
{
	bounce_destroy(&pool);
}

static const struct tap_case cases[] = {
	{"one_does_not_have_all", one_does_not_have_all},
	{"turns", turns},
	{"put_back_from_within", put_back_from_within},
	{"who_waits_may_leave", who_waits_may_leave},
	{"no_memory_for_more", no_memory_for_more},
	{0},
};

static const struct tap_suite suites[] = {{"bounce", setup, teardown, 0, cases}, {0}};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}

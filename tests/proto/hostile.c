/* SPDX-License-Identifier: BSD-3-Clause */
/* See hostile.h. Owns the hostile request and the innocent queue's. */
#define _GNU_SOURCE
#include "tests/proto/hostile.h"

#include <errno.h>
#include <poll.h>

struct fe_vq *vq;
struct fe_blk other;
struct virtio_blk_outhdr *header;
uint8_t *status;
uint64_t header_gpa, data_gpa, status_gpa, table_gpa;

void hostile_prepare(const struct fe_dev_options *options)
{
	hostile_prepare_with(options, (const char *const[]){NULL});
}

void hostile_prepare_with(const struct fe_dev_options *options, const char *const daemon[])
{
	struct fe_dev_options o = *options;

	o.n_queues = 2;
	needs_vublkd(); /* qemu-storage-daemon gives up on the connection */
	proto_serve(MIB, daemon);
	proto_attach(&o);
	REQUIRE_OK(fe_blk_init(&other, &dev, 1, 4, 64 * KIB));
	vq = &dev.vq[0];
	header_gpa = blk.slot[0].header_gpa;
	header = blk.slot[0].header;
	data_gpa = blk.slot[0].data_gpa;
	status_gpa = blk.slot[0].status_gpa;
	status = blk.slot[0].status;
	table_gpa = fe_alloc(&dev.mem, TABLE_SIZE, 16);
	*header = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_IN};
	*status = FE_NO_STATUS;
	REQUIRE_OK(fe_sync(&dev.conn));
	fe_vq_take_event(vq->err_fd);
}

uint64_t elsewhere(uint64_t gpa)
{
	const uint64_t allocated = dev.mem.region[0].allocated;

	return gpa < allocated ? gpa + allocated : gpa;
}

int outcome(void)
{
	return outcome_within(FE_TIMEOUT_MS);
}

int outcome_within(unsigned int ms)
{
	uint64_t deadline = fe_deadline(ms);

	fe_vq_raw_kick(vq);
	while (!fe_vq_take_event(vq->err_fd)) {
		struct pollfd p[] = {{.fd = vq->err_fd, .events = POLLIN},
				     {.fd = vq->call_fd, .events = POLLIN}};

		if (fe_vq_has_used(vq))
			return *status;
		if (poll(p, 2, fe_left_ms(deadline)) <= 0)
			return -ETIMEDOUT;
		fe_vq_take_event(vq->call_fd);
	}
	return BROKEN;
}

void expect_refusal(void)
{
	const int ret = outcome();

	CHECK(ret == BROKEN || ret == VIRTIO_BLK_S_IOERR);
	check_world();
}

void check_world(void)
{
	CHECK(fe_daemon_alive(&server));
	check_round_trip(&other, 64, 4096);
	CHECK_OK(fe_sync(&dev.conn));
	fe_blk_free(&other);
	check_serves();
}

void check_nothing_happens(void)
{
	fe_vq_raw_kick(vq);
	for (unsigned int i = 0; i < 2; i++) {
		check_round_trip(&other, 64, 4096);
		CHECK_OK(fe_sync(&dev.conn));
	}
	CHECK(!fe_vq_has_used(vq));
	CHECK(!fe_vq_take_event(vq->err_fd));
	CHECK_EQ(*status, FE_NO_STATUS);
}

void restart_hostile(void)
{
	uint32_t base; /* perhaps the nonsense that the case began with */

	REQUIRE_OK(fe_ask_base(&dev.conn, 0, &base));
	fe_vq_reset(vq, fe_vq_fresh_base(vq));
	REQUIRE_OK(fe_dev_start_vq(&dev, 0));
}

static void *flip_on(void *arg)
{
	struct flipper *flipper = arg;
	uint64_t rng = 1;

	while (!__atomic_load_n(&flipper->stop, __ATOMIC_RELAXED))
		flipper->flip(&rng);
	return NULL;
}

void flipper_start(struct flipper *flipper)
{
	REQUIRE_OK(pthread_create(&flipper->thread, NULL, flip_on, flipper));
}

void flipper_stop(struct flipper *flipper)
{
	__atomic_store_n(&flipper->stop, true, __ATOMIC_RELAXED);
	pthread_join(flipper->thread, NULL);
}

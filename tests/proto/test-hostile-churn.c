/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Front-ends that do everything at the wrong moment: rings are stopped, disabled, spoilt and
 * started anew, get other descriptors, lose memory under I/O, and the connection goes, all in
 * random order.
 * After each step an innocent queue, whose worker also serves a spoilt one, is served in time; so
 * whoever loses a kick, or a queue, hangs here. FE_STRESS_SECONDS says for how long (1),
 * FE_STRESS_SEED which sequence.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/frontend/fe_shadow.h"
#include "tests/proto/proto.h"

#define VICTIMS  3
#define DEPTH    16
#define STEPS    40 /* of one session */
#define EXTRA    (1ull << 40)
#define OF_THEM  2048u /* the first sector that the spoilt queues use */
#define DISK     (16 * MIB)
#define MAX_FULL 0xfffffffffffffffeull /* of an eventfd */

static struct fe_blk victim[VICTIMS];
static struct fe_blk innocent;
static uint64_t rng;
static unsigned int extra; /* the region that comes and goes */

static unsigned int below(unsigned int n)
{
	return (unsigned int)(fe_random(&rng) % n);
}

/* Refusing is an answer; no answer is none. */
static void tolerate(int ret)
{
	REQUIRE(!ret || ret == FE_REFUSED);
}

static void reap(struct fe_blk *b)
{
	struct fe_blk_slot *slot;

	while (fe_blk_reap(b, &slot) > 0)
		fe_blk_put(b, slot);
}

/* Neighbours mostly, so that some become one operation; nobody waits for them. */
static void fill(unsigned int i)
{
	const uint32_t type = below(2) ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
	const uint32_t sizes[] = {512, 1 + below(4000), 4096 - 512, 4096};
	struct fe_blk *b = &victim[i];
	uint64_t sector = OF_THEM + below(1024);
	struct fe_blk_slot *slot;

	reap(b);
	while (b->vq->n_free > 12 && (slot = fe_blk_get(b))) {
		struct fe_seg segs[FE_BLK_MAX_SEG];
		const unsigned int n =
			fe_cut(segs, 8, slot->data_gpa, 4096, type == VIRTIO_BLK_T_IN, sizes, 4);

		if (fe_blk_submit_segs(b, slot, below(40) ? type : VIRTIO_BLK_T_FLUSH, sector, segs,
				       n))
			break;
		sector += below(10) ? 8 : below(1024);
	}
	fe_vq_kick(b->vq);
}

/* As if the ring had never been used; what was in it is forgotten. */
static void restart(unsigned int i)
{
	struct fe_vq *vq = &dev.vq[i];
	uint32_t base;

	REQUIRE_OK(fe_ask_base(&dev.conn, i, &base));
	fe_vq_reset(vq, fe_vq_fresh_base(vq));
	fe_blk_free(&victim[i]);
	REQUIRE_OK(fe_blk_init(&victim[i], &dev, i, DEPTH, 4096));
	REQUIRE_OK(fe_dev_start_vq(&dev, i));
}

/* A new kick descriptor while the old one is hot: an eventfd, a pipe, or none. */
static void new_kick(unsigned int i)
{
	const unsigned int kind = below(4);
	int pipes[2], fd;

	if (!kind) {
		tolerate(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, i, -1));
		return;
	}
	if (kind == 1) {
		REQUIRE_OK(pipe2(pipes, O_NONBLOCK | O_CLOEXEC));
		fd = pipes[0];
	} else {
		fd = pipes[1] = eventfd(1, EFD_NONBLOCK | (kind == 2 ? EFD_SEMAPHORE : 0));
	}
	fe_vq_raw_kick(&dev.vq[i]);
	tolerate(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, i, fd));
	close(dev.vq[i].kick_fd);
	dev.vq[i].kick_fd = pipes[1];
	if (kind == 1)
		close(fd);
}

/*
 * The innocent queue moves, too: requests that nobody kicks for, and then a new descriptor or a new
 * start, which are reasons enough to look for them.
 */
static void move_innocent(void)
{
	const uint64_t deadline = fe_deadline(FE_TIMEOUT_MS);
	struct fe_vq *vq = &dev.vq[VICTIMS];
	struct fe_blk_slot *slot;

	while ((slot = fe_blk_get(&innocent)))
		REQUIRE_OK(fe_blk_submit(&innocent, slot, VIRTIO_BLK_T_IN, 64, 4096));
	fe_vq_publish(vq);
	if (below(2)) {
		REQUIRE_OK(fe_dev_stop_vq(&dev, VICTIMS));
		REQUIRE_OK(fe_dev_start_vq(&dev, VICTIMS));
	} else {
		close(vq->kick_fd);
		vq->kick_fd = eventfd(0, EFD_NONBLOCK);
		REQUIRE_OK(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_KICK, VICTIMS, vq->kick_fd));
	}
	while (innocent.in_flight) {
		REQUIRE_OK(fe_vq_wait(vq, deadline));
		while (fe_blk_reap(&innocent, &slot) > 0) {
			CHECK_EQ(*slot->status, VIRTIO_BLK_S_OK);
			fe_blk_put(&innocent, slot);
		}
	}
}

/* A call descriptor that is full and never read, or none. */
static void new_call(unsigned int i)
{
	const uint64_t full = MAX_FULL;
	int fd = -1;

	if (below(3)) {
		fd = eventfd(0, EFD_NONBLOCK);
		REQUIRE_EQ(write(fd, &full, sizeof(full)), sizeof(full));
	}
	tolerate(fe_tell_vring_fd(&dev.conn, VHU_SET_VRING_CALL, i, fd));
	if (fd >= 0)
		close(fd);
}

static void flood(unsigned int i)
{
	for (unsigned int n = 0; n < 2000; n++)
		fe_vq_raw_kick(&dev.vq[i]);
}

/* Nonsense in the ring, which points nowhere but at the victim's own data. */
static void spoil(unsigned int i)
{
	struct fe_vq *vq = &dev.vq[i];
	const uint64_t gpa = victim[i].slot[below(DEPTH)].data_gpa;

	if (fe_vq_is_packed(vq)) {
		const struct vring_packed_desc desc = {
			.addr = below(2) ? gpa : fe_random(&rng),
			.len = below(8192),
			.id = (uint16_t)below(256),
			.flags = (uint16_t)(1u << VRING_PACKED_DESC_F_AVAIL | below(8)),
		};

		fe_vq_raw_descs(vq, &desc, 1);
	} else if (below(2)) {
		vq->ring.desc[below(vq->num)] = (struct vring_desc){
			.addr = below(2) ? gpa : fe_random(&rng),
			.len = below(8192),
			.flags = (uint16_t)below(8),
			.next = (uint16_t)below(2 * vq->num),
		};
		fe_vq_raw_push(vq, (uint16_t)below(vq->num + 1));
	} else {
		fe_vq_raw_avail_idx(vq, (uint16_t)below(65536));
	}
	fe_vq_raw_kick(vq);
}

/* Memory goes while requests have their data there. */
static void lose_memory(unsigned int i)
{
	struct fe_blk *b = &victim[i];
	struct fe_blk_slot *slot;

	tolerate(fe_dev_add_region(&dev, extra));
	reap(b);
	while (b->vq->n_free > 12 && (slot = fe_blk_get(b))) {
		const struct fe_seg seg = {
			.addr = EXTRA + 65536 * below(15), .len = 65536, .write = true};

		if (fe_blk_submit_segs(b, slot, VIRTIO_BLK_T_IN, OF_THEM, &seg, 1))
			break;
	}
	fe_vq_kick(b->vq);
	tolerate(fe_dev_remove_region(&dev, extra));
}

static void step(void)
{
	const unsigned int i = below(VICTIMS);

	switch (below(13)) {
	case 0:
		restart(i);
		break;
	case 1:
		new_kick(i);
		break;
	case 2:
		new_call(i);
		break;
	case 3:
		flood(i);
		break;
	case 4:
		spoil(i);
		break;
	case 5:
		lose_memory(i);
		break;
	case 6:
		tolerate(fe_dev_enable_vq(&dev, i, below(2)));
		break;
	case 7:
		move_innocent();
		break;
	default:
		fill(i);
	}
}

static void session(unsigned int number)
{
	const unsigned int sizes[] = {16, 64, 256, 1024};

	proto_greet(&(struct fe_dev_options){
		.n_queues = VICTIMS + 1,
		.queue_size = sizes[below(4)],
		.mem_size = 64 * MIB,
		.mem_slots = true,
		.features_off = (below(2) ? FE_BIT(VIRTIO_RING_F_EVENT_IDX) : 0) |
				(below(2) ? FE_BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0),
	});
	REQUIRE_EQ(fe_mem_add(&dev.mem, 0, 64 * MIB, 0), 0);
	REQUIRE_OK(fe_dev_share_memory(&dev));
	REQUIRE_OK(fe_dev_make_vqs(&dev));
	extra = 1;
	REQUIRE_EQ(fe_mem_add(&dev.mem, EXTRA, MIB, 0), extra);
	for (unsigned int i = 0; i <= VICTIMS; i++)
		REQUIRE_OK(fe_dev_start_vq(&dev, i));
	/*
	 * Below the others: a spoilt packed ring has descriptors with the address of a buffer and
	 * the length of a completion, which reach far beyond it.
	 */
	REQUIRE_OK(fe_blk_init(&innocent, &dev, VICTIMS, 4, 64 * KIB));
	for (unsigned int i = 0; i < VICTIMS; i++)
		REQUIRE_OK(fe_blk_init(&victim[i], &dev, i, DEPTH, 4096));
	for (unsigned int i = 0; i < STEPS; i++) {
		step();
		if (below(2))
			check_round_trip(&innocent, 64, 4096);
	}
	if (number % 3 == 0)
		REQUIRE_OK(fe_dev_stop(&dev));
	if (number % 3 == 1)
		tolerate(fe_tell(&dev.conn, VHU_RESET_DEVICE, NULL, 0, NULL, 0));
	for (unsigned int i = 0; i < VICTIMS; i++)
		fe_blk_free(&victim[i]);
	fe_blk_free(&innocent);
	detach();
}

static unsigned int seconds(void)
{
	return number_from("FE_STRESS_SECONDS", 1);
}

static void churn(const char *const options[])
{
	const uint64_t end = fe_now_ns() + seconds() * 1000000000ull;
	unsigned int n = 0;
	int fds;

	needs_vublkd();
	rng = seed_from("FE_STRESS_SEED");
	proto_serve(DISK, options);
	REQUIRE_OK(fe_daemon_await_log(&server, "serving"));
	fds = fe_daemon_count_fds(&server);
	while (fe_now_ns() < end)
		session(n++);
	tap_diag("%u sessions", n);
	check_fds(fds);
	check_serves();
}

static void sleeping_workers(void)
{
	churn((const char *const[]){"--num-workers=2", "--poll=off", NULL});
}

static void adaptive_workers(void)
{
	churn((const char *const[]){"--num-workers=2", "--poll=auto", NULL});
}

static void polling_workers(void)
{
	churn((const char *const[]){"--num-workers=2", "--poll=always", NULL});
}

static void registered_memory(void)
{
	needs_io_uring();
	churn((const char *const[]){"--num-workers=2", "--engine=io_uring", "--fixed-buffers",
				    "--cache=none", NULL});
}

static const struct tap_case cases[] = {
	{"sleeping_workers", sleeping_workers},
	{"adaptive_workers", adaptive_workers},
	{"polling_workers", polling_workers},
	{"registered_memory", registered_memory},
	{0},
};

static struct tap_suite suites[] = {
	PROTO_SUITES("hostile churn", cases),
	{0},
};

int main(int argc, char **argv)
{
	suites[0].seconds = suites[1].seconds = seconds() + 30;
	return tap_main(argc, argv, suites);
}

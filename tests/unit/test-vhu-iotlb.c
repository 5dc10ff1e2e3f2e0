/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/shared/iotlb.c: translations beside a simple model, what is taken away, and misses. */
#include "lib/shared/iotlb.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "tests/frontend/fe_image.h"
#include "tests/tap.h"

#define RW     VHU_IOTLB_READ_WRITE
#define R      VHU_IOTLB_READ
#define W      VHU_IOTLB_WRITE
#define PAGE   UINT64_C(4096)
#define SECOND UINT64_C(1000000000)

static struct vhu_iotlb *iotlb;
static struct vhu_revoked revoked;
static struct vhu_iotlb_found found;
static atomic_uint n_told;

static void missed(void *opaque)
{
	CHECK(opaque == &n_told);
	n_told++;
}

static void setup(void)
{
	iotlb = vhu_iotlb_new(missed, &n_told);
	REQUIRE(iotlb);
}

static void teardown(void)
{
	vhu_iotlb_free(iotlb);
}

static int update(uint64_t iova, uint64_t size, uint64_t uaddr, uint8_t perm)
{
	return vhu_iotlb_update(iotlb, iova, size, uaddr, perm, &revoked);
}

static void invalidate(uint64_t iova, uint64_t size)
{
	vhu_iotlb_invalidate(iotlb, iova, size, &revoked);
}

/* ---- entries ---- */

static void what_cannot_be_is_refused(void)
{
	CHECK_EQ(update(0, 0, 0, RW), -EINVAL);
	CHECK_EQ(update(UINT64_MAX, 2, 0, RW), -EINVAL);
	CHECK_EQ(update(0, 2, UINT64_MAX, RW), -EINVAL);
	CHECK_EQ(update(0, PAGE, 0, 0), -EINVAL);
	CHECK_EQ(update(0, PAGE, 0, 4), -EINVAL);
	CHECK_EQ(vhu_iotlb_peek(iotlb, 0, R, &found), -ENOENT);
	CHECK_OK(update(UINT64_MAX - 1, 2, UINT64_MAX - 1, RW));
	CHECK_OK(vhu_iotlb_peek(iotlb, UINT64_MAX, RW, &found));
	CHECK_EQ(found.uaddr, UINT64_MAX);
	CHECK_EQ(found.size, 1);
}

/* Whoever uses what was known goes on. */
static void what_stays_true_is_not_taken_away(void)
{
	CHECK_OK(update(0x2000, PAGE, 0x71000, R));
	CHECK_OK(update(0x2000, PAGE, 0x71000, RW));
	CHECK(!vhu_revoked_any(&revoked));
	CHECK_OK(update(0x1000, 4 * PAGE, 0x70000, RW));
	CHECK(!vhu_revoked_any(&revoked));
	CHECK_OK(update(0x1000, 4 * PAGE, 0x70000, R));
	CHECK(vhu_revoked_has(&revoked, 0x71000, 0x71000));
}

static void permissions_are_asked_for(void)
{
	CHECK_OK(update(0x1000, PAGE, 0x70000, R));
	CHECK_OK(update(0x2000, PAGE, 0x80000, W));
	CHECK_OK(vhu_iotlb_peek(iotlb, 0x1004, R, &found));
	CHECK_EQ(found.uaddr, 0x70004);
	CHECK_EQ(found.size, PAGE - 4);
	CHECK_EQ(vhu_iotlb_peek(iotlb, 0x1004, W, &found), -ENOENT);
	CHECK_EQ(vhu_iotlb_peek(iotlb, 0x1004, RW, &found), -ENOENT);
	CHECK_OK(vhu_iotlb_peek(iotlb, 0x2fff, W, &found));
	CHECK_EQ(vhu_iotlb_peek(iotlb, 0x2fff, R, &found), -ENOENT);
}

static void neighbours_are_one(void)
{
	CHECK_OK(update(0x1000, PAGE, 0x70000, RW));
	CHECK_OK(update(0x3000, PAGE, 0x72000, RW));
	CHECK_OK(update(0x2000, PAGE, 0x71000, RW));
	CHECK(!vhu_revoked_any(&revoked));
	CHECK_OK(vhu_iotlb_peek(iotlb, 0x1000, RW, &found));
	CHECK_EQ(found.size, 3 * PAGE);
	/* And what is taken out of the midst is gone. */
	invalidate(0x2000, PAGE);
	CHECK_EQ(revoked.n, 1);
	CHECK_EQ(revoked.range[0].first, 0x71000);
	CHECK_EQ(revoked.range[0].last, 0x71fff);
	CHECK_EQ(vhu_iotlb_peek(iotlb, 0x2000, R, &found), -ENOENT);
	CHECK_OK(vhu_iotlb_peek(iotlb, 0x1000, RW, &found));
	CHECK_EQ(found.size, PAGE);
	CHECK_OK(vhu_iotlb_peek(iotlb, 0x3000, RW, &found));
	CHECK_EQ(found.uaddr, 0x72000);
}

static void the_same_again_takes_nothing_away(void)
{
	CHECK_OK(update(0x1000, 4 * PAGE, 0x70000, RW));
	CHECK_OK(update(0x2000, PAGE, 0x71000, RW));
	CHECK(!vhu_revoked_any(&revoked));
	CHECK_OK(update(0x2000, PAGE, 0x71000, R));
	CHECK_EQ(revoked.n, 1);
	CHECK_OK(update(0x2000, PAGE, 0x90000, R));
	CHECK_EQ(revoked.n, 1);
	CHECK(vhu_revoked_has(&revoked, 0x71fff, 0x72000));
	CHECK(!vhu_revoked_has(&revoked, 0x72000, 0x73000));
	CHECK(!vhu_revoked_has(&revoked, 0x70000, 0x70fff));
}

static void whole_address_space(void)
{
	CHECK_OK(update(0, PAGE, 0x70000, RW));
	CHECK_OK(update(UINT64_MAX - PAGE + 1, PAGE, 0x80000, RW));
	invalidate(5, 0);
	CHECK(!vhu_revoked_any(&revoked));
	invalidate(0, 0);
	CHECK_EQ(revoked.n, 2);
	CHECK_EQ(vhu_iotlb_peek(iotlb, 0, R, &found), -ENOENT);
	CHECK_EQ(vhu_iotlb_peek(iotlb, UINT64_MAX, R, &found), -ENOENT);
	CHECK_OK(update(UINT64_MAX - PAGE + 1, PAGE, 0x80000, RW));
	invalidate(PAGE, UINT64_MAX);
	CHECK_EQ(revoked.n, 1);
}

static void what_has_to_go_is_told(void)
{
	unsigned gone = 0, there = 0;

	for (uint64_t i = 0; i < VHU_IOTLB_MAX_ENTRIES + 1000; i++) {
		CHECK_OK(update(2 * i * PAGE, PAGE, 2 * i * PAGE, RW));
		gone += revoked.n;
	}
	for (uint64_t i = 0; i < VHU_IOTLB_MAX_ENTRIES + 1000; i++)
		there += !vhu_iotlb_peek(iotlb, 2 * i * PAGE, RW, &found);
	CHECK_EQ(gone + there, VHU_IOTLB_MAX_ENTRIES + 1000);
	CHECK(there <= VHU_IOTLB_MAX_ENTRIES);
	invalidate(0, 0);
	CHECK(revoked.all);
	CHECK(vhu_revoked_has(&revoked, 1, 1));
}

/* Addresses of a small space, what they lead to, and who may do what there. */
#define SPACE 600u

static struct {
	uint64_t uaddr[SPACE];
	uint8_t perm[SPACE]; /* 0: nothing is known */
} model;

/* All that says something else now, or allows less, must have been told; nothing else need be. */
static void check_revoked(const uint64_t *before, const uint8_t *perm_before)
{
	for (unsigned i = 0; i < SPACE; i++)
		if (perm_before[i] &&
		    (perm_before[i] & ~model.perm[i] || model.uaddr[i] != before[i]))
			CHECK(vhu_revoked_has(&revoked, before[i], before[i]));
}

static void check_all(void)
{
	for (unsigned i = 0; i < SPACE; i++) {
		for (uint8_t perm = 1; perm <= 3; perm++) {
			const bool may = (model.perm[i] & perm) == perm;

			CHECK_EQ(vhu_iotlb_peek(iotlb, i, perm, &found), may ? 0 : -ENOENT);
			if (!may)
				continue;
			CHECK_EQ(found.uaddr, model.uaddr[i]);
			REQUIRE(found.size && found.size <= SPACE - i);
			CHECK_EQ(model.uaddr[i + found.size - 1], found.uaddr + found.size - 1);
		}
	}
}

static void like_the_model(void)
{
	uint64_t state = 33;

	for (unsigned round = 0; round < 3000; round++) {
		const uint64_t iova = fe_random(&state) % SPACE;
		const uint64_t most = SPACE - iova < 60 ? SPACE - iova : 60;
		const uint64_t size = 1 + fe_random(&state) % most;
		const uint64_t uaddr = 10000 + iova + fe_random(&state) % 3 * 7;
		const uint8_t perm = (uint8_t)(1 + fe_random(&state) % 3);
		const bool adds = fe_random(&state) % 3;
		uint64_t before[SPACE];
		uint8_t perm_before[SPACE];

		memcpy(before, model.uaddr, sizeof(before));
		memcpy(perm_before, model.perm, sizeof(perm_before));
		for (uint64_t i = 0; i < size; i++) {
			model.uaddr[iova + i] = uaddr + i;
			model.perm[iova + i] = adds ? perm : 0;
		}
		if (adds)
			CHECK_OK(update(iova, size, uaddr, perm));
		else
			invalidate(iova, size);
		check_revoked(before, perm_before);
		check_all();
	}
}

/* ---- misses ---- */

static uint64_t asked_iova;
static uint8_t asked_perm;

static bool next(uint64_t now, uint64_t number)
{
	return vhu_iotlb_next_miss(iotlb, now, number, &asked_iova, &asked_perm);
}

static int find(unsigned queue, uint64_t iova, uint8_t perm)
{
	return vhu_iotlb_find(iotlb, queue, iova, perm, &found);
}

static void miss_is_told_of_once(void)
{
	CHECK_EQ(find(3, 0x5123, R), -EAGAIN);
	CHECK_EQ(find(3, 0x5fff, R), -EAGAIN);
	CHECK_EQ(find(1, 0x5000, R), -EAGAIN);
	CHECK_EQ(n_told, 1);
	CHECK_EQ(find(1, 0x5000, W), -EAGAIN);
	CHECK_EQ(n_told, 2);
	REQUIRE(next(1, 1));
	CHECK_EQ(asked_iova, 0x5000);
	CHECK_EQ(asked_perm, R);
	vhu_iotlb_put_back(iotlb, 1);
	REQUIRE(next(1, 2));
	CHECK_EQ(asked_perm, R);
	REQUIRE(next(1, 3));
	CHECK_EQ(asked_perm, W);
	CHECK(!next(1, 4));
	CHECK_EQ(find(0, 0x5000, R), -EAGAIN);
	CHECK(!next(1, 4));
}

static void who_waits_is_told(void)
{
	CHECK_EQ(find(3, 0x5000, R), -EAGAIN);
	CHECK(!vhu_iotlb_take_news(iotlb));
	CHECK_OK(update(0x5000, PAGE, 0x70000, RW));
	CHECK(vhu_iotlb_take_news(iotlb));
	CHECK(!vhu_iotlb_take_news(iotlb));
	CHECK(!vhu_iotlb_take_waiting(iotlb, 2));
	CHECK(vhu_iotlb_take_waiting(iotlb, 3));
	CHECK(!vhu_iotlb_take_waiting(iotlb, 3));
	CHECK_OK(find(3, 0x5000, R));
	CHECK(!vhu_iotlb_expire(iotlb, 1));
}

static void answer_without_the_permission_is_a_no(void)
{
	CHECK_EQ(find(0, 0x5000, W), -EAGAIN);
	REQUIRE(next(1, 1));
	vhu_iotlb_acknowledge(iotlb, 1, false);
	CHECK_EQ(find(0, 0x5000, W), -EAGAIN);
	CHECK_OK(update(0x5000, PAGE, 0x70000, R));
	CHECK_EQ(find(0, 0x5000, W), -EAGAIN); /* it may have been another one's answer */
	vhu_iotlb_acknowledge(iotlb, 1, false);
	CHECK_EQ(find(0, 0x5000, W), -EFAULT);
	CHECK_OK(find(0, 0x5000, R));
	CHECK_OK(update(0x5000, PAGE, 0x70000, RW));
	CHECK_OK(find(0, 0x5000, W));
}

static void what_is_refused_fails_for_a_while(void)
{
	CHECK_EQ(find(0, 0x5000, R), -EAGAIN);
	CHECK_EQ(find(0, 0x6000, R), -EAGAIN);
	REQUIRE(next(1, 10) && next(1, 11));
	vhu_iotlb_acknowledge(iotlb, 10, true);
	CHECK(vhu_iotlb_take_news(iotlb));
	CHECK_EQ(find(0, 0x5000, R), -EFAULT);
	CHECK_EQ(find(0, 0x6000, R), -EAGAIN);
	vhu_iotlb_refuse(iotlb, 0x6001, 0);
	CHECK_EQ(find(0, 0x6000, R), -EFAULT);
	CHECK(vhu_iotlb_expire(iotlb, SECOND));
	CHECK_EQ(find(0, 0x5000, R), -EFAULT);
	CHECK(vhu_iotlb_expire(iotlb, 2 * SECOND)); /* somebody waits */
	CHECK(vhu_iotlb_take_waiting(iotlb, 0));
	CHECK_EQ(find(0, 0x5000, R), -EFAULT);
	CHECK(vhu_iotlb_expire(iotlb, 2 * SECOND)); /* it was of use */
	CHECK(!vhu_iotlb_expire(iotlb, 3 * SECOND));
	CHECK_EQ(find(0, 0x5000, R), -EAGAIN);
}

/* A chain meets one page after the other, and its answers come as slowly. */
static void refusals_add_up(void)
{
	static const uint64_t steps[] = {20000000, 5 * SECOND};

	for (unsigned k = 0; k < 2; k++) {
		uint64_t now = SECOND;

		for (unsigned n = 0; n < 8; n++) {
			for (unsigned i = 0; i < n; i++)
				CHECK_EQ(find(0, i * PAGE, R), -EFAULT);
			CHECK_EQ(find(0, n * PAGE, R), -EAGAIN);
			REQUIRE(next(now, n));
			for (unsigned i = 0; i < 4; i++) {
				now += steps[k] / 4;
				vhu_iotlb_expire(iotlb, now - 1);
			}
			vhu_iotlb_acknowledge(iotlb, n, true);
			vhu_iotlb_expire(iotlb, now);
		}
		for (unsigned i = 0; i < 8; i++)
			CHECK_EQ(find(0, i * PAGE, R), -EFAULT);
		vhu_iotlb_clear(iotlb);
	}
}

static void invalidation_lets_ask_again(void)
{
	CHECK_EQ(find(0, 0x5000, R), -EAGAIN);
	vhu_iotlb_refuse(iotlb, 0x5000, R);
	CHECK_EQ(find(0, 0x5000, R), -EFAULT);
	invalidate(0x6000, PAGE);
	CHECK_EQ(find(0, 0x5000, R), -EFAULT);
	invalidate(0x5000, 1);
	CHECK_EQ(find(0, 0x5000, R), -EAGAIN);
}

static void no_answer_is_a_no(void)
{
	CHECK_EQ(find(0, 0x5000, R), -EAGAIN);
	REQUIRE(next(SECOND, 1));
	CHECK(vhu_iotlb_expire(iotlb, SECOND + VHU_IOTLB_TIMEOUT_NS - 1));
	CHECK_EQ(find(0, 0x5000, R), -EAGAIN);
	CHECK(vhu_iotlb_expire(iotlb, SECOND + VHU_IOTLB_TIMEOUT_NS));
	CHECK(vhu_iotlb_take_news(iotlb));
	CHECK_EQ(find(0, 0x5000, R), -EFAULT);
}

static void giving_up_fails_all(void)
{
	CHECK_OK(update(0x5000, PAGE, 0x70000, RW));
	CHECK_EQ(find(0, 0x6000, R), -EAGAIN);
	vhu_iotlb_give_up(iotlb);
	CHECK(vhu_iotlb_take_waiting(iotlb, 0));
	CHECK_EQ(find(0, 0x6000, R), -EFAULT);
	CHECK_EQ(find(0, 0x7000, R), -EFAULT);
	CHECK_OK(find(0, 0x5000, R));
	vhu_iotlb_clear(iotlb);
	CHECK_EQ(find(0, 0x5000, R), -EAGAIN);
}

static void misses_are_bounded(void)
{
	for (uint64_t i = 0; i < VHU_IOTLB_MAX_MISSES + 10; i++)
		CHECK_EQ(find(0, i * PAGE, R), -EAGAIN);
	CHECK_EQ(n_told, VHU_IOTLB_MAX_MISSES);
	CHECK_OK(update(0, PAGE, 0x70000, RW));
	CHECK(vhu_iotlb_take_waiting(iotlb, 0));
	CHECK_EQ(find(0, (VHU_IOTLB_MAX_MISSES + 9) * PAGE, R), -EAGAIN);
	CHECK_EQ(n_told, VHU_IOTLB_MAX_MISSES + 1);
}

/* Who found no room hears of it when there is some, whatever became of the others. */
static void room_for_misses_is_news(void)
{
	for (uint64_t i = 0; i < VHU_IOTLB_MAX_MISSES; i++)
		CHECK_EQ(find(0, i * PAGE, R), -EAGAIN);
	CHECK_EQ(find(1, VHU_IOTLB_MAX_MISSES * PAGE, R), -EAGAIN);
	for (uint64_t i = 0; i < VHU_IOTLB_MAX_MISSES; i++)
		vhu_iotlb_refuse(iotlb, i * PAGE, R);
	CHECK(vhu_iotlb_take_news(iotlb));
	CHECK_EQ(find(1, VHU_IOTLB_MAX_MISSES * PAGE, R), -EAGAIN);
	vhu_iotlb_expire(iotlb, SECOND);
	CHECK(!vhu_iotlb_take_news(iotlb));
	vhu_iotlb_expire(iotlb, 2 * SECOND);
	CHECK(vhu_iotlb_take_news(iotlb));
	CHECK(vhu_iotlb_take_waiting(iotlb, 1));
	CHECK_EQ(find(1, VHU_IOTLB_MAX_MISSES * PAGE, R), -EAGAIN);
	CHECK(next(2 * SECOND, 1));
}

/* ---- threads ---- */

#define TURNS 20000u

static struct {
	sem_t news; /* posted when it is to look again */
	unsigned index;
	bool wrong, late;
	atomic_bool ended;
} looker[2];

/* Looks up until it is there, as a worker does: asleep, unless it is told that there is news. */
static void *look(void *arg)
{
	const unsigned index = *(unsigned *)arg;

	for (uint64_t i = 0; i < TURNS && !looker[index].late; i++) {
		const uint64_t iova = (index * TURNS + i) * PAGE;
		struct vhu_iotlb_found mine;

		while (vhu_iotlb_find(iotlb, index, iova, RW, &mine)) {
			struct timespec end;

			clock_gettime(CLOCK_REALTIME, &end);
			end.tv_sec += 10;
			if (sem_timedwait(&looker[index].news, &end)) {
				looker[index].late = true;
				break;
			}
		}
		looker[index].wrong |= mine.uaddr != iova + 0x100000000;
	}
	looker[index].ended = true;
	return NULL;
}

static void no_wake_up_is_lost(void)
{
	pthread_t thread[2];
	uint64_t number = 0;

	for (unsigned i = 0; i < 2; i++) {
		looker[i].index = i;
		REQUIRE_OK(sem_init(&looker[i].news, 0, 0));
		REQUIRE_OK(pthread_create(&thread[i], NULL, look, &looker[i].index));
	}
	while (!looker[0].ended || !looker[1].ended) {
		while (next(1, number++))
			CHECK_OK(update(asked_iova, PAGE, asked_iova + 0x100000000, RW));
		if (!vhu_iotlb_take_news(iotlb))
			continue;
		for (unsigned i = 0; i < 2; i++)
			if (vhu_iotlb_take_waiting(iotlb, i))
				sem_post(&looker[i].news);
	}
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		CHECK(!looker[i].wrong);
		CHECK(!looker[i].late);
	}
}

static const struct tap_case entries[] = {
	{"what_cannot_be_is_refused", what_cannot_be_is_refused},
	{"what_stays_true_is_not_taken_away", what_stays_true_is_not_taken_away},
	{"permissions_are_asked_for", permissions_are_asked_for},
	{"neighbours_are_one", neighbours_are_one},
	{"the_same_again_takes_nothing_away", the_same_again_takes_nothing_away},
	{"whole_address_space", whole_address_space},
	{"what_has_to_go_is_told", what_has_to_go_is_told},
	{"like_the_model", like_the_model},
	{0},
};

static const struct tap_case misses[] = {
	{"miss_is_told_of_once", miss_is_told_of_once},
	{"who_waits_is_told", who_waits_is_told},
	{"answer_without_the_permission_is_a_no", answer_without_the_permission_is_a_no},
	{"what_is_refused_fails_for_a_while", what_is_refused_fails_for_a_while},
	{"refusals_add_up", refusals_add_up},
	{"invalidation_lets_ask_again", invalidation_lets_ask_again},
	{"no_answer_is_a_no", no_answer_is_a_no},
	{"giving_up_fails_all", giving_up_fails_all},
	{"misses_are_bounded", misses_are_bounded},
	{"room_for_misses_is_news", room_for_misses_is_news},
	{"no_wake_up_is_lost", no_wake_up_is_lost},
	{0},
};

int main(int argc, char **argv)
{
	static const struct tap_suite suites[] = {
		{.name = "entries", .setup = setup, .teardown = teardown, .cases = entries},
		{.name = "misses", .setup = setup, .teardown = teardown, .cases = misses},
		{0},
	};

	return tap_main(argc, argv, suites);
}

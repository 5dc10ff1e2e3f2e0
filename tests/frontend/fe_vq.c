/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the drivers of both kinds of ring share, see fe_vq.h. Owns the ring's eventfds and the
 * driver's private state.
 */
#define _GNU_SOURCE
#include "fe_vq.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "fe_time.h"
#include "fe_vq_kind.h"

static bool has(uint64_t features, unsigned int bit)
{
	return features >> bit & 1;
}

int fe_vq_init(struct fe_vq *vq, struct fe_mem *mem, unsigned int num, uint64_t features)
{
	*vq = (struct fe_vq){
		.mem = mem,
		.kind = has(features, VIRTIO_F_RING_PACKED) ? &fe_vq_packed : &fe_vq_split,
		.num = num,
		.event_idx = has(features, VIRTIO_RING_F_EVENT_IDX),
	};
	vq->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	vq->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	vq->err_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	vq->next = calloc(num, sizeof(*vq->next));
	vq->n_chain = calloc(num, sizeof(*vq->n_chain));
	vq->cookie = calloc(num, sizeof(*vq->cookie));
	if (!vq->next || !vq->n_chain || !vq->cookie || vq->kick_fd < 0 || vq->call_fd < 0 ||
	    vq->err_fd < 0 || !vq->kind->place(vq)) {
		fe_vq_free(vq);
		return -ENOMEM;
	}
	fe_vq_reset(vq, fe_vq_fresh_base(vq));
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void fe_vq_free(struct fe_vq *vq)
{
	if (!vq->mem)
		return;
	close_fd(&vq->kick_fd);
	close_fd(&vq->call_fd);
	close_fd(&vq->err_fd);
	free(vq->next);
	free(vq->n_chain);
	free(vq->cookie);
	*vq = (struct fe_vq){0};
}

bool fe_vq_is_packed(const struct fe_vq *vq)
{
	return vq->kind == &fe_vq_packed;
}

void fe_vq_reset(struct fe_vq *vq, uint32_t base)
{
	for (unsigned int i = 0; i < vq->num; i++) {
		vq->next[i] = (uint16_t)(i + 1);
		vq->n_chain[i] = 0;
	}
	vq->free_head = 0;
	vq->n_free = vq->num;
	vq->base = base;
	vq->kind->reset(vq, base);
	fe_vq_silence(vq, vq->silent);
}

int fe_vq_add_chain(struct fe_vq *vq, const struct fe_seg *direct, unsigned int n_direct,
		    const struct fe_seg *indirect, unsigned int n_indirect, uint64_t table,
		    void *cookie)
{
	const uint32_t table_size = (uint32_t)(n_indirect * sizeof(struct vring_desc));
	const struct fe_chain chain = {
		.direct = direct,
		.n_direct = n_direct,
		.table = {.addr = table, .len = table_size},
		.n = n_direct + (n_indirect ? 1 : 0),
	};

	if (!chain.n || chain.n > vq->n_free)
		return -ENOSPC;
	if (n_indirect) {
		void *host = fe_ptr(vq->mem, table, table_size);

		if (!host)
			return -EFAULT;
		vq->kind->fill_table(host, indirect, n_indirect);
	}

	const uint16_t head = vq->kind->add(vq, &chain);

	vq->n_free -= chain.n;
	vq->n_chain[head] = (uint16_t)chain.n;
	vq->cookie[head] = cookie;
	return head;
}

void fe_vq_publish(struct fe_vq *vq)
{
	vq->kind->publish(vq);
}

bool fe_vq_kick(struct fe_vq *vq)
{
	fe_vq_publish(vq);
	/* 2.7.13.4, 2.8.21.2: what is available must be seen before we read the device's wish. */
	FULL_FENCE();
	if (!vq->kind->wants_kick(vq))
		return false;
	fe_vq_raw_kick(vq);
	return true;
}

void fe_vq_raw_kick(struct fe_vq *vq)
{
	if (vq->inband)
		vq->inband->kick(vq->inband, vq->index);
	else if (vq->kick_fd >= 0)
		eventfd_write(vq->kick_fd, 1);
}

int fe_vq_wait_rest(const struct fe_vq *vq, uint64_t deadline)
{
	while (!vq->kind->rests(vq)) {
		if (!fe_left_ms(deadline))
			return -ETIMEDOUT;
		sched_yield();
	}
	return 0;
}

int fe_vq_reap(struct fe_vq *vq, struct fe_used *used)
{
	struct fe_used next;

	if (!vq->kind->peek(vq, &next))
		return 0;
	if (next.head >= vq->num || !vq->n_chain[next.head]) {
		vq->kind->consume(vq, NULL);
		return -EPROTO;
	}
	vq->kind->consume(vq, &next.head);
	vq->n_free += vq->n_chain[next.head];
	vq->n_chain[next.head] = 0;
	next.cookie = vq->cookie[next.head];
	*used = next;
	return 1;
}

bool fe_vq_has_used(const struct fe_vq *vq)
{
	struct fe_used used;

	return vq->kind->peek(vq, &used);
}

unsigned int fe_vq_n_used(const struct fe_vq *vq)
{
	return vq->kind->n_used(vq);
}

uint32_t fe_vq_used_base(const struct fe_vq *vq)
{
	return vq->kind->used_base(vq);
}

void fe_vq_silence(struct fe_vq *vq, bool silent)
{
	vq->silent = silent;
	if (silent)
		vq->kind->want_no_call(vq);
	else
		vq->kind->want_call(vq, 0);
	FULL_FENCE();
}

void fe_vq_call_after(struct fe_vq *vq, unsigned int n)
{
	vq->silent = false;
	vq->kind->want_call(vq, n);
	FULL_FENCE();
}

bool fe_vq_take_event(int fd)
{
	eventfd_t count;

	return !eventfd_read(fd, &count);
}

/* Waits for a call or an error. 0 or -errno; the eventfd stays readable. */
static int wait_event(const struct fe_vq *vq, int fd, uint64_t deadline)
{
	while (vq->inband) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int ret = vq->inband->take(vq->inband);

		if (poll(&p, 1, 0) == 1)
			return 0;
		if (!ret)
			ret = fe_wait_fd(vq->inband->fd, POLLIN, deadline);
		if (ret)
			return ret;
	}
	return fe_wait_fd(fd, POLLIN, deadline);
}

int fe_vq_wait(struct fe_vq *vq, uint64_t deadline)
{
	while (!fe_vq_has_used(vq)) {
		fe_vq_silence(vq, vq->silent); /* moves the event along */
		if (fe_vq_has_used(vq))
			break;
		if (vq->silent) {
			if (!fe_left_ms(deadline))
				return -ETIMEDOUT;
			sched_yield();
			continue;
		}
		int ret = wait_event(vq, vq->call_fd, deadline);

		if (ret)
			return ret == -ETIMEDOUT && fe_vq_has_used(vq) ? -ENOMSG : ret;
		fe_vq_take_event(vq->call_fd);
	}
	return 0;
}

int fe_vq_wait_error(struct fe_vq *vq)
{
	int ret = wait_event(vq, vq->err_fd, fe_deadline(FE_TIMEOUT_MS));

	if (!ret)
		fe_vq_take_event(vq->err_fd);
	return ret;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The split-ring driver, see fe_vq.h. Owns the ring's eventfds and the driver's private state.
 * Obeys virtio 1.2, section 2.7 "Split Virtqueues", the driver's part.
 */
#define _GNU_SOURCE
#include "fe_vq.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fe_time.h"

/* The ring's shared words: one access each, never torn or repeated by the compiler. */
#define LOAD(x)      __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, v)  __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)
#define FULL_FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)

static uint16_t *used_event(struct fe_vq *vq)
{
	return &vq->ring.avail->ring[vq->num];
}

static uint16_t *avail_event(struct fe_vq *vq)
{
	return (uint16_t *)&vq->ring.used->ring[vq->num];
}

int fe_vq_init(struct fe_vq *vq, struct fe_mem *mem, unsigned int num, bool event_idx)
{
	size_t desc_size = num * sizeof(struct vring_desc);
	size_t avail_size = (3 + (size_t)num) * sizeof(uint16_t);
	size_t used_size = 3 * sizeof(uint16_t) + num * sizeof(struct vring_used_elem);

	*vq = (struct fe_vq){.mem = mem, .num = num, .event_idx = event_idx};
	vq->kick_fd = vq->call_fd = vq->err_fd = -1;
	vq->desc_gpa = fe_alloc(mem, desc_size, VRING_DESC_ALIGN_SIZE);
	vq->avail_gpa = fe_alloc(mem, avail_size, VRING_AVAIL_ALIGN_SIZE);
	vq->used_gpa = fe_alloc(mem, used_size, VRING_USED_ALIGN_SIZE);
	vq->ring.num = num;
	vq->ring.desc = fe_ptr(mem, vq->desc_gpa, desc_size);
	vq->ring.avail = fe_ptr(mem, vq->avail_gpa, avail_size);
	vq->ring.used = fe_ptr(mem, vq->used_gpa, used_size);
	vq->next = calloc(num, sizeof(*vq->next));
	vq->n_chain = calloc(num, sizeof(*vq->n_chain));
	vq->cookie = calloc(num, sizeof(*vq->cookie));
	vq->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	vq->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	vq->err_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!vq->ring.desc || !vq->ring.avail || !vq->ring.used || !vq->next || !vq->n_chain ||
	    !vq->cookie || vq->kick_fd < 0 || vq->call_fd < 0 || vq->err_fd < 0) {
		fe_vq_free(vq);
		return -ENOMEM;
	}
	fe_vq_reset(vq, 0);
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

void fe_vq_reset(struct fe_vq *vq, uint16_t base)
{
	memset(vq->ring.desc, 0, vq->num * sizeof(struct vring_desc));
	memset(vq->ring.avail, 0, (3 + (size_t)vq->num) * sizeof(uint16_t));
	memset(vq->ring.used, 0, 3 * sizeof(uint16_t) + vq->num * sizeof(struct vring_used_elem));
	for (unsigned int i = 0; i < vq->num; i++) {
		vq->next[i] = (uint16_t)(i + 1);
		vq->n_chain[i] = 0;
	}
	vq->free_head = 0;
	vq->n_free = vq->num;
	vq->base = vq->avail_idx = vq->kicked = vq->used_idx = base;
	STORE(vq->ring.used->idx, base);
	STORE(vq->ring.avail->idx, base);
	fe_vq_silence(vq, vq->silent);
}

static void fill(struct vring_desc *desc, const struct fe_seg *seg, uint16_t flags, uint16_t next)
{
	*desc = (struct vring_desc){
		.addr = seg->addr,
		.len = seg->len,
		.flags = (uint16_t)(flags | (seg->write ? VRING_DESC_F_WRITE : 0)),
		.next = next,
	};
}

static int fill_table(struct fe_vq *vq, uint64_t table, const struct fe_seg *segs, unsigned int n)
{
	struct vring_desc *desc = fe_ptr(vq->mem, table, n * sizeof(*desc));

	if (!desc)
		return -EFAULT;
	for (unsigned int i = 0; i < n; i++) {
		bool last = i + 1 == n;

		fill(&desc[i], &segs[i], last ? 0 : VRING_DESC_F_NEXT,
		     last ? 0 : (uint16_t)(i + 1));
	}
	return 0;
}

int fe_vq_add_chain(struct fe_vq *vq, const struct fe_seg *direct, unsigned int n_direct,
		    const struct fe_seg *indirect, unsigned int n_indirect, uint64_t table,
		    void *cookie)
{
	unsigned int n = n_direct + (n_indirect ? 1 : 0);
	uint16_t head = vq->free_head, d = head;

	if (!n || n > vq->n_free)
		return -ENOSPC;
	if (n_indirect && fill_table(vq, table, indirect, n_indirect))
		return -EFAULT;
	for (unsigned int i = 0; i < n_direct; i++) {
		bool last = i + 1 == n;

		fill(&vq->ring.desc[d], &direct[i], last ? 0 : VRING_DESC_F_NEXT,
		     last ? 0 : vq->next[d]);
		d = last ? d : vq->next[d];
	}
	if (n_indirect) {
		struct fe_seg seg = {.addr = table,
				     .len = (uint32_t)(n_indirect * sizeof(struct vring_desc))};

		fill(&vq->ring.desc[d], &seg, VRING_DESC_F_INDIRECT, 0);
	}
	vq->free_head = vq->next[d];
	vq->n_free -= n;
	vq->n_chain[head] = (uint16_t)n;
	vq->cookie[head] = cookie;
	vq->ring.avail->ring[vq->avail_idx & (vq->num - 1)] = head;
	vq->avail_idx++;
	return head;
}

void fe_vq_publish(struct fe_vq *vq)
{
	STORE(vq->ring.avail->idx, vq->avail_idx);
}

bool fe_vq_kick(struct fe_vq *vq)
{
	uint16_t old = vq->kicked;
	bool wanted;

	fe_vq_publish(vq);
	vq->kicked = vq->avail_idx;
	/* 2.7.13.4: the index must be visible before the device's wish is read. */
	FULL_FENCE();
	if (vq->event_idx)
		wanted = vring_need_event(LOAD(*avail_event(vq)), vq->avail_idx, old);
	else
		wanted = !(LOAD(vq->ring.used->flags) & VRING_USED_F_NO_NOTIFY);
	if (wanted)
		fe_vq_raw_kick(vq);
	return wanted;
}

void fe_vq_raw_kick(struct fe_vq *vq)
{
	if (vq->kick_fd >= 0)
		eventfd_write(vq->kick_fd, 1);
}

void fe_vq_raw_push(struct fe_vq *vq, uint16_t head)
{
	vq->ring.avail->ring[vq->avail_idx & (vq->num - 1)] = head;
	vq->avail_idx++;
	fe_vq_publish(vq);
}

void fe_vq_raw_avail_idx(struct fe_vq *vq, uint16_t idx)
{
	STORE(vq->ring.avail->idx, idx);
}

static bool has_used(struct fe_vq *vq)
{
	return LOAD(vq->ring.used->idx) != vq->used_idx;
}

int fe_vq_reap(struct fe_vq *vq, struct fe_used *used)
{
	if (!has_used(vq))
		return 0;

	struct vring_used_elem elem = vq->ring.used->ring[vq->used_idx & (vq->num - 1)];
	uint16_t head = (uint16_t)elem.id;

	vq->used_idx++;
	if (elem.id >= vq->num || !vq->n_chain[head])
		return -EPROTO;
	*used = (struct fe_used){.head = head, .len = elem.len, .cookie = vq->cookie[head]};

	uint16_t tail = head;

	for (unsigned int i = 1; i < vq->n_chain[head]; i++)
		tail = vq->next[tail];
	vq->next[tail] = vq->free_head;
	vq->free_head = head;
	vq->n_free += vq->n_chain[head];
	vq->n_chain[head] = 0;
	return 1;
}

void fe_vq_silence(struct fe_vq *vq, bool silent)
{
	vq->silent = silent;
	if (vq->event_idx) /* never, that is: half the index space away */
		STORE(*used_event(vq), (uint16_t)(vq->used_idx + (silent ? 0x8000 : 0)));
	else
		STORE(vq->ring.avail->flags, silent ? VRING_AVAIL_F_NO_INTERRUPT : 0);
	FULL_FENCE();
}

bool fe_vq_take_event(int fd)
{
	eventfd_t count;

	return !eventfd_read(fd, &count);
}

int fe_vq_wait(struct fe_vq *vq, uint64_t deadline)
{
	while (!has_used(vq)) {
		fe_vq_silence(vq, vq->silent); /* moves used_event along */
		if (has_used(vq))
			break;
		if (vq->silent) {
			if (!fe_left_ms(deadline))
				return -ETIMEDOUT;
			sched_yield();
			continue;
		}
		int ret = fe_wait_fd(vq->call_fd, POLLIN, deadline);

		if (ret)
			return ret == -ETIMEDOUT && has_used(vq) ? -ENOMSG : ret;
		fe_vq_take_event(vq->call_fd);
	}
	return 0;
}

int fe_vq_wait_error(struct fe_vq *vq)
{
	int ret = fe_wait_fd(vq->err_fd, POLLIN, fe_deadline(FE_TIMEOUT_MS));

	if (!ret)
		fe_vq_take_event(vq->err_fd);
	return ret;
}

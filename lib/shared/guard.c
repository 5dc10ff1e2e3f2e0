/* SPDX-License-Identifier: BSD-3-Clause */
/* See shared/guard.h. The handler runs on any thread, in the middle of anything. */
#include "shared/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vublk.h"

#define CHUNK  4096 /* guards that are made together */
#define CHUNKS 1024 /* far more mappings than a kernel gives a process (vm.max_map_count) */

/*
 * A guard in use has a size. It is taken and released in an order that lets the handler tell a
 * whole entry from one that is changing: base is written while size is 0.
 */
struct guard {
	atomic_bool taken, lost, by_page;
	_Atomic uintptr_t base;
	_Atomic size_t size;
};

/*
 * Guards never move and never go: the handler may look at any of them at any time. The first chunk
 * is there from the start; another one is published when it is all zero, after those before it.
 */
static struct guard first_chunk[CHUNK];
static _Atomic(struct guard *) chunks[CHUNKS] = {first_chunk};
static int lost_fd = -1;
static uintptr_t page_size; /* bytes */

static struct guard *guard_of(int handle)
{
	return atomic_load(&chunks[handle / CHUNK]) + handle % CHUNK;
}

/* Makes it, unless another thread has done so meanwhile. Is it there? */
static bool make_chunk(int i)
{
	struct guard *chunk = calloc(CHUNK, sizeof(*chunk)), *none = NULL;

	if (chunk && !atomic_compare_exchange_strong(&chunks[i], &none, chunk))
		free(chunk);
	return atomic_load(&chunks[i]);
}

int vhu_guard_add(void *base, size_t size)
{
	for (int i = 0; i < CHUNKS * CHUNK; i++) {
		struct guard *guard;
		bool taken = false;

		if (!atomic_load(&chunks[i / CHUNK]) && !make_chunk(i / CHUNK))
			return -ENOMEM;
		guard = guard_of(i);
		if (!atomic_compare_exchange_strong(&guard->taken, &taken, true))
			continue;
		atomic_store(&guard->lost, false);
		atomic_store(&guard->by_page, false);
		atomic_store(&guard->base, (uintptr_t)base);
		atomic_store(&guard->size, size);
		return i;
	}
	return -ENOSPC;
}

void vhu_guard_remove(int handle)
{
	atomic_store(&guard_of(handle)->size, 0);
	atomic_store(&guard_of(handle)->taken, false);
}

void vhu_guard_by_page(int handle)
{
	atomic_store(&guard_of(handle)->by_page, true);
}

bool vhu_guard_is_lost(int handle)
{
	return atomic_load(&guard_of(handle)->lost);
}

static bool replace_range(uintptr_t base, size_t size)
{
	return mmap((void *)base, size, PROT_READ | PROT_WRITE,
		    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

/*
 * Replaces the mapping that the address is in, if it is a guarded one. Its own entry is stable: the
 * thread that was interrupted is using the mapping.
 */
static bool replace(uintptr_t address)
{
	for (int i = 0; i < CHUNKS * CHUNK && atomic_load(&chunks[i / CHUNK]); i++) {
		struct guard *guard = guard_of(i);
		const size_t size = atomic_load(&guard->size);
		const uintptr_t base = atomic_load(&guard->base);

		if (!size || size != atomic_load(&guard->size) || address < base ||
		    address - base >= size)
			continue;
		/* First: who reads zeros can know why. If it fails, nobody lives to see it. */
		atomic_store(&guard->lost, true);
		if (!(atomic_load(&guard->by_page) &&
		      replace_range(address & ~(page_size - 1), page_size)) &&
		    !replace_range(base, size))
			return false;
		return true;
	}
	return false;
}

/* On the faulting thread. mmap(2) and write(2) are mere system calls. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
	const int saved = errno;
	const uint64_t one = 1;

	(void)context;
	if ((info->si_code == BUS_ADRERR || info->si_code == BUS_MCEERR_AR) &&
	    replace((uintptr_t)info->si_addr)) {
		/* It cannot fill up; and if it failed, the ring would still be found broken. */
		if (write(lost_fd, &one, sizeof(one)) < 0)
			errno = saved;
	} else {
		/* Not ours: the same instruction faults again, and this time it kills. */
		signal(number, SIG_DFL);
	}
	errno = saved;
}

int vublk_guard_memory(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	if (lost_fd >= 0)
		return lost_fd;
	page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
	lost_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lost_fd < 0)
		return -errno;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, NULL)) {
		const int err = -errno;

		close(lost_fd);
		lost_fd = -1;
		return err;
	}
	return lost_fd;
}

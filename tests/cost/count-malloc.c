/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into the daemon, counts what it allocates, and writes the number to the file named by
 * COUNT_MALLOC_FILE when the process ends. Any thread.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long long n_allocated;

/* glibc's own names of what is replaced here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *at, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static void count(void)
{
	__atomic_add_fetch(&n_allocated, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count();
	return __libc_calloc(n, size);
}

void *realloc(void *at, size_t size)
{
	count();
	return __libc_realloc(at, size);
}

void *memalign(size_t alignment, size_t size)
{
	count();
	return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	count();
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **to, size_t alignment, size_t size)
{
	count();
	*to = __libc_memalign(alignment, size);
	return *to ? 0 : ENOMEM;
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	static void *(*real)(void *, size_t, int, int, int, off_t);

	count();
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "mmap");
	return real(at, size, protection, flags, fd, offset);
}

__attribute__((destructor)) static void report(void)
{
	const char *path = getenv("COUNT_MALLOC_FILE");
	char line[32];
	const int fd = path ? open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600) : -1;
	const int len = snprintf(line, sizeof(line), "%llu\n", n_allocated);

	if (fd >= 0 && write(fd, line, (size_t)len) == len)
		close(fd);
}

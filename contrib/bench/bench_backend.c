/* SPDX-License-Identifier: BSD-3-Clause */
/* See bench_backend.h. Owns the perf events. */
#include "bench_backend.h"

#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRACEFS "/sys/kernel/tracing"
#define ID_FILE TRACEFS "/events/raw_syscalls/sys_enter/id"

__attribute__((format(printf, 2, 3))) static void say_why(char *why, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, BENCH_WHY, format, ap);
	va_end(ap);
}

/* ---- system calls ---- */

/* The number of the tracepoint that every system call passes, 0: not to be had. */
static unsigned long long tracepoint_id(void)
{
	unsigned long long id = 0;
	FILE *f = fopen(ID_FILE, "re");

	if (!f)
		return 0;
	if (fscanf(f, "%llu", &id) != 1)
		id = 0;
	fclose(f);
	return id;
}

static int open_counter(pid_t tid, unsigned long long id)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = id,
		.inherit = 1, /* and those of threads that it makes */
	};

	return (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Adds a counter for the thread. False if that cannot be, and then says why. */
static bool count_thread(struct bench_backend *backend, pid_t tid, unsigned long long id)
{
	int *counter = reallocarray(backend->counter, backend->n_counters + 1, sizeof(*counter));

	if (!counter) {
		say_why(backend->no_syscalls, "no memory");
		return false;
	}
	backend->counter = counter;
	counter[backend->n_counters] = open_counter(tid, id);
	if (counter[backend->n_counters] >= 0)
		backend->n_counters++;
	else if (errno != ESRCH) /* it has ended meanwhile */
		say_why(backend->no_syscalls, "perf_event_open: %s", strerror(errno));
	return !backend->no_syscalls[0];
}

void bench_backend_count(struct bench_backend *backend)
{
	const unsigned long long id = tracepoint_id();
	char path[64];
	struct dirent *entry;
	DIR *dir;

	if (backend->no_syscalls[0])
		return;
	if (!id) {
		say_why(backend->no_syscalls, "cannot read %s: %s", ID_FILE, strerror(errno));
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/task", (int)backend->pid);
	dir = opendir(path);
	if (!dir) {
		say_why(backend->no_syscalls, "cannot read %s: %s", path, strerror(errno));
		return;
	}
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && !count_thread(backend, atoi(entry->d_name), id))
			break;
	closedir(dir);
}

uint64_t bench_backend_counted(struct bench_backend *backend)
{
	uint64_t sum = 0, count;

	while (backend->n_counters) {
		const int fd = backend->counter[--backend->n_counters];

		if (read(fd, &count, sizeof(count)) == sizeof(count))
			sum += count;
		close(fd);
	}
	free(backend->counter);
	backend->counter = NULL;
	return sum;
}

/* ---- all of it ---- */

void bench_backend_open(struct bench_backend *backend, pid_t pid)
{
	int err;

	*backend = (struct bench_backend){.pid = pid};
	if (!pid) {
		say_why(backend->no_cpu, "no process is known");
		strcpy(backend->no_syscalls, backend->no_cpu);
		strcpy(backend->no_memory, backend->no_cpu);
		return;
	}
	err = clock_getcpuclockid(pid, &backend->clock);
	if (err)
		say_why(backend->no_cpu, "CPU clock of process %d: %s", (int)pid, strerror(err));
}

void bench_backend_close(struct bench_backend *backend)
{
	bench_backend_counted(backend);
}

uint64_t bench_backend_cpu(const struct bench_backend *backend)
{
	struct timespec ts;

	if (backend->no_cpu[0] || clock_gettime(backend->clock, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t bench_backend_memory(struct bench_backend *backend)
{
	char path[64], line[128];
	unsigned long long kib, sum = 0;
	FILE *f;

	if (!backend->pid)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)backend->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Clean: %llu", &kib) == 1 ||
		    sscanf(line, "Private_Dirty: %llu", &kib) == 1)
			sum += kib << 10;
	if (!sum)
		say_why(backend->no_memory, "cannot read %s: %s", path, strerror(errno));
	if (f)
		fclose(f);
	return sum;
}

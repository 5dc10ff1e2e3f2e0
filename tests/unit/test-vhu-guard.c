/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/shared/guard.c: memory that a front-end truncates is replaced, and nothing else is. */
#include "lib/shared/guard.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/shared/mem.h"
#include "lib/vublk.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"
#include "tests/unit/support/mem-at.h"

#define PAGE   0x1000u
#define GUARDS 10000 /* more than are made together */

static int lost_fd;

static void setup(void)
{
	lost_fd = vublk_guard_memory();
	REQUIRE(lost_fd >= 0);
}

/* Two pages of a file, mapped at some address. */
static volatile uint8_t *map_file(int *fd)
{
	void *base;

	*fd = fd_memory(2 * PAGE);
	base = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	REQUIRE(base != MAP_FAILED);
	return base;
}

static void truncate_it(int fd)
{
	REQUIRE_OK(ftruncate(fd, PAGE));
}

static void handler_is_installed_once(void)
{
	CHECK_EQ(vublk_guard_memory(), lost_fd);
	CHECK_EQ(fcntl(lost_fd, F_GETFD), FD_CLOEXEC);
	CHECK(!fd_take_events(lost_fd));
}

static void truncated_memory_reads_as_zeros(void)
{
	int fd, handle;
	volatile uint8_t *memory = map_file(&fd);

	memory[0] = memory[PAGE] = 1;
	handle = vhu_guard_add((void *)memory, 2 * PAGE);
	REQUIRE(handle >= 0);
	truncate_it(fd);
	CHECK(!vhu_guard_is_lost(handle));
	CHECK_EQ(memory[0], 1); /* what is still there is not touched yet */
	CHECK_EQ(memory[PAGE], 0);
	CHECK(vhu_guard_is_lost(handle));
	CHECK_EQ(fd_take_events(lost_fd), 1);
	/* All of it was replaced, and can be written. */
	CHECK_EQ(memory[0], 0);
	memory[2 * PAGE - 1] = 5;
	CHECK_EQ(memory[2 * PAGE - 1], 5);
	CHECK_EQ(fd_take_events(lost_fd), 0);
	vhu_guard_remove(handle);
	close(fd);
}

static void page_is_replaced_by_itself(void)
{
	int fd, handle;
	volatile uint8_t *memory = map_file(&fd);

	memory[0] = 1;
	handle = vhu_guard_add((void *)memory, 2 * PAGE);
	vhu_guard_by_page(handle);
	truncate_it(fd);
	CHECK_EQ(memory[2 * PAGE - 1], 0);
	CHECK(vhu_guard_is_lost(handle));
	CHECK_EQ(memory[0], 1); /* as the file has it */
	vhu_guard_remove(handle);
	/* Whoever comes next has nothing to do with that. */
	REQUIRE_EQ(vhu_guard_add((void *)memory, 2 * PAGE), handle);
	REQUIRE_OK(ftruncate(fd, 0));
	CHECK_EQ(memory[0], 0);
	memory[2 * PAGE - 1] = 5;
	CHECK_EQ(memory[2 * PAGE - 1], 5);
	vhu_guard_remove(handle);
	close(fd);
}

static void write_to_truncated_memory_goes_nowhere(void)
{
	int fd, handle;
	volatile uint8_t *memory = map_file(&fd);

	handle = vhu_guard_add((void *)memory, 2 * PAGE);
	truncate_it(fd);
	memory[PAGE + 7] = 9;
	CHECK_EQ(memory[PAGE + 7], 9);
	CHECK(vhu_guard_is_lost(handle));
	CHECK_EQ(lseek(fd, 0, SEEK_END), PAGE);
	vhu_guard_remove(handle);
	close(fd);
}

static void other_memory_is_left_alone(void)
{
	int fd[2], handle[2];
	volatile uint8_t *memory[2];

	for (unsigned i = 0; i < 2; i++) {
		memory[i] = map_file(&fd[i]);
		memory[i][PAGE] = 7;
		handle[i] = vhu_guard_add((void *)memory[i], 2 * PAGE);
	}
	truncate_it(fd[0]);
	CHECK_EQ(memory[0][PAGE], 0);
	CHECK(vhu_guard_is_lost(handle[0]));
	CHECK(!vhu_guard_is_lost(handle[1]));
	CHECK_EQ(memory[1][PAGE], 7);
	for (unsigned i = 0; i < 2; i++) {
		vhu_guard_remove(handle[i]);
		close(fd[i]);
	}
}

/* The signal that a process dies of when it touches the memory; 0: it lives. */
static int signal_of(volatile uint8_t *memory)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		const struct rlimit no_core = {0, 0};

		setrlimit(RLIMIT_CORE, &no_core);
		memory[PAGE] = 1;
		_exit(0);
	}
	REQUIRE_EQ(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void memory_without_a_guard_kills(void)
{
	int fd, handle;
	volatile uint8_t *memory = map_file(&fd);

	truncate_it(fd);
	CHECK_EQ(signal_of(memory), SIGBUS);
	handle = vhu_guard_add((void *)memory, 2 * PAGE);
	CHECK_EQ(signal_of(memory), 0);
	vhu_guard_remove(handle);
	CHECK_EQ(signal_of(memory), SIGBUS);
	close(fd);
}

static void guard_ends_where_it_says(void)
{
	int fd, handle;
	volatile uint8_t *memory = map_file(&fd);

	handle = vhu_guard_add((void *)memory, PAGE);
	truncate_it(fd);
	CHECK_EQ(signal_of(memory), SIGBUS);
	vhu_guard_remove(handle);
	close(fd);
}

/* The address that came with it is only what the sender says. */
static void signal_that_names_guarded_memory_is_not_believed(void)
{
	int fd, status, handle;
	volatile uint8_t *memory = map_file(&fd);
	siginfo_t info = {.si_signo = SIGBUS, .si_code = SI_QUEUE};
	pid_t pid;

	info.si_addr = (void *)memory;
	handle = vhu_guard_add((void *)memory, 2 * PAGE);
	pid = fork();
	if (!pid) {
		syscall(SYS_rt_sigqueueinfo, getpid(), SIGBUS, &info);
		/* The handler has returned to here, and the next one kills. */
		_exit(vhu_guard_is_lost(handle));
	}
	REQUIRE_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	vhu_guard_remove(handle);
	close(fd);
}

/* As kill(2) does it: no memory is meant. */
static void signal_that_was_sent_kills(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		raise(SIGBUS);
		raise(SIGBUS);
		_exit(0);
	}
	REQUIRE_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void guards_are_given_back(void)
{
	int handle[GUARDS];
	unsigned n = 0;

	while (n < GUARDS && (handle[n] = vhu_guard_add((void *)(uintptr_t)PAGE, PAGE)) >= 0)
		n++;
	REQUIRE_EQ(n, GUARDS);
	vhu_guard_remove(handle[5000]);
	CHECK_EQ(vhu_guard_add((void *)(uintptr_t)PAGE, PAGE), handle[5000]);
	while (n)
		vhu_guard_remove(handle[--n]);
}

/* However many there are, the handler finds the right one. */
static void one_of_very_many_is_lost(void)
{
	static int handle[GUARDS];
	int fd, mine;
	volatile uint8_t *memory = map_file(&fd);

	for (unsigned i = 0; i < GUARDS; i++)
		REQUIRE((handle[i] = vhu_guard_add((void *)(uintptr_t)PAGE, PAGE)) >= 0);
	mine = vhu_guard_add((void *)memory, 2 * PAGE);
	REQUIRE(mine >= GUARDS);
	truncate_it(fd);
	CHECK_EQ(memory[PAGE], 0);
	CHECK(vhu_guard_is_lost(mine));
	for (unsigned i = 0; i < GUARDS; i++) {
		CHECK(!vhu_guard_is_lost(handle[i]));
		vhu_guard_remove(handle[i]);
	}
	vhu_guard_remove(mine);
	close(fd);
}

/* What the guard is for. */
static void region_that_is_truncated_is_lost(void)
{
	const struct vhu_region region = {.size = 2 * PAGE};
	int fd = fd_memory(2 * PAGE);
	uint64_t size = 1;
	struct vhu_mem *mem;

	REQUIRE_OK(vhu_mem_new(&mem, "test", &region, &fd, 1));
	CHECK(!vhu_mem_is_lost(NULL));
	CHECK(!vhu_mem_is_lost(mem));
	truncate_it(fd);
	CHECK_EQ(*(volatile uint8_t *)mem_at(mem, PAGE, &size), 0);
	CHECK(vhu_mem_is_lost(mem));
	vhu_mem_put(mem);
	/* Nothing of it is left to the next one. */
	REQUIRE_OK(ftruncate(fd, 2 * PAGE));
	REQUIRE_OK(vhu_mem_new(&mem, "test", &region, &fd, 1));
	CHECK(!vhu_mem_is_lost(mem));
	vhu_mem_put(mem);
	close(fd);
}

static const struct tap_case cases[] = {
	{"handler_is_installed_once", handler_is_installed_once},
	{"truncated_memory_reads_as_zeros", truncated_memory_reads_as_zeros},
	{"page_is_replaced_by_itself", page_is_replaced_by_itself},
	{"write_to_truncated_memory_goes_nowhere", write_to_truncated_memory_goes_nowhere},
	{"other_memory_is_left_alone", other_memory_is_left_alone},
	{"memory_without_a_guard_kills", memory_without_a_guard_kills},
	{"guard_ends_where_it_says", guard_ends_where_it_says},
	{"signal_that_names_guarded_memory_is_not_believed",
	 signal_that_names_guarded_memory_is_not_believed},
	{"signal_that_was_sent_kills", signal_that_was_sent_kills},
	{"guards_are_given_back", guards_are_given_back},
	{"one_of_very_many_is_lost", one_of_very_many_is_lost},
	{"region_that_is_truncated_is_lost", region_that_is_truncated_is_lost},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "guard", .setup = setup, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}

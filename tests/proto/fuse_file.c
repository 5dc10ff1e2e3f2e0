/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See fuse_file.h. The protocol is that of linux/fuse.h, as far as one file needs it; a child
 * process serves, one request after another.
 */
#define _GNU_SOURCE
#include "tests/proto/fuse_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/tap.h"

#define NODE    2u         /* the file; 1 is the directory */
#define MESSAGE (1u << 20) /* room for a request */
#define FOREVER 3600u      /* seconds that the kernel may keep a name */

static struct fuse_file *file;
static int fuse_fd;
static bool async;

static void answer(const struct fuse_in_header *in, int error, const void *data, size_t size)
{
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + size), .error = -error, .unique = in->unique};
	const struct iovec iov[] = {{&out, sizeof(out)}, {(void *)data, size}};

	if (writev(fuse_fd, iov, 2) < 0)
		_exit(EXIT_FAILURE);
}

static struct fuse_attr attributes(uint64_t node)
{
	const bool is_file = node == NODE;

	return (struct fuse_attr){
		.ino = node,
		.size = is_file ? file->size : 0,
		.mode = is_file ? S_IFREG | 0600 : S_IFDIR | 0700,
		.nlink = 1,
		.blksize = 4096,
	};
}

static void initialise(const struct fuse_in_header *in, const struct fuse_init_in *arg)
{
	const struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = arg->minor < FUSE_KERNEL_MINOR_VERSION ? arg->minor
								: FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = arg->max_readahead,
		.max_write = MESSAGE / 4,
		.flags = async ? arg->flags & FUSE_ASYNC_DIO : 0,
		.max_background = async ? 2 * 1024 : 0,
		.congestion_threshold = async ? 2 * 1024 : 0,
	};

	answer(in, 0, &out, sizeof(out));
}

static void look_up(const struct fuse_in_header *in, const char *name)
{
	const struct fuse_entry_out out = {
		.nodeid = NODE, .entry_valid = FOREVER, .attr = attributes(NODE)};

	answer(in, strcmp(name, "image") ? ENOENT : 0, &out,
	       strcmp(name, "image") ? 0 : sizeof(out));
}

/* Of a transfer as much as this file system is in the mood for. */
static uint32_t moved(uint64_t offset, uint32_t size)
{
	const uint64_t end = file->size < file->stuck_from ? file->size : file->stuck_from;

	file->n_requests++;
	if (size > file->most)
		size = file->most;
	if (offset >= end)
		return 0;
	return end - offset < size ? (uint32_t)(end - offset) : size;
}

static void read_file(const struct fuse_in_header *in, const struct fuse_read_in *arg)
{
	const uint32_t size = moved(arg->offset, arg->size);

	answer(in, 0, file->content + (size ? arg->offset : 0), size);
}

static void write_file(const struct fuse_in_header *in, const struct fuse_write_in *arg)
{
	struct fuse_write_out out = {.size = moved(arg->offset, arg->size)};

	if (out.size)
		memcpy(file->content + arg->offset, arg + 1, out.size);
	answer(in, 0, &out, sizeof(out));
}

static void serve_one(const struct fuse_in_header *in)
{
	const struct fuse_attr_out attr = {.attr = attributes(in->nodeid)};
	const struct fuse_statfs_out statfs_out = {.st = {.bsize = 4096, .namelen = 255}};
	const struct fuse_open_out open_out = {.open_flags = FOPEN_DIRECT_IO};
	const void *arg = in + 1;

	switch (in->opcode) {
	case FUSE_INIT:
		initialise(in, arg);
		break;
	case FUSE_LOOKUP:
		look_up(in, arg);
		break;
	case FUSE_GETATTR:
		answer(in, 0, &attr, sizeof(attr));
		break;
	case FUSE_STATFS:
		answer(in, 0, &statfs_out, sizeof(statfs_out));
		break;
	case FUSE_OPEN:
		answer(in, 0, &open_out, sizeof(open_out));
		break;
	case FUSE_READ:
		read_file(in, arg);
		break;
	case FUSE_WRITE:
		write_file(in, arg);
		break;
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_RELEASE:
		answer(in, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break;
	default:
		answer(in, ENOSYS, NULL, 0);
	}
}

static void serve(void)
{
	static _Alignas(8) char message[MESSAGE];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		const ssize_t n = read(fuse_fd, message, sizeof(message));

		while (file->hangs)
			usleep(1000);
		if (n >= (ssize_t)sizeof(struct fuse_in_header))
			serve_one((const struct fuse_in_header *)(const void *)message);
		else if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
			_exit(EXIT_SUCCESS);
	}
}

struct fuse_file *fuse_file_mount(const char *dir, uint64_t size)
{
	char options[128];

	fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse_fd < 0)
		tap_skip("no /dev/fuse here: %s", strerror(errno));
	if (unshare(CLONE_NEWNS) || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL))
		tap_skip("mounting needs root");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse_fd);
	if (mount("test", dir, "fuse", MS_NOSUID | MS_NODEV, options))
		tap_skip("no FUSE file system can be mounted: %s", strerror(errno));
	file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(file != MAP_FAILED);
	file->size = size;
	file->most = UINT32_MAX;
	file->stuck_from = UINT64_MAX;
	switch (fork()) {
	case -1:
		REQUIRE(!"fork");
		break;
	case 0:
		serve();
		break;
	default:
		break;
	}
	close(fuse_fd);
	return file;
}

struct fuse_file *fuse_file_mount_async(const char *dir, uint64_t size)
{
	async = true;
	return fuse_file_mount(dir, size);
}

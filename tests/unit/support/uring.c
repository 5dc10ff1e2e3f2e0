/* SPDX-License-Identifier: BSD-3-Clause */
/* See uring.h. */
#include "tests/unit/support/try-engine.h"
#include "tests/unit/support/uring.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct ur ur = {.fd = -1};

int ur_try_open(struct uring_options options)
{
	return eng_try(&engine_uring, &(struct reactor_config){.depth = 8, .options = options},
		       &ur.reactor, &ur.target);
}

void ur_open(struct uring_options options)
{
	if (try_engine(&engine_uring))
		tap_skip("there is no io_uring here");
	REQUIRE_OK(ur_try_open(options));
	REQUIRE_EQ(ur.file = target_get_file(ur.target, ur.fd, 0), 0);
}

void ur_setup(void)
{
	const char *dir = getenv("TMPDIR");
	char path[300];

	uring_without = uring_faults = 0;
	snprintf(path, sizeof(path), "%s/image", dir ? dir : "/var/tmp");
	ur.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	REQUIRE(ur.fd >= 0);
	REQUIRE_OK(ftruncate(ur.fd, 1 << 20));
}

void ur_teardown(void)
{
	if (ur.reactor)
		eng_close(ur.reactor, ur.target);
	ur.reactor = NULL;
	close(ur.fd);
}

void ur_complete(struct io *io)
{
	container_of(io, struct ur_op, io)->done++;
}

struct ur_op ur_transfer(enum io_op op, void *at, size_t size, uint64_t offset)
{
	return (struct ur_op){
		.io = {.op = (uint8_t)op, .file = ur.file, .niov = 1, .offset = offset},
		.iov = {at, size}};
}

void ur_submit(struct ur_op *op)
{
	op->io.iov = &op->iov;
	op->io.done = ur_complete;
	target_submit(ur.target, &op->io);
}

int64_t ur_run(struct ur_op op)
{
	ur_submit(&op);
	UR_RUN_UNTIL(op.done, 100 * MS);
	CHECK_EQ(op.done, 1);
	return op.io.result;
}

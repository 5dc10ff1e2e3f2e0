/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of many disks in one process share: four disks, each with an image, a file of
 * settings once tell() was called, and a front-end; and the daemon that serves the directory, with
 * an API. On proto.h, whose `server` it is. A suite has .setup = disks_setup and
 * .teardown = proto_teardown. Everything here REQUIREs its success.
 */
#ifndef DISKS_H
#define DISKS_H

#include "tests/proto/proto.h"

struct disk {
	char id[8], image[400], socket[100], conf[400];
	struct fe_dev dev;
	struct fe_blk blk;
};

extern struct disk disks[4];
extern char text[64 * 1024]; /* the log, or an answer */

extern char api[300]; /* the API's socket */

void disks_setup(void);

/* What the file of a disk says: the usual, with `more` lines. */
void tell(const struct disk *disk, const char *more);

/* Starts the daemon with the directory (and an option), and waits until it is ready. */
void start(void);
void start_with(const char *option);

/* Has it read the directory again. */
void reload(void);

void await_log(const char *what);
bool log_has(const char *what);

/* Is there a socket? Not by a connection, which would be a front-end. */
bool listens(const struct disk *disk);
void await_listening(struct disk *disk, bool wanted);

/* A front-end comes, with a queue or so many. */
void connect_to(struct disk *disk);
void start_queues(struct disk *disk, unsigned n);

/* It goes; and waits until the daemon knows: once for each disk. */
void hang_up(struct disk *disk);
void leave(struct disk *disk);

/* A pattern of its own is written, read back and found in its image. */
void check_works(struct disk *disk, uint64_t seed);

/* A connection on which the API has been asked for a path; what it says there, into `text`. */
int get(const char *path);
void ask(const char *path);

/* What it says of the disk. */
void ask_of(const struct disk *disk);

/* How many queues of the disk this worker serves. */
unsigned queues_on(const struct disk *disk, unsigned worker);

#endif

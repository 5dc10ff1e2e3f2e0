/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The disks of a process, by what operators call them: adding, replacing and removing them while
 * the others run. Control thread, but for what is said to be any thread's.
 */
#ifndef DISKS_DISKS_H
#define DISKS_DISKS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/mailbox.h"
#include "config/disk_options.h"
#include "disk/disk.h"
#include "disk/disk_config.h"
#include "disks/kept_options.h"

/* Who wants a disk. */
enum disks_origin {
	DISKS_COMMAND_LINE,
	DISKS_FILE,
	DISKS_API,
};

enum disks_state {
	DISKS_OPENING,
	DISKS_SERVED,
	DISKS_FAILED,  /* it could not be opened, or failed: served again when it is replaced */
	DISKS_ENDED,   /* a connection that was handed in is over */
	DISKS_LEAVING, /* it ends, and is replaced or removed then */
};

struct disks;

struct disks_entry {
	const char *id; /* its options' */
	struct disk_options *options;
	enum disks_origin origin;
	enum disks_state state;
	struct kept_options kept;          /* of the API's: `options`, or what is next */
	struct disk *disk;                 /* NULL: not open, and not being opened */
	int status;                        /* of one that has ended */
	char why[256];                     /* it has failed, in words; "": see the log */
	struct disk_options *next_options; /* of one that leaves: it is to be replaced; or NULL */
	const struct disk_options *coming; /* see disks_announce(); or NULL */
	struct call over;                  /* after it has ended */
	bool is_over;                      /* that was posted */
	struct disks *disks;
	struct disks_entry *next;
};

struct disks {
	const struct disk_process *process;
	void (*changed)(struct disks *disks); /* some disk's state, or there is one less */
	struct disks_entry *first;
	const char *api_path;          /* where no disk's socket may be; NULL: there is no API */
	bool stopping, leave_sessions; /* as disks_stop() said */
	pthread_mutex_t
		lock; /* of the list, which any thread may want to see when the process ends */
};

void disks_init(struct disks *disks, const struct disk_process *process,
		void (*changed)(struct disks *disks));

/* Destroys what is left, when the process ends: the sockets' paths first. */
void disks_destroy(struct disks *disks);

/* The disk of that name, or NULL. */
struct disks_entry *disks_find(const struct disks *disks, const char *id);

/* What a disk of these options is called: its id, or on the command line its image's file name. */
const char *disks_id_for(const struct disk_options *options);

/* What operators call the disk of this configuration. */
const char *disks_id_of(const struct disks *disks, const struct disk_config *config);

/* The same of the disk that keeps others, of which one has this image, from it; NULL: none does. */
const char *disks_holder_of(const struct disks *disks, const struct image *image);

/* What it is told, or will be once it is replaced. NULL: it leaves for good. */
static inline const struct disk_options *disks_wanted(const struct disks_entry *entry)
{
	return entry->state == DISKS_LEAVING ? entry->next_options : entry->options;
}

/* Is every disk open that is to be, or has failed? */
bool disks_are_settled(const struct disks *disks);

/*
 * Adds a disk, which begins to open. The options are taken over, whatever comes of it. 0 or -errno
 * with one line in `error`: -EEXIST (there is one of that name), -EADDRINUSE (another one, or
 * the API, has that socket), -EBUSY (the process ends), -ENOMEM.
 */
int disks_add(struct disks *disks, struct disk_options *options, enum disks_origin origin,
	      char *error, size_t size);

/*
 * Adds again the disks of the API that an earlier process had (disks/kept_options.h), unless there
 * is one of that name by now. What cannot be is logged, and forgotten.
 */
void disks_add_kept(struct disks *disks, const struct disk_host *host);

/*
 * Has a disk go on with other options. What is live changes at once; else it ends and is opened
 * again; one that has failed, also with the same. -EBUSY: a front-end is connected, or it is the
 * command line's. Else as disks_add().
 */
int disks_replace(struct disks_entry *entry, struct disk_options *options, char *error,
		  size_t size);

/*
 * Several disks are to be replaced, each by disks_replace(), and may want each other's sockets:
 * says first of all of them what is coming (the options stay the caller's; NULL: nothing), which
 * counts from then on when others ask whose socket it is. Returns false, and does nothing, for one
 * that cannot be replaced now, since a front-end is connected.
 */
bool disks_announce(struct disks_entry *entry, const struct disk_options *options);

/* Is there nobody whose socket is that of what was announced? */
bool disks_coming_is_free(const struct disks_entry *entry);

/* Removes a disk, when it has drained. -EBUSY, and nothing is done: a front-end is connected. */
int disks_remove(struct disks_entry *entry, bool force);

/*
 * All disks end, or leave their sessions to the next process; changed() when there is none left
 * (disks->first is NULL).
 */
void disks_stop(struct disks *disks, bool leave_sessions);

/* Each disk that is there: run() for all of them. */
void disks_each(struct disks *disks, void (*run)(struct disk *disk));

/* Unlinks all sockets, when the process ends. Any thread. */
void disks_unlink(struct disks *disks);

#endif

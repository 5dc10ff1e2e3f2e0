/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/kept.h. Control thread. */
#include "disk/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdstore.h"
#include "base/file_key.h"
#include "base/log.h"

#define MAGIC      "vublkd\n" /* 8 bytes */
#define VERSION    1u
#define DISK_MAX   1024 /* bytes of a disk's name */
#define SEALS      (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define LIBRARY_AT 4096 /* bytes */

/* The beginning of a session's memory. */
struct head {
	char magic[8];
	uint32_t version;
	char disk[DISK_MAX]; /* whose it is */
};

/* A descriptor that is kept. */
struct item {
	uint32_t ticket;
	struct file_key key; /* of what it is */
	int fd;              /* ours, while a session of an earlier process is taken over; or -1 */
};

struct kept {
	struct kept **owner;
	struct vublk_keeper keeper;
	struct kept *next;
	uint32_t session, last_ticket;
	struct head *head; /* the mapping; the library's part follows */
	struct item *item;
	unsigned n_items;
};

#define NAME_SIZE 32

static void name_of(char name[NAME_SIZE], const struct kept *kept, uint32_t ticket)
{
	snprintf(name, NAME_SIZE, "v.%" PRIx32 ".%" PRIx32, kept->session, ticket);
}

static size_t memory_size(void)
{
	return LIBRARY_AT + vublk_keeper_size();
}

/* ---- items ---- */

static struct item *add_item(struct kept *kept, uint32_t ticket)
{
	struct item *more = reallocarray(kept->item, kept->n_items + 1, sizeof(*more));

	if (!more)
		return NULL;
	kept->item = more;
	more[kept->n_items] = (struct item){.ticket = ticket, .fd = -1};
	if (ticket > kept->last_ticket)
		kept->last_ticket = ticket;
	return &more[kept->n_items++];
}

static void close_item(struct item *item)
{
	if (item->fd >= 0)
		close(item->fd);
	item->fd = -1;
}

/* Nothing can be done about a keeper that does not hear it: what is kept too long ends with him. */
static void forget_ticket(const struct kept *kept, uint32_t ticket)
{
	char name[NAME_SIZE];

	name_of(name, kept, ticket);
	fdstore_forget(name);
}

static struct item *find_item(struct kept *kept, uint32_t ticket)
{
	for (unsigned i = 0; i < kept->n_items; i++)
		if (kept->item[i].ticket == ticket)
			return &kept->item[i];
	return NULL;
}

/* ---- what the library asks ---- */

static int keep(void *opaque, int fd)
{
	struct kept *kept = opaque;
	struct file_key key;
	char name[NAME_SIZE];
	struct item *item;
	int err = file_key_get(fd, &key);

	if (err)
		return err;
	for (unsigned i = 0; i < kept->n_items; i++)
		if (file_key_equal(&kept->item[i].key, &key))
			return (int)kept->item[i].ticket;
	item = add_item(kept, kept->last_ticket + 1);
	if (!item)
		return -ENOMEM;
	item->key = key;
	name_of(name, kept, item->ticket);
	err = fdstore_keep(fd, name);
	if (err) {
		kept->n_items--;
		return err;
	}
	return (int)item->ticket;
}

static bool is_among(uint32_t what, const uint32_t *ticket, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (ticket[i] == what)
			return true;
	return false;
}

static void settle(void *opaque, const uint32_t *ticket, unsigned n)
{
	struct kept *kept = opaque;
	unsigned left = 0;

	for (unsigned i = 0; i < kept->n_items; i++) {
		close_item(&kept->item[i]);
		if (is_among(kept->item[i].ticket, ticket, n))
			kept->item[left++] = kept->item[i];
		else
			forget_ticket(kept, kept->item[i].ticket);
	}
	kept->n_items = left;
}

static int take(void *opaque, uint32_t ticket)
{
	struct kept *kept = opaque;
	struct item *item = find_item(kept, ticket);
	char name[NAME_SIZE];
	int err, fd;

	if (!item)
		return -ENOENT;
	if (item->fd < 0) {
		name_of(name, kept, ticket);
		item->fd = fdstore_take(name);
		if (item->fd < 0)
			return item->fd;
		err = file_key_get(item->fd, &item->key);
		if (err)
			return err;
	}
	fd = fcntl(item->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

static void release(struct kept *kept)
{
	for (unsigned i = 0; i < kept->n_items; i++)
		close_item(&kept->item[i]);
	if (kept->owner)
		*kept->owner = NULL;
	munmap(kept->head, memory_size());
	free(kept->item);
	free(kept);
}

void kept_end(struct kept *kept)
{
	if (!kept)
		return;
	for (unsigned i = 0; i < kept->n_items; i++)
		forget_ticket(kept, kept->item[i].ticket);
	forget_ticket(kept, 0);
	release(kept);
}

static void end(void *opaque)
{
	kept_end(opaque);
}

void kept_leave(struct kept *kept)
{
	if (kept)
		release(kept);
}

static struct kept *hand_out(struct kept *kept, struct kept **owner)
{
	kept->owner = owner;
	kept->keeper = (struct vublk_keeper){
		.memory = (uint8_t *)kept->head + LIBRARY_AT,
		.keep = keep,
		.settle = settle,
		.take = take,
		.end = end,
		.opaque = kept,
	};
	return kept;
}

const struct vublk_keeper *kept_keeper(const struct kept *kept)
{
	return &kept->keeper;
}

/* ---- a new one ---- */

static int map(struct kept *kept, int fd)
{
	kept->head = mmap(NULL, memory_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return kept->head == MAP_FAILED ? -errno : 0;
}

static int make_memory(struct kept *kept, const char *disk)
{
	char name[NAME_SIZE];
	int err = 0;
	const int fd = memfd_create("vublkd-session", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)memory_size()) || fcntl(fd, F_ADD_SEALS, SEALS))
		err = -errno;
	if (!err)
		err = map(kept, fd);
	if (!err) {
		kept->head->version = VERSION;
		strcpy(kept->head->disk, disk);
		memcpy(kept->head->magic, MAGIC, sizeof(kept->head->magic));
		name_of(name, kept, 0);
		err = fdstore_keep(fd, name);
		if (err)
			munmap(kept->head, memory_size());
	}
	close(fd);
	return err;
}

struct kept *kept_create(struct kept_sessions *sessions, const char *disk, struct kept **owner)
{
	struct kept *kept;
	int err;

	if (!sessions->on)
		return NULL;
	kept = calloc(1, sizeof(*kept));
	err = kept ? 0 : -ENOMEM;
	if (!err && strlen(disk) >= DISK_MAX)
		err = -ENAMETOOLONG;
	if (!err) {
		kept->session = ++sessions->last_session;
		err = make_memory(kept, disk);
	}
	if (err) {
		log_warning("%s: the session will end with this process, and not go on with the "
			    "next one: %s",
			    disk, strerror(-err));
		free(kept);
		return NULL;
	}
	return hand_out(kept, owner);
}

/* ---- those of an earlier process ---- */

/* Maps the memory of a session. What is wrong with it, in words; NULL: nothing. */
static const char *map_another(struct kept *kept, int fd)
{
	const int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	int err;

	if (fstat(fd, &st) || seals < 0 || (seals & SEALS) != SEALS)
		return "its memory is not what we made";
	if (st.st_size != (off_t)memory_size())
		return "it is of another version of vublkd";
	err = map(kept, fd);
	if (err)
		return strerror(-err);
	if (!memcmp(kept->head->magic, MAGIC, sizeof(kept->head->magic)) &&
	    kept->head->version == VERSION &&
	    strnlen(kept->head->disk, sizeof(kept->head->disk)) < sizeof(kept->head->disk))
		return NULL;
	munmap(kept->head, memory_size());
	return "it is damaged, or of another version of vublkd";
}

/* The numbers of a name; false: it is none of ours. */
static bool parse_name(const char *name, uint32_t *session, uint32_t *ticket)
{
	char again[NAME_SIZE];

	if (sscanf(name, "v.%8" SCNx32 ".%8" SCNx32, session, ticket) != 2)
		return false;
	snprintf(again, sizeof(again), "v.%" PRIx32 ".%" PRIx32, *session, *ticket);
	return !strcmp(name, again);
}

/* Of name v.SESSION.0: its memory. */
static void find_session(struct kept_sessions *sessions, uint32_t session, const char *name)
{
	struct kept *kept = calloc(1, sizeof(*kept));
	const int fd = fdstore_take(name);
	const char *wrong = !kept    ? strerror(ENOMEM)
			    : fd < 0 ? strerror(-fd)
				     : map_another(kept, fd);

	if (fd >= 0)
		close(fd);
	if (!wrong) {
		kept->session = session;
		kept->next = sessions->first;
		sessions->first = kept;
		return;
	}
	log_error("the session %s of an earlier process cannot go on: %s", name, wrong);
	fdstore_forget(name);
	free(kept);
}

/* Of name v.SESSION.TICKET. Without room for it that session finds that it is not there. */
static void find_ticket(const struct kept_sessions *sessions, uint32_t session, uint32_t ticket)
{
	struct kept *kept = sessions->first;

	while (kept && kept->session != session)
		kept = kept->next;
	if (kept)
		add_item(kept, ticket);
}

void kept_sessions_open(struct kept_sessions *sessions)
{
	uint32_t session, ticket;
	const char *name;

	*sessions = (struct kept_sessions){.on = fdstore_is_kept()};
	for (unsigned i = 0; (name = fdstore_name(i)); i++) {
		if (!parse_name(name, &session, &ticket))
			continue;
		if (session > sessions->last_session)
			sessions->last_session = session;
		if (!ticket)
			find_session(sessions, session, name);
	}
	for (unsigned i = 0; (name = fdstore_name(i)); i++)
		if (parse_name(name, &session, &ticket) && ticket)
			find_ticket(sessions, session, ticket);
}

struct kept *kept_take(struct kept_sessions *sessions, const char *disk, struct kept **owner)
{
	struct kept **at = &sessions->first, *kept;

	while (*at && strcmp((*at)->head->disk, disk) != 0)
		at = &(*at)->next;
	kept = *at;
	if (!kept)
		return NULL;
	*at = kept->next;
	kept->next = NULL;
	return hand_out(kept, owner);
}

void kept_sessions_drop_rest(struct kept_sessions *sessions)
{
	while (sessions->first) {
		struct kept *kept = sessions->first;

		sessions->first = kept->next;
		log_warning("%s: the session of an earlier process ends: the disk is not served",
			    kept->head->disk);
		kept_end(kept);
	}
	fdstore_drop_rest();
}

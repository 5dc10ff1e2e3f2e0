/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/listener.h. A thread that may wait opens; the signal thread may unlink. */
#include "disk/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/host_limits.h"
#include "base/log.h"

/* ---- a path ---- */

static int find_group(const char *name, gid_t *gid)
{
	struct group room, *group;
	char buffer
		[16384]; /* members that have no room are no error: it is the number that counts */
	char *end;
	unsigned long number;

	if (!getgrnam_r(name, &room, buffer, sizeof(buffer), &group) && group) {
		*gid = group->gr_gid;
		return 0;
	}
	errno = 0;
	number = strtoul(name, &end, 10);
	if (errno || *end || *name < '0' || *name > '9' || number >= UINT_MAX) {
		log_error("there is no group '%s' (--socket-group)", name);
		return -EINVAL;
	}
	*gid = (gid_t)number;
	return 0;
}

/*
 * Locks the socket's directory against another vublkd that is looking at the same path: between
 * finding a socket stale and removing it, nobody may put a live one there. Anybody can hold such
 * a lock for ever, so after a second we go on without, as other programs do. The descriptor, or
 * -1.
 */
static int lock_directory(const char *path)
{
	char copy[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const struct timespec pause = {.tv_nsec = 10000000};
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	for (unsigned i = 0; i < 100 && flock(fd, LOCK_EX | LOCK_NB); i++)
		nanosleep(&pause, NULL);
	return fd;
}

static int cannot(const char *do_what, const char *path, int err)
{
	log_error("cannot %s %s: %s%s", do_what, path, strerror(-err),
		  limits_advice(LIMITS_DESCRIPTOR, err));
	return err;
}

/* 0 if somebody listens on the socket, or may; else what connect(2) says, -ECONNREFUSED: nobody. */
static int try_connect(const struct sockaddr_un *addr)
{
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		err = -errno;
	close(fd);
	return err;
}

/* Removes a socket that nobody listens on. -EADDRINUSE, not logged, if somebody does. */
static int remove_stale(const struct sockaddr_un *addr)
{
	const char *path = addr->sun_path;
	struct stat st;
	int err;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : cannot("look for", path, -errno);
	if (!S_ISSOCK(st.st_mode)) {
		log_error(
			"%s exists and is not a socket; remove it, or choose another --socket-path",
			path);
		return -EEXIST;
	}
	err = try_connect(addr);
	if (err == -EACCES)
		return cannot("find out who uses", path, err);
	/* Connected, or -EAGAIN (its backlog is full), or a socket of another type. */
	if (err != -ECONNREFUSED)
		return -EADDRINUSE;
	if (unlink(path) && errno != ENOENT)
		return cannot("replace the stale socket", path, -errno);
	return 0;
}

/*
 * Gives the socket to the group. Whoever may write to the directory may have put something else in
 * its place meanwhile: no link is followed, and what is no socket is left alone.
 */
static int set_access(const char *path, gid_t gid, mode_t mode)
{
	const int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char place[64];
	struct stat st;
	int err = 0;

	if (fd < 0)
		return -errno;
	snprintf(place, sizeof(place), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) || !S_ISSOCK(st.st_mode))
		err = -EEXIST;
	else if (fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH) || chmod(place, mode))
		err = -errno;
	close(fd);
	return err;
}

/* The permissions hold from the first moment on: the mode is set before the name exists. */
static int bind_with_mode(int fd, const struct sockaddr_un *addr,
			  const struct listener_config *config)
{
	const mode_t mode = config->mode;
	static pthread_mutex_t masking = PTHREAD_MUTEX_INITIALIZER; /* the process has one mask */
	gid_t gid = (gid_t)-1;
	mode_t before;
	int err;

	if (config->group) {
		err = find_group(config->group, &gid);
		if (err)
			return err;
	}
	/* With a group of its own, nobody else gets in before the group is right. */
	pthread_mutex_lock(&masking);
	before = umask(~(config->group ? mode & 0700 : mode) & 0777);
	err = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;
	umask(before);
	pthread_mutex_unlock(&masking);
	if (!err && config->group) {
		err = set_access(addr->sun_path, gid, mode);
		if (err && err != -EEXIST)
			unlink(addr->sun_path);
	}
	return err ? cannot("make the socket", addr->sun_path, err) : 0;
}

/* It is the socket that lies there. */
static void take_place(struct listener *listener, const struct listener_config *config,
		       const struct stat *st)
{
	listener->path = config->path;
	listener->dev = st->st_dev;
	listener->ino = st->st_ino;
	listening_begin(&listener->listening, st, config->disk);
}

static int listen_at(struct listener *listener, const struct listener_config *config)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	int dir, err;

	/* cli/options.c has checked the length. */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", config->path);
	dir = lock_directory(addr.sun_path);
	err = remove_stale(&addr);
	if (!err) {
		listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		err = listener->fd < 0 ? cannot("make the socket", addr.sun_path, -errno)
				       : bind_with_mode(listener->fd, &addr, config);
	}
	if (!err && (listen(listener->fd, SOMAXCONN) || stat(addr.sun_path, &st)))
		err = cannot("listen on", addr.sun_path, -errno);
	if (dir >= 0)
		close(dir);
	if (err)
		return err;
	take_place(listener, config, &st);
	return 0;
}

/* Is it still there, where an earlier process has put it? Then it listens all the time. */
static bool go_on_listening(struct listener *listener, const struct listener_config *config, int fd)
{
	gid_t gid = (gid_t)-1;
	struct stat st;

	if (fd < 0 || lstat(config->path, &st) || !S_ISSOCK(st.st_mode) ||
	    (config->group && find_group(config->group, &gid)) ||
	    set_access(config->path, gid, config->mode))
		return false;
	listener->fd = fd;
	take_place(listener, config, &st);
	return true;
}

#define FIRST_PAUSE_MS 20u
#define LAST_PAUSE_MS  1000u /* each look is a connection to whoever is there */

static const char *find_user(const char *path, char who[LISTENING_WHO])
{
	return listening_find(path, who) ? who : "another process";
}

/*
 * A process that was killed accepts until its last I/O has ended, so one that is there is waited
 * for, like the image's lock. 0, -errno (logged), or -ECANCELED.
 */
static int listen_in_time(struct listener *listener, const struct listener_config *config,
			  const atomic_bool *stopping)
{
	const int64_t end = now_ns() + (int64_t)config->timeout * 1000000000;
	unsigned pause_ms = FIRST_PAUSE_MS;
	char who[LISTENING_WHO];
	int err;

	while ((err = listen_at(listener, config)) == -EADDRINUSE && now_ns() < end) {
		const struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000};

		if (stopping && atomic_load(stopping))
			return -ECANCELED;
		if (pause_ms == FIRST_PAUSE_MS)
			log_warning("%s is in use by %s; waiting up to %u s for it", config->path,
				    find_user(config->path, who), config->timeout);
		nanosleep(&pause, NULL);
		pause_ms = pause_ms * 2 < LAST_PAUSE_MS ? pause_ms * 2 : LAST_PAUSE_MS;
	}
	if (err == -EADDRINUSE)
		log_error("%s is in use by %s", config->path, find_user(config->path, who));
	return err;
}

/* ---- a descriptor ---- */

static int check_socket(struct listener *listener, int fd, const char *from)
{
	int listening;
	socklen_t size = sizeof(listening);
	int type;
	socklen_t type_size = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size)) {
		log_error("descriptor %d (%s) is not a socket: %s", fd, from, strerror(errno));
		return -EINVAL;
	}
	if (type != SOCK_STREAM || sd_is_socket(fd, AF_UNIX, SOCK_STREAM, -1) <= 0) {
		log_error("descriptor %d (%s) is not a Unix stream socket", fd, from);
		return -EINVAL;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	listener->fd = fd;
	listener->connected = !listening;
	return 0;
}

static int from_systemd(struct listener *listener)
{
	const int n = sd_listen_fds(1);

	if (n == 1)
		return check_socket(listener, SD_LISTEN_FDS_START, "from LISTEN_FDS");
	log_error("%d sockets in LISTEN_FDS; one was expected", n);
	return -EINVAL;
}

bool listener_is_named(const struct listener_config *config)
{
	if (config->path || config->fd >= 0 || sd_listen_fds(0) > 0)
		return true;
	log_error("no socket: give --socket-path or --fd, or use systemd socket activation");
	return false;
}

int listener_open(struct listener *listener, const struct listener_config *config, int kept,
		  const atomic_bool *stopping)
{
	int err;

	*listener = (struct listener){.fd = -1};
	if (config->path && go_on_listening(listener, config, kept))
		return 0;
	if (kept >= 0)
		close(kept);
	if (config->path)
		err = listen_in_time(listener, config, stopping);
	else if (config->fd >= 0)
		err = check_socket(listener, config->fd, "--fd");
	else
		err = from_systemd(listener);
	if (err)
		listener_close(listener);
	return err;
}

/* The directory that the path is in. false: there is none. */
static bool look_at_directory(const char *path, struct stat *st)
{
	char copy[sizeof(((struct sockaddr_un *)0)->sun_path)];

	snprintf(copy, sizeof(copy), "%s", path);
	return !stat(dirname(copy), st);
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool listener_is_same_path(const char *a, const char *b)
{
	struct stat st_a, st_b;

	if (!strcmp(a, b))
		return true;
	return !strcmp(last_part(a), last_part(b)) && look_at_directory(a, &st_a) &&
	       look_at_directory(b, &st_b) && st_a.st_dev == st_b.st_dev &&
	       st_a.st_ino == st_b.st_ino;
}

/* FNV-1a, on from `hash`. */
static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
	const unsigned char *byte = data;

	while (size--)
		hash = (hash ^ *byte++) * UINT64_C(0x100000001b3);
	return hash;
}

uint64_t listener_identity(const struct listener *listener)
{
	/* One byte more than the kernel fills, which ends a path that has no end of its own. */
	struct {
		struct sockaddr_un un;
		char end;
	} addr = {0};
	socklen_t size = sizeof(addr.un);
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	const char *path = addr.un.sun_path, *name;
	char copy[sizeof(addr.un.sun_path) + 1];
	struct stat st;

	if (getsockname(listener->fd, (struct sockaddr *)&addr.un, &size) ||
	    size <= offsetof(struct sockaddr_un, sun_path))
		return 0;
	size -= offsetof(struct sockaddr_un, sun_path);
	if (!*path) /* abstract: unix(7) */
		return mix(hash, path, size) | 1;
	name = strrchr(path, '/');
	name = name ? name + 1 : path;
	snprintf(copy, sizeof(copy), "%s", path);
	if (stat(dirname(copy), &st))
		return mix(hash, path, strlen(path)) | 1;
	hash = mix(hash, &st.st_dev, sizeof(st.st_dev));
	hash = mix(hash, &st.st_ino, sizeof(st.st_ino));
	return mix(hash, name, strlen(name)) | 1;
}

void listener_unlink(struct listener *listener)
{
	const char *path = atomic_exchange(&listener->path, NULL);
	struct stat st;

	if (path && !stat(path, &st) && st.st_dev == listener->dev && st.st_ino == listener->ino)
		unlink(path);
}

void listener_leave(struct listener *listener)
{
	atomic_store(&listener->path, NULL);
}

void listener_close(struct listener *listener)
{
	listener_unlink(listener);
	listening_end(&listener->listening);
	if (listener->fd >= 0)
		close(listener->fd);
	listener->fd = -1;
}

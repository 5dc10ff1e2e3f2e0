/* SPDX-License-Identifier: BSD-3-Clause */
/* See tests/proto/disks.h. */
#include "tests/proto/disks.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SIZE (4 * MIB)

struct disk disks[4];
char text[64 * 1024];
char api[300];

/* ---- files ---- */

void tell(const struct disk *disk, const char *more)
{
	char tmp[420];
	FILE *file;

	/* As an operator's tools do it: never half a file. */
	snprintf(tmp, sizeof(tmp), "%s.new", disk->conf);
	file = fopen(tmp, "w");
	REQUIRE(file);
	fprintf(file, "# a disk\nblk-file = %s\nsocket-path = %s\n%s", disk->image, disk->socket,
		more);
	REQUIRE(!fclose(file) && !rename(tmp, disk->conf));
}

void disks_setup(void)
{
	char conf[300];

	proto_setup();
	snprintf(conf, sizeof(conf), "%s/conf", dir);
	REQUIRE(!mkdir(conf, 0700));
	for (unsigned i = 0; i < 4; i++) {
		struct disk *disk = &disks[i];

		snprintf(disk->id, sizeof(disk->id), "d%u", i);
		snprintf(disk->image, sizeof(disk->image), "%s/d%u.img", dir, i);
		REQUIRE(snprintf(disk->socket, sizeof(disk->socket), "%s/d%u.sock", dir, i) <
			(int)sizeof(disk->socket));
		snprintf(disk->conf, sizeof(disk->conf), "%s/d%u.conf", conf, i);
		REQUIRE_OK(fe_image_make(disk->image, SIZE));
	}
}

/* ---- the daemon ---- */

void start_with(const char *option)
{
	static char conf[320], api_option[320];
	const char *const args[] = {conf, "--log-level=debug", option, api_option, NULL};

	needs_vublkd();
	snprintf(conf, sizeof(conf), "--config-dir=%s/conf", dir);
	snprintf(api, sizeof(api), "%s/api", dir);
	snprintf(api_option, sizeof(api_option), "--api-socket=%s", api);
	REQUIRE_OK(fe_daemon_spawn(&server, args, NULL, NULL));
	/* Then it hears signals, and is asked. */
	REQUIRE_OK(fe_daemon_await_log(&server, " disks, "));
	REQUIRE_OK(fe_daemon_await_log(&server, "the API is at "));
}

void start(void)
{
	start_with("--num-workers=1");
}

bool listens(const struct disk *disk)
{
	struct stat st;

	return !stat(disk->socket, &st) && S_ISSOCK(st.st_mode);
}

static int look_whether_listens(void *disk)
{
	return listens(disk);
}

static int look_whether_not(void *disk)
{
	return !listens(disk);
}

void await_listening(struct disk *disk, bool wanted)
{
	REQUIRE(fe_wait_for(wanted ? look_whether_listens : look_whether_not, disk,
			    fe_deadline(FE_TIMEOUT_MS)) > 0);
}

void reload(void)
{
	REQUIRE(!kill(server.pid, SIGHUP));
}

void await_log(const char *what)
{
	REQUIRE_OK(fe_daemon_await_log(&server, what));
}

bool log_has(const char *what)
{
	fe_daemon_stderr(&server, text, sizeof(text));
	return strstr(text, what);
}

/* ---- front-ends ---- */

void connect_to(struct disk *disk)
{
	await_listening(disk, true);
	REQUIRE_OK(fe_dev_start(&disk->dev, disk->socket, NULL));
	REQUIRE_OK(fe_blk_init(&disk->blk, &disk->dev, 0, 4, SLOT_SIZE));
}

static int look_whether_gone(void *disk)
{
	char gone[64], disconnected[64];

	snprintf(gone, sizeof(gone), "%s: the front-end has gone", ((struct disk *)disk)->id);
	snprintf(disconnected, sizeof(disconnected), "%s: the front-end is disconnected",
		 ((struct disk *)disk)->id);
	return log_has(gone) || log_has(disconnected);
}

void hang_up(struct disk *disk)
{
	fe_blk_free(&disk->blk);
	fe_dev_close(&disk->dev);
}

void leave(struct disk *disk)
{
	hang_up(disk);
	REQUIRE(fe_wait_for(look_whether_gone, disk, fe_deadline(FE_TIMEOUT_MS)) > 0);
}

void check_works(struct disk *disk, uint64_t seed)
{
	static uint8_t data[4096], found[4096];

	fe_pattern(data, 0, sizeof(data), seed);
	REQUIRE_EQ(fe_blk_write(&disk->blk, 8, data, sizeof(data)), 0);
	REQUIRE_EQ(fe_blk_read(&disk->blk, 8, found, sizeof(found)), 0);
	CHECK(!memcmp(data, found, sizeof(data)));
	REQUIRE_OK(fe_image_read(disk->image, 4096, found, sizeof(found)));
	CHECK(!memcmp(data, found, sizeof(data)));
}

/* ---- what the API says ---- */

int get(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	REQUIRE(snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", api) <
		(int)sizeof(addr.sun_path));
	REQUIRE(!connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
	REQUIRE(dprintf(fd, "GET %s HTTP/1.0\r\n\r\n", path) > 0);
	return fd;
}

void ask(const char *path)
{
	const int fd = get(path);
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	close(fd);
	REQUIRE(strstr(text, "200 OK"));
}

void ask_of(const struct disk *disk)
{
	char path[32];

	snprintf(path, sizeof(path), "/v1/disks/%s", disk->id);
	ask(path);
}

unsigned queues_on(const struct disk *disk, unsigned worker)
{
	char what[32];
	unsigned n = 0;

	snprintf(what, sizeof(what), "/v1/disks/%s", disk->id);
	ask(what);
	snprintf(what, sizeof(what), "\"worker\": %u,", worker);
	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

void start_queues(struct disk *disk, unsigned n)
{
	await_listening(disk, true);
	REQUIRE_OK(fe_dev_start(&disk->dev, disk->socket, &(struct fe_dev_options){.n_queues = n}));
	REQUIRE_OK(fe_blk_init(&disk->blk, &disk->dev, 0, 4, SLOT_SIZE));
}

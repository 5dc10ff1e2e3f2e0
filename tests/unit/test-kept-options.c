/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * src/disks/kept_options.c: what is kept comes back the same, and what is none of ours, damaged, or
 * not to be followed is told and passed over. The keeper is a socket of the test's own.
 */
#include "disks/kept_options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fdstore.h"
#include "disk/kept.h"
#include "disk/kept_socket.h"
#include "tests/tap.h"
#include "tests/unit/support/capture.h"
#include "tests/unit/support/kept-fds.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

#define PLACE_AT  4096
#define TEXT_MOST (256u << 10)

static const struct disk_host host = {.many = true, .num_workers = 2};

static char names[256]; /* of those that come */
static int n_come;

/* What came back. */
static struct disk_options *back[KEPT_FDS];
static struct kept_options back_kept[KEPT_FDS];
static unsigned n_back;

static void setup(void)
{
	kept_fds_setup();
	REQUIRE_OK(fdstore_open());
	*names = '\0';
	n_come = 0;
}

static void teardown(void)
{
	fdstore_drop_rest();
	while (n_back)
		disk_options_destroy(back[--n_back]);
	kept_fds_teardown();
}

/* ---- what comes from an earlier process ---- */

static void comes(int fd, const char *name)
{
	kept_fds_place(n_come++, fd);
	snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", *names ? ":" : "",
		 name);
}

/* As src/disks/kept_options.c has it. */
struct head {
	char magic[12];
	uint32_t version, size[2], current;
};

static const struct head right = {.magic = "vublkd-disk", .version = 1};

/* A file with this text, not at a descriptor where others are to come. */
static int file_of(struct head head, const void *text, size_t size, int seals)
{
	const int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	const int high = fcntl(fd, F_DUPFD_CLOEXEC, 100);

	if (!head.size[0])
		head.size[0] = (uint32_t)size;
	REQUIRE(high >= 0 && !ftruncate(high, PLACE_AT + 2 * TEXT_MOST));
	REQUIRE(pwrite(high, &head, sizeof(head), 0) == sizeof(head));
	REQUIRE(pwrite(high, text, size, PLACE_AT) == (ssize_t)size);
	REQUIRE_OK(fcntl(high, F_ADD_SEALS, seals));
	close(fd);
	return high;
}

#define COMES(bytes, name) comes(file_of(right, bytes, sizeof(bytes), SEALS), name)

static void take_back(void *opaque, struct disk_options *options, struct kept_options kept)
{
	(void)opaque;
	REQUIRE(n_back < KEPT_FDS);
	back[n_back] = options;
	back_kept[n_back++] = kept;
}

/* Another process begins. */
static void begin(void)
{
	kept_fds_come(n_come, names);
	REQUIRE_OK(fdstore_open());
	kept_options_each(&host, take_back, NULL);
}

static const char *value(const struct disk_options *options, const char *name)
{
	return options->text[disk_options_find(name)];
}

/* ---- cases ---- */

static struct disk_options *make(const char *id, const char *serial)
{
	const char *text[DISK_OPTIONS_MAX] = {0};
	struct disk_options *options;
	char error[256];

	text[disk_options_find("blk-file")] = "/a path/\xff\n=\"image";
	text[disk_options_find("socket-path")] = "/run/s";
	text[disk_options_find("serial")] = serial;
	text[disk_options_find("iops-total")] = "100";
	text[disk_options_find("read-only")] = "true";
	REQUIRE_OK(disk_options_create(&options, id, text, &host, error, sizeof(error)));
	return options;
}

/* Has it kept for the first time: a copy of the descriptor, as the keeper has it, and its name. */
static int keep_first(struct kept_options *kept, const struct disk_options *options, char name[64])
{
	int high;

	kept_options_keep(kept, options);
	CHECK(kept->number);
	REQUIRE(kept_fds_receive() && kept_attached >= 0 &&
		sscanf(kept_text, "FDSTORE=1\nFDPOLL=0\nFDNAME=%63s", name) == 1);
	high = fcntl(kept_attached, F_DUPFD_CLOEXEC, 100);
	close(kept_attached);
	return high;
}

static void what_is_kept_comes_back(void)
{
	struct disk_options *before = make("d.1", "a serial"), *options = make("d.1", "another");
	struct kept_options kept = {0};
	unsigned changed[DISK_OPTIONS_MAX];
	char name[64];
	const int fd = keep_first(&kept, before, name);

	/* A change takes no descriptor more, and no word with the keeper. */
	kept_options_keep(&kept, before);
	kept_options_keep(&kept, options);
	CHECK(!kept_fds_receive());
	comes(fd, name);
	begin();
	REQUIRE_EQ(n_back, 1);
	CHECK(!strcmp(back[0]->id, "d.1"));
	CHECK_EQ(disk_options_compare(back[0], options, changed), 0);
	CHECK_EQ(back_kept[0].number, kept.number);
	/* It stays kept until it is said. */
	CHECK_EQ(fdstore_drop_rest(), 0);
	CHECK(!kept_fds_receive());
	kept_options_leave(&kept);
	CHECK_EQ(kept.number, 0);
	CHECK(!kept_fds_receive());
	kept_options_forget(&back_kept[0]);
	REQUIRE(kept_fds_receive());
	CHECK_EQ(kept_attached, -1);
	CHECK(!strncmp(kept_text, "FDSTOREREMOVE=1\n", 16) && strstr(kept_text, name));
	CHECK_EQ(back_kept[0].number, 0);
	kept_options_forget(&back_kept[0]);
	CHECK(!kept_fds_receive());
	disk_options_destroy(before);
	disk_options_destroy(options);
}

/* Who is killed while he writes has not said yet that it holds. */
static void half_a_change_is_none(void)
{
	struct disk_options *options = make("d", "a serial");
	struct kept_options kept = {0};
	unsigned changed[DISK_OPTIONS_MAX];
	static char rubbish[TEXT_MOST];
	char name[64];
	const int fd = keep_first(&kept, options, name);
	struct head head;

	REQUIRE(pread(fd, &head, sizeof(head), 0) == sizeof(head) && head.current < 2);
	memset(rubbish, 'x', sizeof(rubbish));
	REQUIRE(pwrite(fd, rubbish, sizeof(rubbish), PLACE_AT + (off_t)!head.current * TEXT_MOST) ==
		sizeof(rubbish));
	head.size[!head.current] = UINT32_MAX;
	REQUIRE(pwrite(fd, &head, sizeof(head), 0) == sizeof(head));
	comes(fd, name);
	begin();
	REQUIRE_EQ(n_back, 1);
	CHECK_EQ(disk_options_compare(back[0], options, changed), 0);
	kept_options_leave(&back_kept[0]);
	/* The next change goes where that was. */
	kept_options_keep(&kept, options);
	REQUIRE(pread(kept.fd, &head, sizeof(head), 0) == sizeof(head));
	CHECK(head.size[head.current] < 200);
	kept_options_leave(&kept);
	disk_options_destroy(options);
}

#define DISK(id, path) id "\0blk-file\0" path "\0socket-path\0/s"

static void leave_all(void)
{
	for (unsigned i = 0; i < n_back; i++)
		kept_options_leave(&back_kept[i]);
}

static void order_is_that_of_numbers(void)
{
	COMES(DISK("b", "/b"), "v.o.10");
	COMES(DISK("a", "/a"), "v.o.f");
	begin();
	REQUIRE_EQ(n_back, 2);
	CHECK(!strcmp(back[0]->id, "a"));
	CHECK(!strcmp(back[1]->id, "b"));
	CHECK(!strcmp(value(back[1], "blk-file"), "/b"));
	leave_all();
}

/* One keeper has them all: what is a disk's is no session's, and the other way round. */
static void names_are_nobody_else_s(void)
{
	static const char *const others[] = {"v.d.1", "v.1.0", "v.l.1"};
	struct kept_sessions sessions;
	struct kept_sockets sockets;

	for (unsigned i = 0; i < 3; i++)
		COMES(DISK("a", "/a"), others[i]);
	COMES(DISK("a", "/a"), "v.o.1");
	capture_begin(STDERR_FILENO);
	begin();
	capture_end();
	CHECK_EQ(n_back, 1);
	leave_all();
	fdstore_drop_rest();
	n_come = 0;
	*names = '\0';
	COMES(DISK("a", "/a"), "v.o.1");
	begin();
	leave_all();
	kept_sessions_open(&sessions);
	kept_sockets_open(&sockets);
	CHECK(!sessions.first && !sessions.last_session && !sockets.last);
}

/* Numbers go on after the largest that there was. */
static void numbers_are_new(void)
{
	struct disk_options *options = make("c", "1");
	struct kept_options kept = {0};

	COMES(DISK("a", "/a"), "v.o.100");
	begin();
	kept_options_keep(&kept, options);
	CHECK_EQ(kept.number, 0x101);
	REQUIRE(kept_fds_receive());
	close(kept_attached);
	kept_options_leave(&kept);
	leave_all();
	disk_options_destroy(options);
}

static void what_cannot_be_followed_is_told(void)
{
	const char *said;

	COMES("a\0blk-file\0/a\0socket-path\0/s\0of-tomorrow\0true", "v.o.1");
	COMES("b\0blk-file\0/b\0socket-path\0/s\0serial", "v.o.2");
	COMES(DISK("c", "/c") "\0workers\0"
			      "9",
	      "v.o.3");
	COMES(DISK("d", "/d"), "v.o.4");
	capture_begin(STDERR_FILENO);
	begin();
	said = capture_end();
	CHECK(strstr(said, "a: the disk of an earlier process cannot be served: this "
			   "vublkd knows no option 'of-tomorrow'"));
	CHECK(strstr(said, "b: the disk"));
	CHECK(strstr(said, "c: the disk"));
	REQUIRE_EQ(n_back, 1);
	CHECK(!strcmp(back[0]->id, "d"));
	CHECK_EQ(fdstore_drop_rest(), 3);
	leave_all();
}

/* One that is wrong, alone: it is told, and left. */
static void check_damaged(struct head head, size_t size, int seals, unsigned line)
{
	static const char whole[] = DISK("a", "/a");
	const char *said;

	n_come = 0;
	*names = '\0';
	comes(file_of(head, whole, size ? size : sizeof(whole), seals), "v.o.1");
	capture_begin(STDERR_FILENO);
	begin();
	said = capture_end();
	if (!strstr(said, "the disk v.o.1 of an earlier process") || n_back)
		tap_diag("line %u: it was taken", line);
	CHECK(strstr(said, "the disk v.o.1 of an earlier process"));
	CHECK_EQ(n_back, 0);
	CHECK_EQ(fdstore_drop_rest(), 1);
}

static void what_is_damaged_is_told(void)
{
	struct head head = right;

	check_damaged(right, 0, SEALS & ~F_SEAL_SHRINK & ~F_SEAL_SEAL, __LINE__);
	check_damaged(right, sizeof(DISK("a", "/a")) - 1, SEALS, __LINE__); /* without its end */
	head.version++;
	check_damaged(head, 0, SEALS, __LINE__);
	head = right;
	head.magic[0]++;
	check_damaged(head, 0, SEALS, __LINE__);
	head = right;
	head.current = 1; /* where nothing is */
	check_damaged(head, 0, SEALS, __LINE__);
	head.current = 2;
	check_damaged(head, 0, SEALS, __LINE__);
	head = right;
	head.size[0] = TEXT_MOST + 1;
	check_damaged(head, 0, SEALS, __LINE__);
}

static void names_are_checked(void)
{
	const char *said;

	COMES("", "v.o.1");
	COMES(DISK("../a", "/a"), "v.o.2");
	COMES(DISK("", "/a"), "v.o.3");
	COMES(DISK("a", "/a"), "v.o.04");
	capture_begin(STDERR_FILENO);
	begin();
	said = capture_end();
	CHECK_EQ(n_back, 0);
	CHECK(!strstr(said, "v.o.04"));
}

static void without_a_keeper_nothing_is_kept(void)
{
	struct disk_options *options = make("a", "1");
	struct kept_options kept = {0};

	unsetenv("FDSTORE");
	REQUIRE_OK(fdstore_open());
	kept_options_keep(&kept, options);
	CHECK_EQ(kept.number, 0);
	CHECK(!kept_fds_receive());
	disk_options_destroy(options);
}

static const struct tap_case cases[] = {
	{"what_is_kept_comes_back", what_is_kept_comes_back},
	{"half_a_change_is_none", half_a_change_is_none},
	{"names_are_nobody_else_s", names_are_nobody_else_s},
	{"order_is_that_of_numbers", order_is_that_of_numbers},
	{"numbers_are_new", numbers_are_new},
	{"what_cannot_be_followed_is_told", what_cannot_be_followed_is_told},
	{"what_is_damaged_is_told", what_is_damaged_is_told},
	{"names_are_checked", names_are_checked},
	{"without_a_keeper_nothing_is_kept", without_a_keeper_nothing_is_kept},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "kept options", .setup = setup, .teardown = teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}

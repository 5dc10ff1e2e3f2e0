/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/vhu: the messages of a migration, and which rings mark what they write because of them. */
#include "tests/unit/support/session.h"

#include "lib/vhu/dev.h"

#define BIT(n)   (1ull << (n))
#define LOG_SIZE 4096u /* bytes; that is 128 MiB of guest memory */
#define LOGGING  (SESSION_FEATURES | BIT(VHU_F_LOG_ALL))

static uint8_t *marks;
static int file = -1;

static void make_file(void)
{
	file = fd_memory(2 * LOG_SIZE);
	marks = mmap(NULL, 2 * LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	REQUIRE(marks != MAP_FAILED);
}

static void setup(void)
{
	session_open_running();
	make_file();
}

static void setup_prepared(void)
{
	session_open_prepared();
	make_file();
}

static void teardown(void)
{
	session_close();
	munmap(marks, 2 * LOG_SIZE);
	close(file);
}

static int tell_log(uint64_t size, uint64_t offset)
{
	const struct vhu_log log = {size, offset};

	return session_tell(VHU_SET_LOG_BASE, &log, sizeof(log), &file, 1);
}

/* Bits set in the log's half 0 or 1. */
static unsigned n_marks(unsigned half)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LOG_SIZE; i++)
		n += (unsigned)__builtin_popcount(marks[half * LOG_SIZE + i]);
	return n;
}

static void forget_marks(void)
{
	memset(marks, 0, 2 * LOG_SIZE);
}

/* Serves a request of one byte, to be written at 16 pages; does that leave a mark? */
static bool serves_with_mark(void)
{
	const struct fe_seg seg = {.addr = 0x10000, .len = 1, .write = true};
	struct vublk_queue *queue = session.queue[0];
	struct vublk_chain chain;
	struct fe_used used;
	struct iovec iov[2];

	forget_marks();
	vublk_chain_init(&chain, iov, 2);
	REQUIRE(fe_vq_add(&session.ring, &seg, 1, NULL) >= 0);
	fe_vq_publish(&session.ring);
	REQUIRE_EQ(vublk_queue_pop(queue, &chain), 1);
	vublk_queue_push(queue, &chain, 1);
	vublk_queue_publish(queue);
	REQUIRE_EQ(fe_vq_reap(&session.ring, &used), 1);
	if (!n_marks(0) && !n_marks(1))
		return false;
	CHECK_EQ((marks[2] | marks[LOG_SIZE + 2]) & 1, 1);
	return true;
}

/* As QEMU does when a migration begins: log, features, addresses; and when it ends. */
static void logging_comes_and_goes_while_the_ring_runs(void)
{
	CHECK(!serves_with_mark());
	CHECK_EQ(tell_log(LOG_SIZE, 0), 0);
	session_check("");
	CHECK(!serves_with_mark());
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, LOGGING), 0);
	session_check("update0 ");
	CHECK(n_marks(0)); /* the ring */
	CHECK(serves_with_mark());
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, LOGGING), 0);
	session_check("");
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, SESSION_FEATURES), 0);
	session_check("update0 ");
	CHECK(!serves_with_mark());
}

static void another_log_takes_its_place(void)
{
	CHECK_EQ(tell_log(LOG_SIZE, 0), 0);
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, LOGGING), 0);
	CHECK(serves_with_mark());
	CHECK(n_marks(0) && !n_marks(1));
	CHECK_EQ(tell_log(LOG_SIZE, LOG_SIZE), 0);
	CHECK(n_marks(1)); /* the ring */
	CHECK(serves_with_mark());
	CHECK(!n_marks(0) && n_marks(1));
}

/* The answer says that the old log is not written any more. */
static void answer_comes_after_the_ring_s(void)
{
	const struct vhu_log log = {LOG_SIZE, 0};
	struct fe_msg reply;

	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, LOGGING), 0);
	session.later = true;
	CHECK_EQ(session_send(VHU_SET_LOG_BASE, 0, &log, sizeof(log), &file, 1), 1);
	CHECK(session_is_quiet());
	session_answer(0);
	REQUIRE_OK(fe_recv(&session.peer, &reply));
	CHECK_EQ(reply.header.request, VHU_SET_LOG_BASE);
	CHECK_EQ(reply.header.flags, VHU_VERSION | VHU_FLAG_REPLY);
	CHECK_EQ(reply.header.size, 8);
	CHECK_EQ(reply.payload.u64, 0);
	session.later = false;
}

static void bad_log_is_refused_and_the_old_one_stays(void)
{
	const struct vhu_log log = {LOG_SIZE, 2 * LOG_SIZE};

	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, LOGGING), 0);
	CHECK_EQ(tell_log(LOG_SIZE, 0), 0);
	CHECK_EQ(tell_log(0, 0), 1);
	CHECK_EQ(tell_log(2 * LOG_SIZE + 1, 0), 1);
	CHECK_EQ(tell_log(LOG_SIZE, UINT64_MAX), 1);
	CHECK(serves_with_mark());
	/* Who does not ask for an ack does not look at the reply, and would lose the guest. */
	CHECK(session_send(VHU_SET_LOG_BASE, 0, &log, sizeof(log), &file, 1) < 0);
}

/* A ring's own flag says so, too; the addresses are as they were. */
static void ring_marks_by_its_own_flag(void)
{
	struct vhu_vring_addr addr = {
		.index = 0,
		.flags = VHU_VRING_ADDR_F_LOG,
		.desc = fe_user_addr(&session.mem, session.ring.desc_gpa),
		.avail = fe_user_addr(&session.mem, session.ring.avail_gpa),
		.used = fe_user_addr(&session.mem, session.ring.used_gpa),
		.log = session.ring.used_gpa,
	};

	CHECK_EQ(tell_log(LOG_SIZE, 0), 0);
	CHECK_EQ(session_tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	session_check("update0 ");
	CHECK(serves_with_mark());
	addr.flags = 0;
	addr.log = UINT64_MAX; /* User-mode Linux */
	CHECK_EQ(session_tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 0);
	session_check("update0 ");
	CHECK(!serves_with_mark());
	addr.desc += 16;
	CHECK_EQ(session_tell(VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0), 1);
}

/* QEMU reconnects in the middle of a migration: features first, the log last. */
static void ring_that_starts_while_logging(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, LOGGING), 0);
	CHECK_EQ(tell_log(LOG_SIZE, 0), 0);
	CHECK_EQ(n_marks(0), 0);
	CHECK_EQ(session_tell_fd(VHU_SET_VRING_KICK, 0, session.ring.kick_fd), 0);
	CHECK_EQ(session_tell_state(VHU_SET_VRING_ENABLE, 0, 1), 0);
	session_check("start0 ");
	CHECK(n_marks(0)); /* the ring */
	CHECK(n_marks(0) < 8);
	CHECK(serves_with_mark());
}

/* What was written before there was a log is not known: everything is marked. */
static void log_that_comes_late(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, LOGGING), 0);
	CHECK(!serves_with_mark());
	CHECK_EQ(tell_log(LOG_SIZE, 0), 0);
	CHECK_EQ(n_marks(0), SESSION_MEMORY / 4096);
	CHECK(serves_with_mark());
	forget_marks();
	CHECK_EQ(tell_log(LOG_SIZE, LOG_SIZE), 0);
	CHECK(n_marks(1) < 8);
}

static void reset_keeps_the_log(void)
{
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, LOGGING), 0);
	CHECK_EQ(tell_log(LOG_SIZE, 0), 0);
	CHECK_EQ(session_tell(VHU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
	CHECK(session.dev->log != NULL);
	CHECK_EQ(session.dev->session->has_log, 1);
	CHECK_EQ(session.dev->session->features, 0);
}

static void descriptor_is_signalled(void)
{
	const int fd = fd_event(), first = fd_event();
	const int rubbish = open("/dev/null", O_RDWR | O_CLOEXEC);

	CHECK_EQ(session_tell(VHU_SET_LOG_FD, NULL, 0, &rubbish, 1), 1);
	CHECK_EQ(session_tell(VHU_SET_LOG_FD, NULL, 0, &first, 1), 0);
	CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, LOGGING), 0);
	CHECK_EQ(tell_log(LOG_SIZE, 0), 0);
	CHECK(serves_with_mark());
	CHECK(fd_take_events(first));
	CHECK_EQ(session_tell(VHU_SET_LOG_FD, NULL, 0, &fd, 1), 0);
	CHECK(serves_with_mark());
	CHECK(fd_take_events(fd));
	close(fd);
	close(first);
	close(rubbish);
}

static void nothing_stays_open(void)
{
	const unsigned before = fds_open();

	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(tell_log(LOG_SIZE, 0), 0);
		CHECK_EQ(session_tell(VHU_SET_LOG_FD, NULL, 0, &session.ring.kick_fd, 1), 0);
		CHECK_EQ(session_tell_u64(VHU_SET_FEATURES, i % 2 ? SESSION_FEATURES : LOGGING), 0);
	}
	CHECK_EQ(fds_open(), before + 3); /* the log's, its own of the signal, and ours */
}

int main(int argc, char **argv)
{
	static const struct tap_case prepared[] = {
		{"ring_that_starts_while_logging", ring_that_starts_while_logging},
		{0},
	};
	static const struct tap_case running[] = {
		{"logging_comes_and_goes_while_the_ring_runs",
		 logging_comes_and_goes_while_the_ring_runs},
		{"another_log_takes_its_place", another_log_takes_its_place},
		{"answer_comes_after_the_ring_s", answer_comes_after_the_ring_s},
		{"bad_log_is_refused_and_the_old_one_stays",
		 bad_log_is_refused_and_the_old_one_stays},
		{"ring_marks_by_its_own_flag", ring_marks_by_its_own_flag},
		{"log_that_comes_late", log_that_comes_late},
		{"reset_keeps_the_log", reset_keeps_the_log},
		{"descriptor_is_signalled", descriptor_is_signalled},
		{"nothing_stays_open", nothing_stays_open},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "log prepared",
		 .setup = setup_prepared,
		 .teardown = teardown,
		 .cases = prepared},
		{.name = "log running", .setup = setup, .teardown = teardown, .cases = running},
		{0},
	};

	return tap_main(argc, argv, suites);
}

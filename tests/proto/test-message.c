/* SPDX-License-Identifier: BSD-3-Clause */
/* The messages that are not about memory or rings: what each answers, and what it refuses. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define F_RING_RESET  40
#define F_RING_PACKED 34

static void expected_features_are_offered(void)
{
	uint64_t want = FE_BIT(VIRTIO_BLK_F_SEG_MAX) | FE_BIT(VIRTIO_BLK_F_BLK_SIZE) |
			FE_BIT(VIRTIO_BLK_F_TOPOLOGY) | FE_BIT(VIRTIO_BLK_F_FLUSH) |
			FE_BIT(VIRTIO_BLK_F_CONFIG_WCE) | FE_BIT(VIRTIO_BLK_F_MQ) |
			FE_BIT(VIRTIO_BLK_F_DISCARD) | FE_BIT(VIRTIO_BLK_F_WRITE_ZEROES) |
			FE_BIT(VIRTIO_RING_F_INDIRECT_DESC) | FE_BIT(VIRTIO_RING_F_EVENT_IDX) |
			FE_BIT(VHU_F_PROTOCOL_FEATURES) | FE_BIT(VIRTIO_F_VERSION_1);

	serve(MIB);
	greet();
	CHECK_EQ(dev.offered & want, want);
	CHECK(!(dev.offered & FE_BIT(VIRTIO_BLK_F_RO)));
	CHECK(!(dev.offered & FE_BIT(F_RING_RESET)));
}

static void expected_protocol_features_are_offered(void)
{
	const uint64_t want = FE_DEV_PROTOCOL | FE_DEV_PROTOCOL_INFLIGHT |
			      FE_BIT(VHU_PROTOCOL_F_INBAND_NOTIFICATIONS);

	needs_vublkd();
	serve(MIB);
	greet();
	CHECK_EQ(dev.protocol_offered & want, want);
}

static void features_not_offered_are_refused(void)
{
	static const unsigned int known[] = {VIRTIO_BLK_F_RO, F_RING_RESET, F_RING_PACKED};

	needs_vublkd();
	serve(MIB);
	greet();
	for (unsigned int i = 0; i < 3; i++)
		if (!(dev.offered & FE_BIT(known[i])))
			CHECK_EQ(fe_tell_u64(&dev.conn, VHU_SET_FEATURES,
					     dev.features | FE_BIT(known[i])),
				 FE_REFUSED);
	CHECK_OK(fe_tell_u64(&dev.conn, VHU_SET_FEATURES, dev.features));
	/* QEMU's own bits, NOTIFY_ON_EMPTY and ANY_LAYOUT, come along and mean nothing here. */
	CHECK_OK(fe_tell_u64(&dev.conn, VHU_SET_FEATURES, dev.features | FE_BIT(24) | FE_BIT(27)));
	check_serves();
}

static void features_not_offered_end_an_unacknowledged_connection(void)
{
	needs_vublkd();
	serve(MIB);
	greet(.protocol_off = FE_BIT(VHU_PROTOCOL_F_REPLY_ACK));
	CHECK_OK(fe_tell_u64(&dev.conn, VHU_SET_FEATURES, dev.features | FE_BIT(F_RING_RESET)));
	CHECK_OK(fe_wait_closed(&dev.conn));
	check_serves();
}

static void protocol_features_not_offered_are_refused(void)
{
	needs_vublkd();
	serve(MIB);
	greet();
	CHECK_EQ(fe_tell_u64(&dev.conn, VHU_SET_PROTOCOL_FEATURES,
			     dev.protocol | FE_BIT(VHU_PROTOCOL_F_CRYPTO_SESSION)),
		 FE_REFUSED);
	CHECK_EQ(fe_tell_u64(&dev.conn, VHU_SET_PROTOCOL_FEATURES, dev.protocol | FE_BIT(60)),
		 FE_REFUSED);
	CHECK_OK(fe_tell_u64(&dev.conn, VHU_SET_PROTOCOL_FEATURES, dev.protocol));
	check_serves();
}

/* User-mode Linux asks for the acknowledgement in the very message that negotiates it. */
static void set_protocol_features_acknowledges_by_its_own_bits(void)
{
	serve(MIB);
	REQUIRE_OK(fe_conn_open(&dev.conn, server.socket));
	REQUIRE_OK(fe_tell(&dev.conn, VHU_SET_OWNER, NULL, 0, NULL, 0));
	REQUIRE_OK(fe_ask_u64(&dev.conn, VHU_GET_PROTOCOL_FEATURES, &dev.protocol_offered));
	dev.conn.reply_ack = true;
	CHECK_OK(fe_tell_u64(&dev.conn, VHU_SET_PROTOCOL_FEATURES,
			     FE_BIT(VHU_PROTOCOL_F_REPLY_ACK) | FE_BIT(VHU_PROTOCOL_F_CONFIG)));
	CHECK_OK(fe_sync(&dev.conn));
}

static void no_acknowledgement_unless_negotiated(void)
{
	uint64_t features;
	struct fe_msg reply;

	needs_vublkd();
	serve(MIB);
	greet(.protocol_off = FE_BIT(VHU_PROTOCOL_F_REPLY_ACK));
	features = dev.features;
	REQUIRE_OK(fe_send(&dev.conn, VHU_SET_FEATURES, VHU_VERSION | VHU_FLAG_NEED_REPLY,
			   &features, sizeof(features), NULL, 0));
	/* The next thing to come is the answer to the next question. */
	CHECK_OK(fe_ask(&dev.conn, VHU_GET_FEATURES, NULL, 0, &reply));
}

static void no_acknowledgement_beside_a_reply(void)
{
	struct fe_msg reply;

	needs_vublkd(); /* qemu-storage-daemon 7.2 gets this wrong */
	serve(MIB);
	greet();
	for (unsigned int i = 0; i < 3; i++) {
		REQUIRE_OK(fe_send(&dev.conn, VHU_GET_FEATURES, VHU_VERSION | VHU_FLAG_NEED_REPLY,
				   NULL, 0, NULL, 0));
		REQUIRE_OK(fe_recv(&dev.conn, &reply));
		CHECK_EQ(reply.header.request, VHU_GET_FEATURES);
		CHECK_EQ(reply.header.flags, VHU_VERSION | VHU_FLAG_REPLY);
	}
	CHECK_OK(fe_ask(&dev.conn, VHU_GET_QUEUE_NUM, NULL, 0, &reply));
}

static void owner(void)
{
	serve(MIB);
	greet();
	CHECK_OK(fe_tell(&dev.conn, VHU_SET_OWNER, NULL, 0, NULL, 0));
	check_serves();
}

static void reset_owner_is_ignored(void)
{
	needs_vublkd();
	serve(MIB);
	attach();
	CHECK_OK(fe_tell(&dev.conn, VHU_RESET_OWNER, NULL, 0, NULL, 0));
	check_round_trip(&blk, 0, 4096);
}

static void queue_num(void)
{
	needs_vublkd();
	serve(MIB);
	greet();
	CHECK_EQ(dev.max_queues, 256);
	CHECK_EQ(dev.config.num_queues, 256);
	detach();
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
	serve_again("--num-queues=5");
	greet();
	CHECK_EQ(dev.max_queues, 5);
	CHECK_EQ(dev.config.num_queues, 5);
}

static void max_mem_slots(void)
{
	needs_vublkd();
	serve(MIB);
	greet();
	CHECK_EQ(dev.max_slots, 512);
}

static void seg_max_of_the_command_line(void)
{
	needs_vublkd();
	serve(3 * MIB, "--seg-max=62");
	greet();
	CHECK(dev.features & FE_BIT(VIRTIO_BLK_F_SEG_MAX));
	CHECK_EQ(dev.config.seg_max, 62);
}

static void config_fields(void)
{
	needs_vublkd(); /* qemu-storage-daemon 7.2 gets this wrong */
	serve(3 * MIB);
	greet();
	CHECK_EQ(dev.config.capacity, 3 * MIB / FE_SECTOR);
	CHECK_EQ(dev.config.seg_max, 126);
	CHECK(dev.config.blk_size == 512 || dev.config.blk_size == 4096);
	CHECK(dev.config.wce <= 1);
	CHECK(dev.config.max_discard_sectors > 0);
	CHECK_EQ(dev.config.max_discard_seg, 1);
	CHECK(dev.config.discard_sector_alignment > 0);
	CHECK(dev.config.max_write_zeroes_sectors > 0);
	CHECK_EQ(dev.config.max_write_zeroes_seg, 1);
	/* A guest divides by it. */
	CHECK(!(dev.features & FE_BIT(VIRTIO_BLK_F_SIZE_MAX)) || dev.config.size_max > 0);
}

static void config_of_any_size_and_offset(void)
{
	uint8_t whole[VHU_MAX_CONFIG], part[VHU_MAX_CONFIG];
	uint32_t size = sizeof(struct virtio_blk_config);

	needs_vublkd();
	serve(MIB);
	greet();
	REQUIRE_OK(fe_get_config(&dev.conn, 0, sizeof(whole), whole));
	CHECK(!memcmp(whole, &dev.config, FE_CONFIG_SIZE));
	for (uint32_t i = size; i < sizeof(whole); i++)
		CHECK_EQ(whole[i], 0);
	for (uint32_t offset = 0; offset < 64; offset += 7) {
		memset(part, 0xee, sizeof(part));
		CHECK_OK(fe_get_config(&dev.conn, offset, 13, part));
		CHECK(!memcmp(part, whole + offset, 13));
	}
	CHECK_OK(fe_get_config(&dev.conn, 255, 1, part));
}

static void config_out_of_range_is_refused(void)
{
	uint8_t buf[VHU_MAX_CONFIG];
	struct vhu_config ask = {.size = 60};
	struct fe_msg reply;

	needs_vublkd();
	serve(MIB);
	greet();
	CHECK_EQ(fe_get_config(&dev.conn, 250, 7, buf), FE_REFUSED);
	CHECK_EQ(fe_get_config(&dev.conn, 257, 1, buf), FE_REFUSED);
	CHECK_EQ(fe_get_config(&dev.conn, UINT32_MAX, 1, buf), FE_REFUSED);
	CHECK_EQ(fe_get_config(&dev.conn, UINT32_MAX - 3, 8, buf), FE_REFUSED);
	/* a size that is not that of the payload */
	REQUIRE_OK(fe_ask(&dev.conn, VHU_GET_CONFIG, &ask, VHU_CONFIG_HEADER + 20, &reply));
	CHECK_EQ(reply.header.size, 0);
	ask.size = UINT32_MAX;
	REQUIRE_OK(fe_ask(&dev.conn, VHU_GET_CONFIG, &ask, VHU_CONFIG_HEADER + 20, &reply));
	CHECK_EQ(reply.header.size, 0);
	CHECK_OK(fe_get_config(&dev.conn, 0, 60, buf));
}

#define WCE offsetof(struct virtio_blk_config, wce)

static void set_config_takes_wce(void)
{
	struct virtio_blk_config config;

	serve(MIB);
	attach();
	for (uint8_t wce = 0; wce < 2; wce++) {
		CHECK_OK(fe_set_config(&dev.conn, WCE, 1, VHU_CONFIG_FLAG_WRITABLE, &wce));
		CHECK_OK(fe_get_config(&dev.conn, 0, FE_CONFIG_SIZE, &config));
		CHECK_EQ(config.wce, wce);
		check_round_trip(&blk, 0, 4096);
	}
}

static void set_config_of_anything_else_is_refused(void)
{
	struct virtio_blk_config config;
	uint8_t bytes[VHU_MAX_CONFIG] = {0};

	needs_vublkd();
	serve(MIB);
	greet();
	CHECK_EQ(fe_set_config(&dev.conn, 0, 8, 0, bytes), FE_REFUSED);
	CHECK_EQ(fe_set_config(&dev.conn, WCE + 1, 1, 0, bytes), FE_REFUSED);
	CHECK_EQ(fe_set_config(&dev.conn, WCE, 2, 0, bytes), FE_REFUSED);
	CHECK_EQ(fe_set_config(&dev.conn, 256, 1, 0, bytes), FE_REFUSED);
	CHECK_EQ(fe_set_config(&dev.conn, UINT32_MAX, 1, 0, bytes), FE_REFUSED);
	CHECK_EQ(fe_set_config(&dev.conn, WCE, 0, 0, bytes), FE_REFUSED);
	CHECK_EQ(fe_set_config(&dev.conn, 0, 60, 0, bytes), FE_REFUSED);
	REQUIRE_OK(fe_get_config(&dev.conn, 0, FE_CONFIG_SIZE, &config));
	CHECK(!memcmp(&config, &dev.config, FE_CONFIG_SIZE));
}

static void status(void)
{
	uint64_t value = 0;

	needs_vublkd();
	serve(MIB);
	attach();
	CHECK_OK(fe_ask_u64(&dev.conn, VHU_GET_STATUS, &value));
	CHECK_EQ(value, 15);
	/* QEMU's `stop` sends 0 first and asks for the position afterwards: nothing moves. */
	check_round_trip(&blk, 0, 4096);
	CHECK_OK(fe_tell_u64(&dev.conn, VHU_SET_STATUS, 0));
	CHECK_OK(fe_ask_u64(&dev.conn, VHU_GET_STATUS, &value));
	CHECK_EQ(value, 0);
	REQUIRE_OK(fe_dev_stop_vq(&dev, 0));
	CHECK_EQ(dev.vq[0].base, 2);
}

static void reset_device_keeps_memory_and_protocol(void)
{
	needs_vublkd();
	serve(MIB);
	attach(.mem_slots = true);
	check_round_trip(&blk, 0, 4096);
	CHECK_OK(fe_tell(&dev.conn, VHU_RESET_DEVICE, NULL, 0, NULL, 0));
	/* acknowledged: so REPLY_ACK is still negotiated. The regions are not sent again. */
	CHECK_OK(fe_tell_u64(&dev.conn, VHU_SET_FEATURES, dev.features));
	fe_vq_reset(&dev.vq[0], 0);
	CHECK_OK(fe_dev_start_vq(&dev, 0));
	check_round_trip(&blk, 0, 4096);
}

static void backend_channel(void)
{
	int pair[2];

	needs_vublkd();
	serve(MIB);
	greet();
	for (unsigned int i = 0; i < 2; i++) { /* once more: the second takes the first's place */
		REQUIRE_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
		CHECK_OK(fe_tell(&dev.conn, VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1));
		close(pair[0]);
		close(pair[1]);
	}
	CHECK_EQ(fe_tell(&dev.conn, VHU_SET_BACKEND_REQ_FD, NULL, 0, NULL, 0), FE_REFUSED);
	check_serves();
}

static void unknown_messages_are_refused(void)
{
	static const uint32_t unknown[] = {0, VHU_REQUEST_LIMIT, 1000, 0x7fffffff, 0xffffffff};
	static const uint32_t not_for_a_disk[] = {VHU_SEND_RARP, VHU_NET_SET_MTU,
						  VHU_CREATE_CRYPTO_SESSION, VHU_GPU_SET_SOCKET,
						  VHU_GET_SHARED_OBJECT};
	uint64_t payload = 0;

	needs_vublkd();
	serve(MIB);
	attach();
	for (unsigned int i = 0; i < 5; i++) {
		CHECK_EQ(fe_tell(&dev.conn, unknown[i], NULL, 0, NULL, 0), FE_REFUSED);
		CHECK_EQ(fe_tell(&dev.conn, unknown[i], &payload, sizeof(payload), NULL, 0),
			 FE_REFUSED);
		CHECK_EQ(fe_tell_u64(&dev.conn, not_for_a_disk[i], payload), FE_REFUSED);
	}
	check_round_trip(&blk, 0, 4096);
}

static void unknown_messages_without_acknowledgement_are_ignored(void)
{
	serve(MIB);
	needs_vublkd();
	attach(.protocol_off = FE_BIT(VHU_PROTOCOL_F_REPLY_ACK));
	CHECK_OK(fe_tell_u64(&dev.conn, 1000, 0));
	CHECK_OK(fe_tell_u64(&dev.conn, VHU_SEND_RARP, 0));
	CHECK_OK(fe_sync(&dev.conn));
	check_round_trip(&blk, 0, 4096);
}

static const struct tap_case cases[] = {
	{"expected_features_are_offered", expected_features_are_offered},
	{"expected_protocol_features_are_offered", expected_protocol_features_are_offered},
	{"features_not_offered_are_refused", features_not_offered_are_refused},
	{"features_not_offered_end_an_unacknowledged_connection",
	 features_not_offered_end_an_unacknowledged_connection},
	{"protocol_features_not_offered_are_refused", protocol_features_not_offered_are_refused},
	{"set_protocol_features_acknowledges_by_its_own_bits",
	 set_protocol_features_acknowledges_by_its_own_bits},
	{"no_acknowledgement_unless_negotiated", no_acknowledgement_unless_negotiated},
	{"no_acknowledgement_beside_a_reply", no_acknowledgement_beside_a_reply},
	{"owner", owner},
	{"reset_owner_is_ignored", reset_owner_is_ignored},
	{"queue_num", queue_num},
	{"max_mem_slots", max_mem_slots},
	{"config_fields", config_fields},
	{"seg_max_of_the_command_line", seg_max_of_the_command_line},
	{"config_of_any_size_and_offset", config_of_any_size_and_offset},
	{"config_out_of_range_is_refused", config_out_of_range_is_refused},
	{"set_config_takes_wce", set_config_takes_wce},
	{"set_config_of_anything_else_is_refused", set_config_of_anything_else_is_refused},
	{"status", status},
	{"reset_device_keeps_memory_and_protocol", reset_device_keeps_memory_and_protocol},
	{"backend_channel", backend_channel},
	{"unknown_messages_are_refused", unknown_messages_are_refused},
	{"unknown_messages_without_acknowledgement_are_ignored",
	 unknown_messages_without_acknowledgement_are_ignored},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "message", .setup = proto_setup, .teardown = proto_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}

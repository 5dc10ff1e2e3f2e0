/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration space: made of any disk that image/image.c could have made, and read and
 * written in any pieces by messages. What must hold is what the specification says of each field
 * (virtio 5.2.4), and that a part that is read is that part.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/proto.h"
#include "lib/vublk.h"
#include "src/request/config.h"
#include "tests/fuzz/fuzz.h"

#define INT_MAX_BYTES ((uint64_t)INT32_MAX)

static struct {
	struct image image;
	unsigned num_queues, seg_max;
	bool wce, changed;
	uint8_t space[VUBLK_MAX_CONFIG];
	int peer;
} fuzz;

/* ---- a disk ---- */

static uint64_t bounded(struct fuzz_input *in, uint64_t unit, uint64_t most)
{
	const uint64_t n = fuzz_u64(in) % (most / unit) + 1;

	return n * unit;
}

static void make_image(struct fuzz_input *in)
{
	const uint8_t kind = fuzz_u8(in);
	struct image *image = &fuzz.image;

	*image = (struct image){
		.fd = -1,
		.is_device = kind & 1,
		.read_only = kind & 2,
		.durable = kind & 4,
		.block_size = kind & 8 ? 4096 : 512,
		.mem_align = 1,
		.offset_align = 1,
		.range_align = 1,
	};
	image->size = image->end = bounded(in, image->block_size, INT64_MAX);
	image->physical_block_size = image->block_size << fuzz_u8(in) % 10;
	image->optimal_io_size =
		fuzz_u8(in) & 1 ? 0 : (uint32_t)bounded(in, image->block_size, UINT32_MAX);
	if (!image->read_only) {
		image->can_write_zeroes = true;
		image->max_write_zeroes = bounded(in, image->block_size, INT_MAX_BYTES);
		image->can_discard = kind & 16;
	}
	if (image->can_discard) {
		image->unmap_zeroes = kind & 32;
		image->discard_alignment =
			(uint32_t)bounded(in, image->block_size, INT_MAX_BYTES / 2);
		image->max_discard = bounded(in, image->discard_alignment, INT_MAX_BYTES);
	}
	fuzz.num_queues = fuzz_u8(in) + 1u;
	fuzz.seg_max = fuzz_u16(in) % BLK_SEG_MAX_MOST + 1;
	fuzz.wce = kind & 64;
}

static bool has(unsigned bit)
{
	return blk_config_features(&fuzz.image) >> bit & 1;
}

static void check_config(void)
{
	const struct image *image = &fuzz.image;
	struct virtio_blk_config config;
	uint32_t blk_size;

	memset(&config, 0xa5, sizeof(config));
	blk_config_fill(&config, image, image->size, fuzz.num_queues, fuzz.seg_max, fuzz.wce);
	blk_size = le32toh(config.blk_size);
	FUZZ_CHECK(le64toh(config.capacity) == image->size / 512);
	FUZZ_CHECK(blk_size == image->block_size && has(VIRTIO_BLK_F_BLK_SIZE));
	FUZZ_CHECK(le32toh(config.seg_max) == fuzz.seg_max && has(VIRTIO_BLK_F_SEG_MAX));
	FUZZ_CHECK(le16toh(config.num_queues) == fuzz.num_queues);
	FUZZ_CHECK(config.wce == fuzz.wce);
	FUZZ_CHECK((uint64_t)blk_size << config.physical_block_exp == image->physical_block_size);
	FUZZ_CHECK(le16toh(config.min_io_size) > 0 || !image->optimal_io_size);
	FUZZ_CHECK(has(VIRTIO_BLK_F_RO) == image->read_only);
	FUZZ_CHECK(!(blk_config_features(image) & ~blk_config_known_features()));
	if (has(VIRTIO_BLK_F_DISCARD)) {
		const uint64_t most = le32toh(config.max_discard_sectors) * 512ull;

		FUZZ_CHECK(!image->read_only && most && most <= image->max_discard);
		FUZZ_CHECK(le32toh(config.max_discard_seg) == 1);
		FUZZ_CHECK(le32toh(config.discard_sector_alignment) ==
			   image->discard_alignment / 512);
	}
	if (has(VIRTIO_BLK_F_WRITE_ZEROES)) {
		const uint64_t most = le32toh(config.max_write_zeroes_sectors) * 512ull;

		FUZZ_CHECK(!image->read_only && most && most <= image->max_write_zeroes);
		FUZZ_CHECK(le32toh(config.max_write_zeroes_seg) == 1);
		FUZZ_CHECK(config.write_zeroes_may_unmap == image->unmap_zeroes);
	}
	memset(fuzz.space, 0, sizeof(fuzz.space));
	memcpy(fuzz.space, &config, sizeof(config));
}

/* ---- the user ---- */

static void get_config(void *opaque, uint8_t config[VUBLK_MAX_CONFIG])
{
	(void)opaque;
	memcpy(config, fuzz.space, VUBLK_MAX_CONFIG);
}

static int set_config(void *opaque, uint32_t offset, const uint8_t *data, uint32_t size,
		      bool migration)
{
	(void)opaque, (void)migration;
	FUZZ_CHECK(offset <= VUBLK_MAX_CONFIG && size <= VUBLK_MAX_CONFIG - offset);
	if (size)
		memcpy(fuzz.space + offset, data, size);
	fuzz.changed = true;
	return 0;
}

static void queue_asked(void *opaque, struct vublk_queue *queue)
{
	(void)opaque, (void)queue;
	FUZZ_CHECK(!"no queue is started");
}

static void resume(void *opaque, bool again)
{
	(void)opaque, (void)again;
}

static void disconnected(void *opaque)
{
	(void)opaque;
}

static void set_features(void *opaque, uint64_t features)
{
	(void)opaque, (void)features;
}

static uint32_t save_state(void *opaque)
{
	(void)opaque;
	return 0;
}

static int load_state(void *opaque, uint32_t state)
{
	(void)opaque;
	return state > 1 ? -EINVAL : 0;
}

static int watch_state(void *opaque, int fd)
{
	(void)opaque;
	(void)fd;
	return 0;
}

static void announce(void *opaque)
{
	(void)opaque;
}

static void await_room(void *opaque, int fd)
{
	(void)opaque, (void)fd;
}

static const struct vublk_ops ops = {
	.queue_start = queue_asked,
	.resume = resume,
	.disconnected = disconnected,
	.get_config = get_config,
	.set_config = set_config,
	.set_features = set_features,
	.save_state = save_state,
	.load_state = load_state,
	.watch_state = watch_state,
	.announce = announce,
	.await_room = await_room,
};

/* ---- the front-end ---- */

static bool tell(struct vublk_dev *dev, uint32_t request, const void *payload, uint32_t size)
{
	const struct vhu_header header = {request, VHU_VERSION | VHU_FLAG_NEED_REPLY, size};

	FUZZ_CHECK(send(fuzz.peer, &header, sizeof(header), 0) == sizeof(header));
	FUZZ_CHECK(!size || send(fuzz.peer, payload, size, 0) == (ssize_t)size);
	return vublk_dev_input(dev) == 0;
}

/* One message, and its answer; false: the connection is over. */
static bool exchange(struct vublk_dev *dev, struct fuzz_input *in)
{
	const bool write = fuzz_u8(in) & 1;
	struct {
		struct vhu_header header;
		uint8_t payload[512];
	} reply;
	struct vhu_config config = {.offset = fuzz_u16(in) % 400, .flags = fuzz_u8(in) % 3};
	uint8_t before[VUBLK_MAX_CONFIG];
	uint32_t size = fuzz_u8(in), claimed;
	bool right;

	claimed = fuzz_u8(in) & 7 ? size : fuzz_u16(in);
	config.size = claimed;
	fuzz_bytes(in, config.data, size < sizeof(config.data) ? size : sizeof(config.data));
	memcpy(before, fuzz.space, sizeof(before));
	fuzz.changed = false;
	right = claimed == size && config.offset <= VUBLK_MAX_CONFIG &&
		size <= VUBLK_MAX_CONFIG - config.offset;
	if (!tell(dev, write ? VHU_SET_CONFIG : VHU_GET_CONFIG, &config, VHU_CONFIG_HEADER + size))
		return false;
	if (recv(fuzz.peer, &reply, sizeof(reply), MSG_DONTWAIT) < (ssize_t)sizeof(reply.header))
		return false;
	if (write) {
		FUZZ_CHECK(fuzz.changed == (right && config.flags < 2));
		FUZZ_CHECK(fuzz.changed || !memcmp(before, fuzz.space, sizeof(before)));
	} else if (right) {
		FUZZ_CHECK(reply.header.size == VHU_CONFIG_HEADER + size);
		FUZZ_CHECK(!memcmp(reply.payload + VHU_CONFIG_HEADER, fuzz.space + config.offset,
				   size));
	} else {
		FUZZ_CHECK(reply.header.size == 0);
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vublk_params params = {.name = "fuzz", .num_queues = 1, .ops = &ops};
	const uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VHU_F_PROTOCOL_FEATURES;
	const uint64_t protocol = 1ull << VHU_PROTOCOL_F_CONFIG | 1ull << VHU_PROTOCOL_F_REPLY_ACK;
	struct fuzz_input in = {data, size};
	struct vublk_dev *dev;
	char ack[64];
	int pair[2];

	make_image(&in);
	check_config();
	FUZZ_CHECK(!vublk_dev_create(&dev, &params));
	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	fuzz.peer = pair[0];
	FUZZ_CHECK(!vublk_dev_connect(dev, pair[1], NULL));
	tell(dev, VHU_SET_FEATURES, &features, sizeof(features));
	tell(dev, VHU_SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol));
	while (recv(fuzz.peer, ack, sizeof(ack), MSG_DONTWAIT) > 0)
		;
	while (in.left && exchange(dev, &in))
		;
	vublk_dev_disconnect(dev);
	vublk_dev_destroy(dev);
	close(fuzz.peer);
	return 0;
}

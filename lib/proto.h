/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vhost-user wire: messages, payloads and bits, as QEMU's docs/interop/vhost-user.rst has
 * them. Owns no state and has no functions; everybody who speaks the protocol, the back-end and
 * the tests' front-end alike, includes it. All numbers are in native byte order.
 */
#ifndef VHU_PROTO_H
#define VHU_PROTO_H

#include <assert.h>
#include <stdint.h>

/* "Front-end message types". The macro keeps number and name together. */
#define VHU_MESSAGES(X) \
	X(GET_FEATURES, 1) \
	X(SET_FEATURES, 2) \
	X(SET_OWNER, 3) \
	X(RESET_OWNER, 4) \
	X(SET_MEM_TABLE, 5) \
	X(SET_LOG_BASE, 6) \
	X(SET_LOG_FD, 7) \
	X(SET_VRING_NUM, 8) \
	X(SET_VRING_ADDR, 9) \
	X(SET_VRING_BASE, 10) \
	X(GET_VRING_BASE, 11) \
	X(SET_VRING_KICK, 12) \
	X(SET_VRING_CALL, 13) \
	X(SET_VRING_ERR, 14) \
	X(GET_PROTOCOL_FEATURES, 15) \
	X(SET_PROTOCOL_FEATURES, 16) \
	X(GET_QUEUE_NUM, 17) \
	X(SET_VRING_ENABLE, 18) \
	X(SEND_RARP, 19) \
	X(NET_SET_MTU, 20) \
	X(SET_BACKEND_REQ_FD, 21) \
	X(IOTLB_MSG, 22) \
	X(SET_VRING_ENDIAN, 23) \
	X(GET_CONFIG, 24) \
	X(SET_CONFIG, 25) \
	X(CREATE_CRYPTO_SESSION, 26) \
	X(CLOSE_CRYPTO_SESSION, 27) \
	X(POSTCOPY_ADVISE, 28) \
	X(POSTCOPY_LISTEN, 29) \
	X(POSTCOPY_END, 30) \
	X(GET_INFLIGHT_FD, 31) \
	X(SET_INFLIGHT_FD, 32) \
	X(GPU_SET_SOCKET, 33) \
	X(RESET_DEVICE, 34) \
	X(VRING_KICK, 35) \
	X(GET_MAX_MEM_SLOTS, 36) \
	X(ADD_MEM_REG, 37) \
	X(REM_MEM_REG, 38) \
	X(SET_STATUS, 39) \
	X(GET_STATUS, 40) \
	X(GET_SHARED_OBJECT, 41) \
	X(SET_DEVICE_STATE_FD, 42) \
	X(CHECK_DEVICE_STATE, 43) \
	X(GET_SHMEM_CONFIG, 44) \
	X(GET_VRING_BASE_SKIP_DRAIN, 45)

enum vhu_request {
#define X(name, number) VHU_##name = (number),
	VHU_MESSAGES(X)
#undef X
	VHU_REQUEST_LIMIT /* one above the largest number known */
};

/* "Back-end message types": what a back-end asks of its front-end. */
enum vhu_backend_request {
	VHU_BACKEND_IOTLB_MSG = 1,
	VHU_BACKEND_CONFIG_CHANGE_MSG = 2,
	VHU_BACKEND_VRING_CALL = 4,
	VHU_BACKEND_VRING_ERR = 5,
};

/* "Header": flags */
#define VHU_VERSION           0x1u
#define VHU_FLAG_VERSION_MASK 0x3u
#define VHU_FLAG_REPLY        0x4u
#define VHU_FLAG_NEED_REPLY   0x8u

/* VIRTIO feature bits that vhost-user claims for itself. */
#define VHU_F_LOG_ALL           26
#define VHU_F_PROTOCOL_FEATURES 30

/* "Protocol features": bit numbers */
enum vhu_protocol_feature {
	VHU_PROTOCOL_F_MQ = 0,
	VHU_PROTOCOL_F_LOG_SHMFD = 1,
	VHU_PROTOCOL_F_RARP = 2,
	VHU_PROTOCOL_F_REPLY_ACK = 3,
	VHU_PROTOCOL_F_MTU = 4,
	VHU_PROTOCOL_F_BACKEND_REQ = 5,
	VHU_PROTOCOL_F_CROSS_ENDIAN = 6,
	VHU_PROTOCOL_F_CRYPTO_SESSION = 7,
	VHU_PROTOCOL_F_PAGEFAULT = 8,
	VHU_PROTOCOL_F_CONFIG = 9,
	VHU_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VHU_PROTOCOL_F_HOST_NOTIFIER = 11,
	VHU_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHU_PROTOCOL_F_RESET_DEVICE = 13,
	VHU_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
	VHU_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHU_PROTOCOL_F_STATUS = 16,
	VHU_PROTOCOL_F_XEN_MMAP = 17,
	VHU_PROTOCOL_F_SHARED_OBJECT = 18,
	VHU_PROTOCOL_F_DEVICE_STATE = 19,
	VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
	VHU_PROTOCOL_F_GPA_ADDRESSES = 21,
	VHU_PROTOCOL_F_SHMEM = 22,
	VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN = 23,
};

/* SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR: the u64 payload */
#define VHU_VRING_INDEX_MASK 0xffull
#define VHU_VRING_NOFD       0x100ull

#define VHU_MAX_QUEUES 256 /* what the index mask can name */
#define VHU_MAX_TABLE  32  /* regions in one SET_MEM_TABLE: 8 by the text, some send more */
#define VHU_MAX_FDS    VHU_MAX_TABLE
#define VHU_MAX_CONFIG 256 /* VHOST_USER_MAX_CONFIG_SIZE of the peers */

struct vhu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload, in bytes */
};
static_assert(sizeof(struct vhu_header) == 12, "wire size");

/* "A vring state description" */
struct vhu_vring_state {
	uint32_t index;
	uint32_t num;
};
static_assert(sizeof(struct vhu_vring_state) == 8, "wire size");

/* "A vring address description" */
struct vhu_vring_addr {
	uint32_t index;
	uint32_t flags;
	uint64_t desc;  /* user addresses, */
	uint64_t used;  /* or guest-physical ones with GPA_ADDRESSES, */
	uint64_t avail; /* or IOVAs with VIRTIO_F_ACCESS_PLATFORM */
	uint64_t log;
};
static_assert(sizeof(struct vhu_vring_addr) == 40, "wire size");
#define VHU_VRING_ADDR_F_LOG 0x1u

/* "Memory regions description" */
struct vhu_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t mmap_offset;
};
static_assert(sizeof(struct vhu_region) == 32, "wire size");

struct vhu_mem_table {
	uint32_t count;
	uint32_t padding;
	struct vhu_region region[VHU_MAX_TABLE];
};
static_assert(sizeof(struct vhu_mem_table) == 8 + VHU_MAX_TABLE * 32, "wire size");

/* "Single memory region description" */
struct vhu_mem_reg {
	uint64_t padding;
	struct vhu_region region;
};
static_assert(sizeof(struct vhu_mem_reg) == 40, "wire size");

/* "Log description" */
struct vhu_log {
	uint64_t size;
	uint64_t offset;
};
static_assert(sizeof(struct vhu_log) == 16, "wire size");

/* "Virtio device config space"; `size` bytes of data follow on the wire. */
struct vhu_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t data[VHU_MAX_CONFIG];
};
#define VHU_CONFIG_HEADER         12
#define VHU_CONFIG_FLAG_WRITABLE  0u
#define VHU_CONFIG_FLAG_MIGRATION 1u
static_assert(sizeof(struct vhu_config) == VHU_CONFIG_HEADER + VHU_MAX_CONFIG, "wire size");

/* "Inflight description": 20 bytes by the text, QEMU sends its padded 24. */
struct vhu_inflight_desc {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
	uint32_t padding;
};
#define VHU_INFLIGHT_DESC_SIZE 20
static_assert(sizeof(struct vhu_inflight_desc) == 24, "QEMU's size");

/* "Device state transfer parameters" */
struct vhu_transfer_params {
	uint32_t direction;
	uint32_t phase;
};
static_assert(sizeof(struct vhu_transfer_params) == 8, "wire size");
#define VHU_TRANSFER_SAVE    0u
#define VHU_TRANSFER_LOAD    1u
#define VHU_TRANSFER_STOPPED 0u       /* the one phase there is */
#define VHU_TRANSFER_NOFD    0x100ull /* in the reply: it comes without a descriptor */
#define VHU_TRANSFER_ERROR   0xffull  /* in the reply: 0 is success */

/* "An IOTLB message": struct vhost_iotlb_msg, without or with what pads it. */
struct vhu_iotlb_msg {
	uint64_t iova;
	uint64_t size;
	uint64_t uaddr;
	uint8_t perm; /* bits: 1 read, 2 write */
	uint8_t type;
	uint8_t padding[6];
};
#define VHU_IOTLB_MSG_SIZE    26
#define VHU_IOTLB_MISS        1u
#define VHU_IOTLB_UPDATE      2u
#define VHU_IOTLB_INVALIDATE  3u
#define VHU_IOTLB_ACCESS_FAIL 4u
static_assert(sizeof(struct vhu_iotlb_msg) == 32, "the kernel's size");

union vhu_payload {
	uint64_t u64;
	struct vhu_vring_state state;
	struct vhu_vring_addr addr;
	struct vhu_mem_table table;
	struct vhu_mem_reg mem_reg;
	struct vhu_log log;
	struct vhu_config config;
	struct vhu_inflight_desc inflight;
	struct vhu_transfer_params transfer;
	struct vhu_iotlb_msg iotlb;
	uint8_t bytes[sizeof(struct vhu_mem_table)];
};

#endif

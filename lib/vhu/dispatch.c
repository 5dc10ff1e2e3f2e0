/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of messages: a row says who handles a message, which sizes and how many descriptors it
 * may have, what must have been negotiated, and what it answers. All refusals that a row can
 * express are made here, so handlers hold none of them. Control thread; the message is the
 * front-end's and untrusted.
 *
 * A message that is refused changes nothing. The front-end is told so when it asked for an
 * acknowledgement ("VHOST_USER_PROTOCOL_F_REPLY_ACK"). When it did not, most refusals are only
 * logged; after some, though, the two sides would disagree about memory, features or what is
 * in flight without knowing it (`vital`), and for a reply there may be no way to say "no": then the
 * connection ends.
 */
#include <errno.h>
#include <string.h>

#include "log.h"
#include "vhu/dev.h"

struct vhu_row {
	int (*handle)(struct vublk_dev *dev, struct vhu_msg *msg);
	/* Runs when the rings have answered, if handle() did not fail. */
	int (*finish)(struct vublk_dev *dev, struct vhu_msg *msg);
	uint16_t min_size, max_size; /* of the payload, bytes */
	uint8_t min_fds, max_fds;
	/* The reply is payload.u64 or the like, so many bytes; 0: an ack, if it asks for one. */
	uint16_t reply_size;
	bool reply_is_ack; /* who asked for an ack gets it in the reply */
	/* The reply has a way to say that it is refused: it is empty, or is this u64 (not 0). */
	bool empty_if_refused;
	uint16_t refusal;
	uint64_t needs; /* protocol feature bits, all of them */
	bool vital;
};

#define SAME_SIZE UINT16_MAX /* as many as the request has */

#define PF(name) (1ull << VHU_PROTOCOL_F_##name)
#define SIZE(n)  .min_size = (n), .max_size = (n)
#define FDS(n)   .min_fds = (n), .max_fds = (n)
#define U64      SIZE(sizeof(uint64_t))
#define STATE    SIZE(sizeof(struct vhu_vring_state))

static const struct vhu_row rows[VHU_REQUEST_LIMIT] = {
	[VHU_GET_FEATURES] = {vhu_dev_get_features, .reply_size = 8},
	[VHU_SET_FEATURES] = {vhu_dev_set_features, U64, .vital = true},
	[VHU_SET_OWNER] = {.handle = vhu_dev_ignore},
	[VHU_RESET_OWNER] = {.handle = vhu_dev_ignore},
	[VHU_SET_MEM_TABLE] = {vhu_dev_set_mem_table, .min_size = 8,
			       .max_size = sizeof(struct vhu_mem_table), .max_fds = VHU_MAX_TABLE,
			       .vital = true},
	/* The text has no reply; front-ends await one. */
	[VHU_SET_LOG_BASE] = {vhu_dev_set_log_base, vhu_dev_set_log_base_finish,
			      SIZE(sizeof(struct vhu_log)), FDS(1), .reply_size = 8,
			      .reply_is_ack = true, .needs = PF(LOG_SHMFD)},
	[VHU_SET_LOG_FD] = {vhu_dev_set_log_fd, .max_size = 8, FDS(1)},
	[VHU_SET_VRING_NUM] = {vhu_vring_set_num, STATE},
	[VHU_SET_VRING_ADDR] = {vhu_vring_set_addr, SIZE(sizeof(struct vhu_vring_addr))},
	[VHU_SET_VRING_BASE] = {vhu_vring_set_base, STATE},
	[VHU_GET_VRING_BASE] = {vhu_vring_get_base, vhu_vring_get_base_finish, STATE,
				.reply_size = sizeof(struct vhu_vring_state)},
	[VHU_GET_VRING_BASE_SKIP_DRAIN] = {vhu_vring_get_base_skip_drain, vhu_vring_get_base_finish,
					   STATE, .reply_size = sizeof(struct vhu_vring_state),
					   .needs = PF(GET_VRING_BASE_SKIP_DRAIN)},
	[VHU_SET_VRING_KICK] = {vhu_vring_set_kick, U64, .max_fds = 1},
	[VHU_SET_VRING_CALL] = {vhu_vring_set_call, U64, .max_fds = 1},
	[VHU_SET_VRING_ERR] = {vhu_vring_set_err, U64, .max_fds = 1},
	[VHU_GET_PROTOCOL_FEATURES] = {vhu_dev_get_protocol_features, .reply_size = 8},
	[VHU_SET_PROTOCOL_FEATURES] = {vhu_dev_set_protocol_features, U64, .vital = true},
	[VHU_GET_QUEUE_NUM] = {vhu_dev_get_queue_num, .reply_size = 8},
	[VHU_SET_VRING_ENABLE] = {vhu_vring_set_enable, STATE},
	[VHU_SET_BACKEND_REQ_FD] = {vhu_dev_set_backend_req_fd, FDS(1), .needs = PF(BACKEND_REQ)},
	/* 26 bytes, or struct vhost_iotlb_msg's 32. */
	[VHU_IOTLB_MSG] = {vhu_iommu_msg, .min_size = VHU_IOTLB_MSG_SIZE,
			   .max_size = sizeof(struct vhu_iotlb_msg)},
	/* "uses zero length of payload to indicate an error"; others have no such way. */
	[VHU_GET_CONFIG] = {vhu_dev_get_config, .min_size = VHU_CONFIG_HEADER,
			    .max_size = sizeof(struct vhu_config), .reply_size = SAME_SIZE,
			    .empty_if_refused = true, .needs = PF(CONFIG)},
	[VHU_SET_CONFIG] = {vhu_dev_set_config, .min_size = VHU_CONFIG_HEADER,
			    .max_size = sizeof(struct vhu_config), .needs = PF(CONFIG)},
	/* Empty, with a descriptor unless it is refused. */
	[VHU_POSTCOPY_ADVISE] = {vhu_postcopy_advise, .reply_size = SAME_SIZE,
				 .empty_if_refused = true, .needs = PF(PAGEFAULT)},
	[VHU_POSTCOPY_LISTEN] = {vhu_postcopy_listen, .needs = PF(PAGEFAULT), .vital = true},
	[VHU_POSTCOPY_END] = {vhu_postcopy_end, vhu_postcopy_end_finish, .reply_size = 8,
			      .refusal = 1, .needs = PF(PAGEFAULT)},
	/* 20 bytes, or QEMU's 24. */
	[VHU_GET_INFLIGHT_FD] = {vhu_dev_get_inflight_fd, .min_size = VHU_INFLIGHT_DESC_SIZE,
				 .max_size = sizeof(struct vhu_inflight_desc),
				 .reply_size = SAME_SIZE, .needs = PF(INFLIGHT_SHMFD)},
	[VHU_SET_INFLIGHT_FD] = {vhu_dev_set_inflight_fd, .min_size = VHU_INFLIGHT_DESC_SIZE,
				 .max_size = sizeof(struct vhu_inflight_desc), FDS(1),
				 .needs = PF(INFLIGHT_SHMFD), .vital = true},
	[VHU_RESET_DEVICE] = {vhu_dev_reset, vhu_dev_reset_finish, .needs = PF(RESET_DEVICE)},
	[VHU_VRING_KICK] = {vhu_vring_kick, STATE, .needs = PF(INBAND_NOTIFICATIONS)},
	[VHU_GET_MAX_MEM_SLOTS] = {vhu_dev_get_max_mem_slots, .reply_size = 8,
				   .needs = PF(CONFIGURE_MEM_SLOTS)},
	[VHU_ADD_MEM_REG] = {vhu_dev_add_mem_reg, SIZE(sizeof(struct vhu_mem_reg)), FDS(1),
			     .needs = PF(CONFIGURE_MEM_SLOTS), .vital = true},
	/* "the back-end MAY accept messages with one file descriptor" */
	[VHU_REM_MEM_REG] = {vhu_dev_rem_mem_reg, SIZE(sizeof(struct vhu_mem_reg)), .max_fds = 1,
			     .needs = PF(CONFIGURE_MEM_SLOTS), .vital = true},
	/* "must not both indicate an error and return a file descriptor" */
	[VHU_SET_DEVICE_STATE_FD] = {vhu_dev_set_device_state_fd,
				     SIZE(sizeof(struct vhu_transfer_params)), FDS(1),
				     .reply_size = 8, .refusal = VHU_TRANSFER_NOFD | 1,
				     .needs = PF(DEVICE_STATE)},
	[VHU_CHECK_DEVICE_STATE] = {vhu_dev_check_device_state, .reply_size = 8, .refusal = 1,
				    .needs = PF(DEVICE_STATE)},
	[VHU_SET_STATUS] = {vhu_dev_set_status, U64, .needs = PF(STATUS)},
	[VHU_GET_STATUS] = {vhu_dev_get_status, .reply_size = 8, .needs = PF(STATUS)},
};

/* "In postcopy mode", after POSTCOPY_LISTEN: where the memory lies is the reply, ... */
static const struct vhu_row postcopy_table = {
	vhu_dev_set_mem_table,    .min_size = 8,           .max_size = sizeof(struct vhu_mem_table),
	.max_fds = VHU_MAX_TABLE, .reply_size = SAME_SIZE,
};
static const struct vhu_row postcopy_region = {
	vhu_dev_add_mem_reg,     SIZE(sizeof(struct vhu_mem_reg)), FDS(1),
	.reply_size = SAME_SIZE, .needs = PF(CONFIGURE_MEM_SLOTS),
};
/* ... to which the front-end says that it knows. */
static const struct vhu_row postcopy_go_on = {vhu_postcopy_go_on, U64, .vital = true};

/* Of a message that no row describes. */
static const struct vhu_row unknown;

static const struct vhu_row *postcopy_row(const struct vhu_msg *msg)
{
	const uint32_t request = msg->header.request;
	/* QEMU's has the number of what it sent last of its memory: 0 if nothing changed. */
	const bool of_memory = !request || request == VHU_SET_MEM_TABLE ||
			       request == VHU_ADD_MEM_REG || request == VHU_REM_MEM_REG;

	if (of_memory && msg->header.size == sizeof(uint64_t) && !msg->n_fds)
		return &postcopy_go_on;
	if (request == VHU_SET_MEM_TABLE)
		return &postcopy_table;
	return request == VHU_ADD_MEM_REG ? &postcopy_region : NULL;
}

static const struct vhu_row *find_row(const struct vublk_dev *dev, const struct vhu_msg *msg)
{
	const uint32_t request = msg->header.request;
	const struct vhu_row *row = dev->postcopy.listening ? postcopy_row(msg) : NULL;

	if (row)
		return row;
	return request < VHU_REQUEST_LIMIT ? &rows[request] : &unknown;
}

/* What the row itself can find wrong, in words; NULL: nothing. */
static const char *refusal(const struct vublk_dev *dev, const struct vhu_row *row,
			   const struct vhu_msg *msg)
{
	if (!row->handle)
		return "the message is not known here";
	if ((dev->session->protocol_features & row->needs) != row->needs)
		return "its protocol feature is not negotiated";
	if (msg->header.size < row->min_size || msg->header.size > row->max_size)
		return "its payload has a wrong size";
	if (msg->n_fds < row->min_fds)
		return "its file descriptor is missing";
	if (msg->n_fds > row->max_fds)
		return "it has too many file descriptors";
	return NULL;
}

unsigned vhu_dispatch_fds(const struct vublk_dev *dev)
{
	const struct vhu_msg *msg = &dev->msg;
	const unsigned most = find_row(dev, msg)->max_fds;

	switch (msg->header.request) {
	case VHU_SET_VRING_KICK:
	case VHU_SET_VRING_CALL:
	case VHU_SET_VRING_ERR:
		return msg->payload.u64 & VHU_VRING_NOFD ? 0 : most;
	case VHU_SET_MEM_TABLE:
		return msg->payload.table.count < most ? msg->payload.table.count : most;
	default:
		return most;
	}
}

int vhu_dispatch(struct vublk_dev *dev)
{
	struct vhu_msg *msg = &dev->msg;
	const uint32_t request = msg->header.request;
	const char *why;
	int err;

	dev->row = find_row(dev, msg);
	why = refusal(dev, dev->row, msg);
	vhu_log(VUBLK_LOG_DEBUG, "%s: %s (%u), %u bytes, %u descriptors", dev->name,
		vhu_msg_name(request), request, msg->header.size, msg->n_fds);
	if (why) {
		vhu_log(VUBLK_LOG_WARNING, "%s: %s (%u, %u bytes, %u descriptors) refused: %s",
			dev->name, vhu_msg_name(request), request, msg->header.size, msg->n_fds,
			why);
		dev->err = -EOPNOTSUPP;
	} else {
		/* Counts itself, so that answers that come at once do not finish it too early. */
		dev->pending++;
		dev->err = 0;
		err = dev->row->handle(dev, msg);
		if (err)
			dev->err = err;
		dev->pending--;
	}
	return dev->pending ? 1 : vhu_dispatch_finish(dev);
}

/* A reply of the row's own. 0, or -errno: it has none for what went wrong. */
static int make_reply(struct vublk_dev *dev, struct vhu_reply *reply)
{
	struct vhu_msg *msg = &dev->msg;
	size_t size = dev->row->reply_size;

	if (size == SAME_SIZE)
		size = msg->header.size;
	if (dev->err && dev->row->refusal)
		msg->payload.u64 = dev->row->refusal;
	else if (dev->err && dev->row->empty_if_refused)
		size = 0;
	else if (dev->err)
		return dev->err;
	vhu_msg_make_reply(reply, msg, msg->raw, size);
	return 0;
}

/* What is to be answered; of size 0: nothing. 0, or -errno: the connection has to end instead. */
static int make_answer(struct vublk_dev *dev, struct vhu_reply *reply)
{
	struct vhu_msg *msg = &dev->msg;
	const bool asked = msg->header.flags & VHU_FLAG_NEED_REPLY &&
			   vhu_dev_has(dev, VHU_PROTOCOL_F_REPLY_ACK);
	const uint64_t ack = dev->err ? 1 : 0;

	reply->size = 0;
	/* A handler that will have nothing but the end. */
	if (dev->err == -ECONNABORTED)
		return dev->err;
	if (dev->row->reply_size && !(dev->row->reply_is_ack && asked))
		return make_reply(dev, reply);
	if (asked)
		vhu_msg_make_reply(reply, msg, &ack, sizeof(ack));
	return !asked && dev->row->vital ? dev->err : 0;
}

int vhu_dispatch_finish(struct vublk_dev *dev)
{
	struct vhu_reply reply;
	int err;

	if (!dev->err && dev->row->finish)
		dev->err = dev->row->finish(dev, &dev->msg);
	err = make_answer(dev, &reply);
	if (!err)
		err = vhu_keep_answer(dev, reply.size ? &reply : NULL);
	if (err)
		vhu_log(VUBLK_LOG_ERROR, "%s: ending the connection: %s cannot be answered: %s",
			dev->name, vhu_msg_name(dev->msg.header.request), strerror(-err));
	vhu_msg_reset(&dev->msg);
	dev->row = NULL;
	return err;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* See vhu/state.h: SET_DEVICE_STATE_FD and CHECK_DEVICE_STATE. Control thread. */
#include "vhu/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "log.h"
#include "shared/fd.h"
#include "vhu/dev.h"

static void stop_loading(struct vublk_dev *dev)
{
	struct vhu_transfer *transfer = &dev->transfer;

	if (transfer->fd < 0)
		return;
	dev->params.ops->watch_state(dev->params.opaque, -1);
	vhu_fd_close(transfer->fd);
	transfer->fd = -1;
}

void vhu_transfer_forget(struct vublk_dev *dev)
{
	stop_loading(dev);
	dev->transfer.good = false;
}

/* ---- saving ---- */

static int save(struct vublk_dev *dev, int fd)
{
	struct vhu_state state = {
		.magic = VHU_STATE_MAGIC,
		.version = VHU_STATE_VERSION,
		.device = dev->params.ops->save_state(dev->params.opaque),
	};
	const int err = vhu_fd_write(fd, &state, sizeof(state));

	if (err)
		vhu_log(VUBLK_LOG_WARNING, "%s: cannot save the device's state: %s", dev->name,
			strerror(-err));
	dev->transfer.good = !err;
	return err;
}

/* ---- loading ---- */

/* The channel is at its end: is what came a state, and can we go on from it? */
static int take(struct vublk_dev *dev)
{
	const struct vhu_state *state = &dev->transfer.state;
	const char *wrong = NULL;
	int err;

	if (dev->transfer.n != sizeof(*state) ||
	    memcmp(state->magic, VHU_STATE_MAGIC, sizeof(state->magic)) != 0)
		wrong = "it is not a state of vublkd's";
	else if (state->version != VHU_STATE_VERSION)
		wrong = "it is of another version";
	else if (vhu_vring_any_running(dev))
		wrong = "rings run already";
	err = wrong ? -EINVAL : dev->params.ops->load_state(dev->params.opaque, state->device);
	if (err)
		vhu_log(VUBLK_LOG_WARNING, "%s: cannot load the device's state: %s", dev->name,
			wrong ? wrong : strerror(-err));
	return err;
}

void vublk_dev_state_input(struct vublk_dev *dev)
{
	struct vhu_transfer *transfer = &dev->transfer;
	int n = 1;

	while (transfer->fd >= 0 && n > 0 && transfer->n < sizeof(transfer->bytes)) {
		n = vhu_fd_read(transfer->fd, transfer->bytes + transfer->n,
				sizeof(transfer->bytes) - transfer->n);
		if (n > 0)
			transfer->n += (size_t)n;
	}
	if (transfer->fd < 0 || n == -EAGAIN)
		return;
	if (n < 0)
		vhu_log(VUBLK_LOG_WARNING, "%s: cannot read the device's state: %s", dev->name,
			strerror(-n));
	stop_loading(dev);
	transfer->good = n >= 0 && !take(dev);
}

static int load(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const int err = dev->params.ops->watch_state(dev->params.opaque, msg->fd[0]);

	if (err) {
		vhu_log(VUBLK_LOG_WARNING, "%s: cannot wait for the device's state: %s", dev->name,
			strerror(-err));
		return err;
	}
	dev->transfer.fd = vhu_msg_take_fd(msg, 0);
	dev->transfer.n = 0;
	return 0;
}

/* ---- messages ---- */

int vhu_dev_set_device_state_fd(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_transfer_params params = msg->payload.transfer;
	const bool saves = params.direction == VHU_TRANSFER_SAVE;
	const char *wrong = NULL;
	int flags = fcntl(msg->fd[0], F_GETFL);
	int err;

	vhu_transfer_forget(dev); /* of two, the second one counts */
	if (params.direction > VHU_TRANSFER_LOAD || params.phase != VHU_TRANSFER_STOPPED)
		wrong = "this direction or phase is not known here";
	else if (vhu_vring_any_running(dev))
		wrong = "rings run";
	else if (!vhu_fd_is_stream(msg->fd[0]))
		wrong = "the descriptor is not a pipe or socket pair";
	else if (flags < 0 || (flags & O_ACCMODE) == (saves ? O_RDONLY : O_WRONLY))
		wrong = "the descriptor is the wrong end of its pipe";
	if (wrong) {
		vhu_log(VUBLK_LOG_WARNING, "%s: SET_DEVICE_STATE_FD %u, %u: %s", dev->name,
			params.direction, params.phase, wrong);
		return -EINVAL;
	}
	err = saves ? save(dev, msg->fd[0]) : load(dev, msg);
	msg->payload.u64 = VHU_TRANSFER_NOFD;
	return err;
}

int vhu_dev_check_device_state(struct vublk_dev *dev, struct vhu_msg *msg)
{
	/* Its end may have come, and not been seen. */
	vublk_dev_state_input(dev);
	if (dev->transfer.fd >= 0) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: the device's state was not loaded: its channel has not been closed",
			dev->name);
		stop_loading(dev);
	}
	msg->payload.u64 = !dev->transfer.good;
	return 0;
}

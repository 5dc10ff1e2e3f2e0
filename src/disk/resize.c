/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/resize.h. */
#include "disk/resize.h"

#include <errno.h>

#include "base/container.h"
#include "vublk.h"

/* 0, or -errno: the front-end cannot be told; -EAGAIN: not yet. */
static int tell(struct resize *resize)
{
	const int err = vublk_dev_config_changed(resize->dev);

	if (err == -EAGAIN && resize->tries) {
		resize->tries--;
		loop_set_timer(resize->loop, &resize->retry, RESIZE_RETRY_NS);
	} else if (err == -EAGAIN && log_limit_ok(&resize->limit, LOG_LEVEL_WARNING, "sizes")) {
		log_warning("%s: the front-end does not read that the disk has another size",
			    resize->name);
	}
	return err;
}

static void tell_again(struct loop_timer *timer)
{
	tell(container_of(timer, struct resize, retry));
}

static int tell_first(struct resize *resize)
{
	resize->tries = RESIZE_TRIES;
	return tell(resize);
}

void resize_init(struct resize *resize, const char *name, struct loop *loop, struct vublk_dev *dev,
		 const struct image_end *end)
{
	*resize = (struct resize){
		.name = name,
		.loop = loop,
		.dev = dev,
		.end = end,
		.retry = {.fire = tell_again},
	};
}

void resize_grown(struct resize *resize)
{
	const int err = resize->running ? tell_first(resize) : 0;

	if (!log_limit_ok(&resize->limit, LOG_LEVEL_INFO, "sizes"))
		return;
	log_info("%s: the image has grown, and the disk has %llu bytes now", resize->name,
		 (unsigned long long)image_end_capacity(resize->end));
	if (err && err != -EAGAIN)
		log_warning("%s: the front-end takes no news of that (BACKEND_REQ, CONFIG): the "
			    "guest sees the new size when it is started again",
			    resize->name);
}

void resize_read(struct resize *resize)
{
	resize->known = image_end_capacity(resize->end);
}

void resize_start(struct resize *resize)
{
	resize->running = true;
	if (resize->known != image_end_capacity(resize->end))
		tell_first(resize);
}

void resize_stop(struct resize *resize)
{
	resize->running = false;
	loop_clear_timer(resize->loop, &resize->retry);
}

void resize_end_session(struct resize *resize)
{
	resize->known = 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images that are files and block devices: opening one, what the host says of it, and keeping
 * others from it. Nothing of this writes to the image; and before its lock is held it may belong to
 * another process (image/lock.h). Control thread.
 */
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/host_limits.h"
#include "base/log.h"
#include "image/claim.h"
#include "image/lock.h"
#include "image/probe.h"

/* ---- opening ---- */

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFCHR:
		return "a character device";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	default:
		return "of an unknown kind";
	}
}

static int check_kind(const char *path, const struct stat *st)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	log_error("%s: is %s; an image must be a regular file or a block device", path,
		  kind_name(st->st_mode));
	return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
}

static int log_errno(const char *path, const char *what)
{
	int err = -errno;

	log_error("%s: %s: %s", path, what, strerror(-err));
	return err;
}

/* It could not be opened as asked, `errno` says why: for lack of --read-only perhaps? */
static int explain_open(const struct image_options *options)
{
	int error = errno, fd = -1;

	if (!options->read_only && (error == EACCES || error == EPERM || error == EROFS))
		fd = open(options->path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		log_error("%s: cannot be opened for writing: %s; --read-only serves it without",
			  options->path, strerror(error));
	} else {
		log_error("%s: cannot be opened: %s%s", options->path, strerror(error),
			  limits_advice(LIMITS_DESCRIPTOR, -error));
	}
	return -error;
}

static int open_file(struct image *image, const struct image_options *options)
{
	int flags = (options->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;

	image->direct = options->cache == IMAGE_CACHE_NONE;
	image->fd = open(options->path, flags | (image->direct ? O_DIRECT : 0));
	if (image->fd < 0 && image->direct && errno == EINVAL) {
		image->fd = open(options->path, flags);
		image->direct = false;
	}
	return image->fd < 0 ? explain_open(options) : 0;
}

/* Before Linux 5.11 a read-only device could be opened for writing, and then refused the writes. */
static int check_writable(const struct image *image, const char *path)
{
	int read_only = 0;

	if (image->read_only || ioctl(image->fd, BLKROGET, &read_only) < 0 || !read_only)
		return 0;
	log_error("%s: the device is read-only; serve it with --read-only", path);
	return -EROFS;
}

static int open_image(struct image *image, const struct image_options *options)
{
	struct stat st;
	int err;

	/* Look before opening: that may block (a FIFO) or have effects (a tape). */
	if (stat(options->path, &st) < 0)
		return log_errno(options->path, "cannot be opened");
	err = check_kind(options->path, &st);
	if (!err)
		err = open_file(image, options);
	if (err)
		return err;
	/* And again at what was opened. */
	if (fstat(image->fd, &st) < 0)
		return log_errno(options->path, "fstat");
	err = check_kind(options->path, &st);
	if (!err && S_ISBLK(st.st_mode))
		err = check_writable(image, options->path);
	return err;
}

/* ---- what the host says ---- */

/* Also where open() took it but the file cannot (ext4 with data=journal, encryption). */
static int go_buffered(struct image *image, const char *path)
{
	int flags = fcntl(image->fd, F_GETFL);

	if (flags < 0 || fcntl(image->fd, F_SETFL, flags & ~O_DIRECT) < 0)
		return log_errno(path, "fcntl");
	image->direct = false;
	return 0;
}

/* FUSE asks its server, which may not know. */
static bool is_on_fuse(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) || fs.f_type == FUSE_SUPER_MAGIC;
}

static int find_facts(struct image *image, const char *path, struct image_facts *facts)
{
	int err = image_probe(image->fd, image->direct, facts);

	if (err) {
		log_error("%s: cannot find out about it: %s", path, strerror(-err));
		return err;
	}
	if (!facts->mem_align) {
		err = go_buffered(image, path);
		facts->mem_align = facts->offset_align = 1;
	}
	image_probe_head(image->fd, facts);
	image->is_device = facts->is_device;
	image->is_fuse = is_on_fuse(image->fd);
	image->mem_align = facts->mem_align;
	image->offset_align = facts->offset_align;
	return err;
}

static int file_open(struct image *image, const struct image_options *options,
		     struct image_facts *facts)
{
	int err = open_image(image, options);

	if (!err)
		err = find_facts(image, options->path, facts);
	if (!err && options->cache == IMAGE_CACHE_NONE && !image->direct)
		log_warning("%s: this file system does not support O_DIRECT; using the page cache, "
			    "as with --cache=writeback",
			    options->path);
	return err;
}

/* ---- keeping others from it ---- */

static int lock_bytes(const struct image *image, struct image_reason *why)
{
	const char *holder;
	int err = image_lock(image->fd, !image->read_only, &holder);

	if (err == -EAGAIN) {
		snprintf(why->text, sizeof(why->text), "the image is %s", holder);
		why->others = "another process";
	} else if (err)
		snprintf(why->text, sizeof(why->text),
			 "cannot lock the image: %s (--no-lock does without)", strerror(-err));
	return err;
}

/* Its locks are those of one node in one /dev, and there may be others of the device. */
static int claim_device(const struct image *image, struct image_hold *hold,
			struct image_reason *why)
{
	int err;

	if (!image->is_device || image->read_only)
		return 0;
	err = image_claim(image->fd, &hold->claim);
	if (!err)
		hold->fd = hold->claim;
	else if (err == -EAGAIN) {
		snprintf(why->text, sizeof(why->text), "the device is in use");
		why->others = "the host (mounted, part of another device), or by another process";
	} else
		snprintf(why->text, sizeof(why->text),
			 "cannot open the device for us alone: %s (--no-lock does without)",
			 strerror(-err));
	return err;
}

static void file_unlock(const struct image *image, struct image_hold *hold)
{
	if (hold->claim >= 0)
		close(hold->claim);
	image_hold_init(hold, image);
	image_unlock(image->fd);
}

static int file_lock(const struct image *image, struct image_hold *hold, struct image_reason *why)
{
	int err = lock_bytes(image, why);

	if (err)
		return err;
	err = claim_device(image, hold, why);
	if (err)
		file_unlock(image, hold);
	return err;
}

static void file_close(struct image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
}

const struct image_kind image_file = {
	.io = IMAGE_IO_FILE,
	.open = file_open,
	.go_buffered = go_buffered,
	.lock = file_lock,
	.unlock = file_unlock,
	.close = file_close,
};

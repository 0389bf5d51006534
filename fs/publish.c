#include "fs/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"

struct publish {
	struct session *s; /* borrowed */
	int root;
	bool is_read_only;
};

int publish_open(struct session *s, struct publish **out,
		 char why[SESSION_WHY_SIZE])
{
	const char *dir = s->opts->publish_dir;
	struct publish *p;
	int r, fd;

	r = session_make_folder(dir, 0755, why);
	if (r < 0)
		return r;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		snprintf(why, SESSION_WHY_SIZE, "publish_dir %.300s: %s", dir,
			 strerror(-r));
		return r;
	}
	p = mem_alloc(sizeof(*p));
	p->s = s;
	p->root = fd;
	p->is_read_only = faccessat(fd, ".", W_OK, AT_EACCESS) < 0;
	*out = p;
	return 0;
}

void publish_stop(struct publish *p)
{
}

void publish_close(struct publish *p)
{
	if (!p)
		return;
	close(p->root);
	free(p);
}

int publish_root(const struct publish *p)
{
	return p->root;
}

bool publish_is_read_only(const struct publish *p)
{
	return p->is_read_only;
}

void publish_on_writer(struct publish *p, const char *path, int by)
{
}

void publish_before_change(struct publish *p, const char *path, uint64_t off,
			   uint64_t len)
{
}

void publish_on_changed(struct publish *p, const char *path,
			const struct stat *st, uint64_t off, uint64_t len)
{
}

void publish_on_made(struct publish *p, const char *path, const struct stat *st)
{
}

void publish_on_removed(struct publish *p, const char *path)
{
}

void publish_on_renamed(struct publish *p, const char *from, const char *to,
			bool is_exchange, const struct stat *st)
{
}

int publish_get_attribute(struct publish *p, const char *path, const char *name,
			  struct buf *out)
{
	return -ENODATA;
}

int publish_set_attribute(struct publish *p, const char *path, const char *name,
			  const char *value, size_t len)
{
	return -EOPNOTSUPP;
}

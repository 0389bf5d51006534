#include "fs/pub_job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/random.h"
#include "engine/store_fs.h"

/* Of the workers of the DISK lane, so that writers on a slow disk leave some to
 * look-ups and to reads of torrents. */
#define DATA_JOBS_MAX 2

/* ---- life ---- */

struct pub *pub_new(struct mount *m)
{
	struct pub *p;
	struct stat st;

	if (!m->s->publish)
		return NULL;
	p = mem_alloc(sizeof(*p));
	p->m = m;
	p->publish = m->s->publish;
	p->root = publish_root(p->publish);
	p->is_read_only =
		m->s->opts->is_read_only || publish_is_read_only(p->publish);
	list_init(&p->names);
	list_init(&p->turns);
	for (unsigned i = 0; i < HANDLE_BUCKETS; i++)
		list_init(&p->handles[i]);
	p->next_fh = (uint64_t)random_u32() << 32 | 1;
	pub_tree_init(&p->tree);
	if (!fstat(p->root, &st)) {
		p->tree.root->dev = st.st_dev;
		p->tree.root->backing = st.st_ino;
	}
	return p;
}

static void handle_end(struct pub_handle *h)
{
	list_remove(&h->in_table);
	list_remove(&h->in_node);
	if (h->dir)
		closedir(h->dir);
	else if (h->fd >= 0)
		close(h->fd);
	pub_unref(h->node);
	free(h);
}

void pub_free(struct pub *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < HANDLE_BUCKETS; i++) {
		list_foreach_safe(h, &p->handles[i], struct pub_handle,
				  in_table)
			handle_end(h);
	}
	pub_tree_release(&p->tree);
	free(p);
}

/* Its inode is in memory as long as our descriptor lives: no wait. */
void pub_root_attr(struct pub *p, struct stat *out)
{
	struct stat st;

	if (!fstat(p->root, &st))
		pub_fill_attr(p->tree.root, &st, out);
}

bool pub_is_idle(const struct pub *p)
{
	return !p || !p->num_jobs;
}

/* ---- jobs ---- */

static void job_free(struct pub_job *j)
{
	if (j->handle)
		pub_handle_unref(j->p, j->handle);
	if (j->from)
		pub_handle_unref(j->p, j->from);
	if (j->node)
		pub_unref(j->node);
	if (j->other)
		pub_unref(j->other);
	if (j->fd >= 0)
		close(j->fd);
	if (j->new_dir)
		closedir(j->new_dir);
	else if (j->new_fd >= 0)
		close(j->new_fd);
	free(j->name);
	free(j->other_name);
	free(j->path);
	free(j->other_path);
	free(j->bytes);
	free(j);
}

struct pub_job *pub_job_new(fuse_req_t req, fuse_ino_t ino, const char *name,
			    bool changes)
{
	struct pub *p = pub_of(req);
	struct pub_node *n = p ? pub_by_ino(&p->tree, ino) : NULL;
	struct pub_job *j;
	int r = 0;

	if (!n)
		r = ESTALE;
	else if (p->is_stopping)
		r = ESHUTDOWN;
	else if (changes && p->is_read_only)
		r = EROFS;
	else if (name && strlen(name) > NAME_MAX)
		r = ENAMETOOLONG;
	if (r) {
		fuse_reply_err(req, r);
		return NULL;
	}
	j = mem_alloc(sizeof(*j));
	j->p = p;
	j->req = req;
	j->node = n;
	pub_ref(n);
	j->name = name ? mem_strdup(name) : NULL;
	j->fd = j->new_fd = -1;
	j->uid = fuse_req_ctx(req)->uid;
	j->gid = fuse_req_ctx(req)->gid;
	list_init(&j->node_link);
	return j;
}

static void start_next(struct pub *p, struct pub_node *n);

static void wait_for_turn(struct pub *p, struct pub_node *n)
{
	if (list_is_empty(&n->turn) && !list_is_empty(&n->jobs))
		list_push_back(&p->turns, &n->turn);
}

/* To those that have waited longest. */
static void give_turns(struct pub *p)
{
	struct list *first;

	while (p->num_data < DATA_JOBS_MAX &&
	       (first = list_pop_front(&p->turns)))
		start_next(p, list_entry(first, struct pub_node, turn));
}

static void finish(struct pub_job *j)
{
	struct pub *p = j->p;
	struct pub_node *n = j->node;
	bool by_name = j->is_by_name;

	j->done(j);
	pub_ref(n);
	job_free(j);
	if (by_name)
		start_next(p, NULL);
	else if (list_is_empty(&p->turns))
		start_next(p, n);
	else
		wait_for_turn(p, n);
	give_turns(p);
	pub_unref(n);
}

static void job_run(struct job *job)
{
	struct pub_job *j = container_of(job, struct pub_job, job);

	j->run(j);
}

static void job_done(struct job *job)
{
	struct pub_job *j = container_of(job, struct pub_job, job);
	struct pub *p = j->p;

	p->num_jobs--;
	p->num_data -= !j->is_by_name;
	if (j->is_by_name)
		p->is_name_busy = false;
	else
		j->node->is_busy = false;
	finish(j);
	if (p->is_stopping && !p->num_jobs)
		mount_on_notes_out(p->m);
}

/* A node without a name is reached through one of its handles. */
static int find_way(struct pub_job *j)
{
	j->path = pub_path(j->node);
	if (!j->path) {
		struct pub_handle *h = list_first(&j->node->handles,
						  struct pub_handle, in_node);

		if (j->name)
			return -ENOENT;
		if (!h && j->node->gone_fd < 0)
			return -ESTALE;
		j->fd = fcntl(h ? h->fd : j->node->gone_fd, F_DUPFD_CLOEXEC, 0);
		if (j->fd < 0)
			return -errno;
	}
	if (j->other && j->other_name) {
		j->other_path = pub_path(j->other);
		if (!j->other_path)
			return -ENOENT;
	}
	return 0;
}

static void start(struct pub_job *j)
{
	struct pub *p = j->p;

	if (j->is_by_name)
		p->is_name_busy = true;
	else
		j->node->is_busy = true;
	p->num_data += !j->is_by_name;
	p->num_jobs++;
	j->job.run = job_run;
	j->job.done = job_done;
	worker_submit(p->m->s->workers, LANE_DISK, &j->job);
}

/* N: of that inode; NULL: of the names. */
static void start_next(struct pub *p, struct pub_node *n)
{
	struct list *queue = n ? &n->jobs : &p->names;

	if (n && p->num_data >= DATA_JOBS_MAX && !p->is_stopping) {
		wait_for_turn(p, n);
		return;
	}
	while (!(n ? n->is_busy : p->is_name_busy) && !list_is_empty(queue)) {
		struct pub_job *j =
			list_first(queue, struct pub_job, node_link);

		list_remove(&j->node_link);
		j->r = p->is_stopping ? -ESHUTDOWN : find_way(j);
		if (!j->r) {
			start(j);
			return;
		}
		j->done(j);
		job_free(j);
	}
}

void pub_job_submit(struct pub_job *j, bool by_name)
{
	struct pub *p = j->p;
	struct pub_node *n = j->node;

	j->is_by_name = by_name;
	list_push_back(by_name ? &p->names : &n->jobs, &j->node_link);
	start_next(p, by_name ? NULL : n);
}

void pub_job_drop(struct pub_job *j)
{
	job_free(j);
}

bool pub_stop(struct pub *p)
{
	if (!p)
		return true;
	p->is_stopping = true;
	start_next(p, NULL);
	for (unsigned i = 0; i < PUB_BUCKETS; i++) {
		list_foreach_safe(n, &p->tree.by_ino[i], struct pub_node,
				  by_ino) {
			pub_ref(n);
			if (!n->is_busy)
				start_next(p, n);
			pub_unref(n);
		}
	}
	return !p->num_jobs;
}

/* ---- where it is: worker ---- */

/* Down PATH from FROM as far as one call can take it: what is left of PATH is
 * short enough for the next one. Returns the folder to go on from, which is
 * FROM or is to be closed; -errno. */
static int go_down(int from, const char **path)
{
	int at = from;

	while (strlen(*path) > LIMIT_PATH_BYTES) {
		const char *end = *path + LIMIT_PATH_BYTES;
		char *part;
		int next;

		while (*end != '/')
			end--;
		part = mem_strndup(*path, (size_t)(end - *path));
		next = store_fs_open(at, part, O_PATH | O_DIRECTORY, 0);
		free(part);
		if (at != from)
			close(at);
		if (next < 0)
			return next;
		at = next;
		*path = end + 1;
	}
	return at;
}

static int open_path(int root, const char *path, int flags)
{
	int at = go_down(root, &path), fd;

	if (at < 0)
		return at;
	fd = store_fs_open(at, *path ? path : ".", flags, 0);
	if (at != root)
		close(at);
	return fd;
}

int pub_open_folder(struct pub_job *j, bool other)
{
	return open_path(j->p->root, other ? j->other_path : j->path,
			 O_PATH | O_DIRECTORY);
}

int pub_at_node(struct pub_job *j, struct pub_at *at)
{
	const char *path = j->path;
	int from;

	at->owned = -1;
	if (j->fd >= 0) {
		at->fd = j->fd;
		at->name = "";
		at->flags = AT_EMPTY_PATH;
		return 0;
	}
	at->flags = AT_SYMLINK_NOFOLLOW;
	if (!*path) {
		at->fd = j->p->root;
		at->name = ".";
		return 0;
	}
	from = go_down(j->p->root, &path);
	if (from < 0)
		return from;
	at->owned = at->fd = store_fs_open_parent(from, path, &at->name);
	if (from != j->p->root)
		close(from);
	return at->fd < 0 ? at->fd : 0;
}

void pub_at_close(struct pub_at *at)
{
	if (at->owned >= 0)
		close(at->owned);
}

int pub_open_node(struct pub_job *j, int flags)
{
	char path[64];
	int fd;

	if (j->fd < 0)
		return open_path(j->p->root, j->path, flags);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", j->fd);
	fd = open(path, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int pub_open_flags(int flags)
{
	return (flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_DIRECT | O_APPEND)) |
	       O_NOFOLLOW | O_NONBLOCK;
}

/* ---- handles ---- */

struct pub_handle *pub_handle_new(struct pub_node *n, struct pub *p, int fd)
{
	struct pub_handle *h = mem_alloc(sizeof(*h));

	h->node = n;
	h->fd = fd;
	h->refs = 1;
	h->fh = p->next_fh++;
	pub_ref(n);
	list_push_back(&n->handles, &h->in_node);
	list_push_back(&p->handles[h->fh % HANDLE_BUCKETS], &h->in_table);
	return h;
}

/* A handle that only writes is direct_io: bytes are held once, in the pages of
 * the disk, and copied once less. It has to be alone at first, so that nobody
 * reads old pages; who comes meanwhile is direct_io as well, and who opens the
 * file next begins without pages. */
void pub_handle_cache(struct pub *p, struct pub_handle *h, int flags,
		      bool is_same, struct fuse_file_info *fi)
{
	bool is_alone = true;

	list_foreach(other, &h->node->handles, struct pub_handle, in_node) {
		is_alone &= other == h;
		h->is_direct |= other->is_direct;
	}
	if (p->m->has_direct_mmap && is_alone &&
	    (flags & O_ACCMODE) == O_WRONLY)
		h->is_direct = true;
	fi->direct_io = h->is_direct;
	fi->keep_cache = is_same && !h->is_direct && !h->node->was_direct;
	h->node->was_direct = h->is_direct;
}

struct pub_handle *pub_handle_find(struct pub *p, uint64_t fh)
{
	list_foreach(h, &p->handles[fh % HANDLE_BUCKETS], struct pub_handle,
		     in_table) {
		if (h->fh == fh)
			return h;
	}
	return NULL;
}

void pub_handle_unref(struct pub *p, struct pub_handle *h)
{
	if (--h->refs)
		return;
	handle_end(h);
}

void pub_handle_close(struct pub *p, struct pub_handle *h)
{
	char *path;

	if (h->is_writer) {
		path = pub_path(h->node);
		if (path)
			publish_on_writer(p->publish, path, -1);
		free(path);
	}
	h->is_writer = false;
	pub_handle_unref(p, h);
}

/* ---- answers ---- */

void pub_reply_err(struct pub_job *j)
{
	fuse_reply_err(j->req, -j->r);
}

void pub_fill_attr(const struct pub_node *n, const struct stat *st,
		   struct stat *out)
{
	*out = *st;
	out->st_ino = n->ino;
	out->st_blksize = MOUNT_MAX_IO / 8;
}

void pub_fill_entry(struct pub_job *j, struct pub_node *n,
		    struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = n->ino;
	e->generation = n->generation;
	e->attr_timeout = e->entry_timeout = TIMEOUT_PUBLISH;
	pub_fill_attr(n, &j->st, &e->attr);
}

void pub_on_seen(struct pub *p, struct pub_node *n, const struct stat *st)
{
	struct store_stamp now;

	if (!S_ISREG(st->st_mode))
		return;
	publish_stamp(st, &now);
	if (n->seen.size >= 0 &&
	    (n->seen.size != now.size || n->seen.mtime_ns != now.mtime_ns))
		notify_inode(p->m, n->ino);
	n->seen = now;
}

void pub_reply_entry(struct pub_job *j)
{
	struct fuse_entry_param e;
	struct pub_node *n;

	if (j->r < 0) {
		pub_reply_err(j);
		return;
	}
	n = pub_found(j->node, j->name, &j->st);
	pub_on_seen(j->p, n, &j->st);
	pub_fill_entry(j, n, &e);
	/* Counted first: a reply that fails took no reference. */
	n->nlookup++;
	if (fuse_reply_entry(j->req, &e) < 0)
		pub_forget(n, 1);
	pub_unref(n);
}

/* The life of one read:
 *
 *   read_content --all here, page cache--> answered on the spot
 *        | \
 *        |  `--all here, cold--> WORKER: store_read --> answered in on_job
 *        v                          ^        |
 *     PARKED: struct want           |        +--fails: distrusted, again
 *        |  bytes came: on_want ----+        |  PARKED; EIO the third time
 *        |                                   v
 *        +-- timeout, no source, stop: that error
 *        +-- INTERRUPT, RELEASE, the reader is dead: EINTR, no more demand
 *
 * The kernel sends INTERRUPT for read(2) of a direct_io file, but none for a
 * page of its cache, which a mapping or a buffered reader needs: a killed
 * reader is gone and its request stays, with the page locked under others. So
 * every quarter of a second we look whether the asking threads still exist.
 * The two kinds of read differ in that the kernel gives an owner (of locks)
 * with the former alone.
 *
 * A request that spans here and missing waits for all of it: a short read
 * before the end of a file would be legal with direct_io alone, and readers of
 * fixed sizes take it for the end.
 *
 * Whoever answers takes the request out of the struct first; what is left of
 * it is freed when its worker is back. The interrupt callback may run inside
 * fuse_req_interrupt_func, with libfuse's lock on the request held: it only
 * queues, and the loop answers on a later turn. */
#include "fs/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"

#define DISTRUST_MAX 3   /* times that bytes we vouched for were not there */
#define REAP_MS      250 /* how often dead readers are looked for */
#define REAP_MAX     128 /* of them looked at each time */

struct read {
	struct want want; /* in the engine while is_parked */
	struct list node; /* in handle->reads and so on */
	struct list all;  /* in mount->reads */
	struct list interrupted;
	struct mount *m;
	fuse_req_t req;   /* NULL: answered */
	struct handle *h; /* NULL: closed */
	uint64_t off;     /* in the torrent */
	size_t len;
	unsigned distrusted;
	bool is_parked, is_starting, is_page;
	pid_t pid; /* the thread that asked; 0: in no view of ours */

	struct job job;
	bool is_at_worker;
	struct torrent *held; /* while at the worker */
	struct store *store;  /* of it */
	uint8_t *buf;         /* owned; the worker's answer */
	int r;
};

/* ---- answering ---- */

static void leave_lists(struct read *rd)
{
	list_remove(&rd->node);
	list_remove(&rd->interrupted);
	rd->h = NULL;
}

static void read_free(struct read *rd)
{
	leave_lists(rd);
	list_remove(&rd->all);
	rd->m->num_reads--;
	rd->m->num_page_reads -= rd->is_page;
	free(rd->buf);
	free(rd);
}

/* Ends the request: R < 0 or the bytes in BUF. Frees RD unless a worker has
 * it. */
static void read_answer(struct read *rd, int r, const void *buf)
{
	fuse_req_t req = rd->req;

	CHECK(req);
	rd->req = NULL;
	if (rd->is_parked)
		torrent_cancel(&rd->want);
	rd->is_parked = false;
	if (r < 0)
		(void)fuse_reply_err(req, -r); /* a dead request is no news */
	else
		(void)fuse_reply_buf(req, buf, rd->len);
	if (rd->is_at_worker)
		leave_lists(rd);
	else if (!rd->is_starting)
		read_free(rd);
}

/* ---- interrupts ---- */

static void answer_interrupted(struct task *task)
{
	struct mount *m = container_of(task, struct mount, interrupt_task);
	struct list *node;

	m->is_interrupt_posted = false;
	while ((node = list_pop_front(&m->interrupted)))
		read_answer(list_entry(node, struct read, interrupted), -EINTR,
			    NULL);
}

static void on_interrupt(fuse_req_t req, void *arg)
{
	struct read *rd = arg;
	struct mount *m = rd->m;

	list_remove(&rd->interrupted);
	list_push_back(&m->interrupted, &rd->interrupted);
	if (m->is_interrupt_posted)
		return;
	m->is_interrupt_posted = true;
	m->interrupt_task.run = answer_interrupted;
	loop_post(m->s->loop, &m->interrupt_task);
}

/* ---- readers that died ---- */

static bool is_dead(pid_t pid)
{
	char path[32], text[256], *end;
	ssize_t n;
	int fd;

	if (pid <= 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return n < 0 && errno == ESRCH;
	text[n] = '\0';
	end = strrchr(text, ')'); /* "PID (name) STATE ..." */
	return end && end[1] == ' ' && (end[2] == 'Z' || end[2] == 'X');
}

static void on_reap(struct timer *timer)
{
	struct mount *m = container_of(timer, struct mount, reaper);
	unsigned n = m->num_reads < REAP_MAX ? m->num_reads : REAP_MAX;

	while (n--) {
		struct read *rd = list_first(&m->reads, struct read, all);

		list_remove(&rd->all);
		list_push_back(&m->reads, &rd->all);
		if (rd->is_parked && rd->is_page && is_dead(rd->pid))
			read_answer(rd, -EINTR, NULL);
	}
	if (m->num_page_reads)
		timer_set_ms(&m->reaper, REAP_MS);
}

void reads_init(struct mount *m)
{
	list_init(&m->reads);
	list_init(&m->interrupted);
	timer_init(&m->reaper, m->s->loop, on_reap);
}

/* ---- at a worker ---- */

static void read_run(struct job *job)
{
	struct read *rd = container_of(job, struct read, job);

	/* Allocated here, so that as many buffers exist as workers run. */
	rd->buf = malloc(rd->len);
	rd->r = rd->buf ? store_read(rd->store, rd->off, rd->buf, rd->len)
			: -ENOMEM;
}

static void read_park(struct read *rd);

static void read_failed(struct read *rd, int r)
{
	struct torrent *t;

	if (!rd->h || !rd->h->entry) {
		read_answer(rd, -ESTALE, NULL);
		return;
	}
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE) {
		read_answer(rd, r, NULL); /* not the bytes' fault */
		return;
	}
	t = rd->h->entry->torrent;
	log_warn("torrent=%.8s: bytes %llu+%zu that should be here: %s",
		 rd->h->entry->hash, (unsigned long long)rd->off, rd->len,
		 strerror(-r));
	torrent_distrust(t, rd->off, rd->len);
	if (++rd->distrusted == DISTRUST_MAX)
		read_answer(rd, -EIO, NULL);
	else
		read_park(rd);
}

static void on_job(struct job *job)
{
	struct read *rd = container_of(job, struct read, job);

	rd->is_at_worker = false;
	torrent_release(rd->held);
	if (!rd->req) {
		read_free(rd); /* answered meanwhile */
	} else if (rd->r < 0) {
		free(rd->buf);
		rd->buf = NULL;
		read_failed(rd, rd->r);
	} else {
		read_answer(rd, 0, rd->buf);
	}
}

static void read_submit(struct read *rd)
{
	rd->held = rd->h->entry->torrent;
	rd->store = torrent_store(rd->held);
	torrent_hold(rd->held);
	rd->is_at_worker = true;
	rd->job.run = read_run;
	rd->job.done = on_job;
	worker_submit(rd->m->s->workers, LANE_DISK, &rd->job);
}

/* ---- here ---- */

/* Bytes that are verified: from the page cache, or by a worker. */
static void read_here(struct read *rd)
{
	struct mount *m = rd->m;
	ssize_t n = store_read_now(torrent_store(rd->h->entry->torrent),
				   rd->off, m->reply_buf, rd->len);

	if (n == (ssize_t)rd->len)
		read_answer(rd, 0, m->reply_buf);
	else if (n == -EAGAIN)
		read_submit(rd);
	else
		read_failed(rd, n < 0 ? (int)n : -EIO);
}

/* ---- parked ---- */

static void on_want(struct want *w, int r)
{
	struct read *rd = container_of(w, struct read, want);

	rd->is_parked = false;
	if (r < 0)
		read_answer(rd, r, NULL);
	else
		read_here(rd);
}

static void read_park(struct read *rd)
{
	struct entry *e = rd->h->entry;

	/* A file that was complete when it was opened has no reader yet. */
	if (!rd->h->reader)
		rd->h->reader = torrent_open_reader(
			e->torrent, rd->h->start, rd->h->start + rd->h->length);
	rd->want.off = rd->off;
	rd->want.len = rd->len;
	rd->want.done = on_want;
	rd->is_parked = true;
	torrent_want(e->torrent, rd->h->reader, &rd->want);
	if (rd->is_parked)
		fuse_req_interrupt_func(rd->req, on_interrupt, rd);
}

static struct read *read_new(struct mount *m, fuse_req_t req, struct handle *h,
			     uint64_t off, size_t len, bool is_page)
{
	struct read *rd = mem_alloc(sizeof(*rd));

	rd->m = m;
	rd->req = req;
	rd->h = h;
	rd->off = off;
	rd->len = len;
	list_push_back(&h->reads, &rd->node);
	list_push_back(&m->reads, &rd->all);
	list_init(&rd->interrupted);
	rd->pid = fuse_req_ctx(req)->pid;
	rd->is_page = is_page;
	m->num_reads++;
	if (is_page && !m->num_page_reads++)
		timer_set_ms(&m->reaper, REAP_MS);
	return rd;
}

/* A read that cannot be answered on the spot. */
static void read_begin(struct read *rd, bool is_here)
{
	rd->is_starting = true; /* nothing below may free it */
	if (is_here)
		read_submit(rd);
	else
		read_park(rd);
	rd->is_starting = false;
	if (!rd->req && !rd->is_at_worker)
		read_free(rd);
}

/* Tells the engine of each file that was read from end to end; in the order of
 * the torrent, they tell it which ones come next. Reads ahead by the kernel
 * may come out of order. */
static void note_progress(struct handle *h, uint64_t off, uint64_t end)
{
	if (h->read_to >= h->length || end <= h->read_to ||
	    off > (h->read_to ? h->read_to + MOUNT_MAX_IO : 0))
		return;
	h->read_to = end;
	if (end == h->length)
		torrent_on_whole_file(h->entry->torrent, h->start,
				      h->start + h->length);
}

void read_content(fuse_req_t req, struct handle *h, uint64_t off, size_t size,
		  bool is_page)
{
	struct mount *m = mount_of(req);
	struct torrent *t;
	uint64_t start, left = off < h->length ? h->length - off : 0;
	bool is_here;

	if (!h->entry) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (size > left)
		size = (size_t)left;
	if (size > MOUNT_MAX_IO)
		size = MOUNT_MAX_IO; /* the kernel was told */
	if (!size) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	t = h->entry->torrent;
	start = h->start + off;
	if (h->reader)
		reader_on_read(h->reader, start, size, loop_now_ms(m->s->loop));
	note_progress(h, off, off + size);
	is_here = torrent_has(t, start, size);
	if (is_here) {
		ssize_t n = store_read_now(torrent_store(t), start,
					   m->reply_buf, size);

		if (n == (ssize_t)size) {
			fuse_reply_buf(req, (const char *)m->reply_buf, size);
			return;
		}
	}
	if (m->is_stopping)
		fuse_reply_err(req, ESHUTDOWN);
	else if (m->num_reads >= LIMIT_WANTS)
		fuse_reply_err(req, ENOMEM);
	else
		read_begin(read_new(m, req, h, start, size, is_page), is_here);
}

bool reads_has_page(const struct mount *m, uint64_t ino)
{
	if (!m->num_page_reads)
		return false;
	list_foreach(rd, &m->reads, struct read, all) {
		if (rd->is_page && rd->is_parked && rd->h && rd->h->ino == ino)
			return true;
	}
	return false;
}

/* ---- ending what waits ---- */

void reads_drop_handle(struct mount *m, struct handle *h)
{
	struct list *node;

	while ((node = list_pop_front(&h->reads))) {
		struct read *rd = list_entry(node, struct read, node);

		if (rd->req)
			read_answer(rd, h->entry ? -EINTR : -ESTALE, NULL);
	}
}

void reads_fail_all(struct mount *m, int r)
{
	timer_stop(&m->reaper);
	list_foreach_safe(rd, &m->reads, struct read, all) {
		if (rd->req)
			read_answer(rd, r, NULL);
	}
}

/* The FUSE session as one more descriptor of the loop.
 *
 * Stop, from SIGTERM: what waits is answered ESHUTDOWN -> the notifications
 * under way end, while the loop still answers the kernel -> unmounted (lazily)
 * -> handles closed -> done. From outside (fusermount3 -u): the descriptor
 * says ENODEV, gone() is called, and the same path is walked.
 *
 * Everything goes through fuse_session_custom_io, so that a flag which this
 * libfuse does not know can be added to the reply to INIT. */
#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/log.h"
#include "fs/incoming.h"
#include "fs/mount_private.h"
#include "fs/prefetch.h"
#include "fs/pub.h"
#include "fs/read.h"

#define REQUESTS_PER_TURN 32 /* then sockets and timers have their say */

/* ---- INIT, by hand ---- */

#define WIRE_OPCODE_INIT    1u /* at the first word: total length */
#define WIRE_INIT           26u
#define WIRE_IN_HEADER      40u
#define WIRE_OUT_HEADER     16u
#define WIRE_INIT_OUT       64u
#define FLAG_INIT_EXT       (1ull << 30)
#define FLAG_DIRECT_IO_MMAP (1ull << 36)

static uint32_t word_at(const void *p, size_t i)
{
	uint32_t w;

	memcpy(&w, (const char *)p + i * 4, sizeof(w));
	return w;
}

/* What the kernel offers: the words flags and flags2 of its INIT. */
static void note_init(struct mount *m, const void *in, ssize_t len)
{
	if (m->init_unique || len < (ssize_t)WIRE_IN_HEADER + 20 ||
	    word_at(in, WIRE_OPCODE_INIT) != WIRE_INIT)
		return;
	memcpy(&m->init_unique, (const char *)in + 8, sizeof(m->init_unique));
	m->init_flags = word_at((const char *)in + WIRE_IN_HEADER, 3);
	if (m->init_flags & FLAG_INIT_EXT)
		m->init_flags |=
			(uint64_t)word_at((const char *)in + WIRE_IN_HEADER, 4)
			<< 32;
}

static ssize_t io_read(int fd, void *buf, size_t len, void *arg)
{
	ssize_t n = read(fd, buf, len);

	if (n > 0)
		note_init(arg, buf, n);
	return n;
}

/* Shared mmap of direct_io files, where the kernel can (6.6). */
static void patch_init_reply(struct mount *m, const struct iovec *iov,
			     int count)
{
	uint8_t *out;
	uint64_t unique;
	uint32_t flags, flags2;

	if (count != 2 || iov[0].iov_len != WIRE_OUT_HEADER ||
	    iov[1].iov_len != WIRE_INIT_OUT ||
	    !(m->init_flags & FLAG_INIT_EXT) ||
	    !(m->init_flags & FLAG_DIRECT_IO_MMAP))
		return;
	memcpy(&unique, (const char *)iov[0].iov_base + 8, sizeof(unique));
	if (unique != m->init_unique || word_at(iov[0].iov_base, 1))
		return;
	out = iov[1].iov_base;
	flags = word_at(out, 3) | (uint32_t)FLAG_INIT_EXT;
	flags2 = word_at(out, 8) | (uint32_t)(FLAG_DIRECT_IO_MMAP >> 32);
	memcpy(out + 12, &flags, sizeof(flags));
	memcpy(out + 32, &flags2, sizeof(flags2));
	m->has_direct_mmap = true;
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *arg)
{
	struct mount *m = arg;

	if (m->init_unique) {
		patch_init_reply(m, iov, count);
		if (count == 2 && iov[1].iov_len == WIRE_INIT_OUT)
			m->init_flags = 0; /* once */
	}
	return writev(fd, iov, count);
}

/* ---- requests ---- */

#define SPARES_MAX 16 /* buffers of MOUNT_MAX_IO kept for the next writes */

struct spare {
	struct spare *next;
};

/* libfuse makes a new one when there is none. */
uint8_t *mount_buffer_take(struct mount *m)
{
	uint8_t *bytes = m->in.mem;

	m->in.mem = m->spares;
	if (m->spares) {
		m->spares = m->spares->next;
		m->num_spares--;
	}
	return bytes;
}

void mount_buffer_put(struct mount *m, uint8_t *bytes)
{
	struct spare *s = (struct spare *)(void *)bytes;

	if (m->num_spares >= SPARES_MAX) {
		free(bytes);
		return;
	}
	s->next = m->spares;
	m->spares = s;
	m->num_spares++;
}

static void on_init_done(struct mount *m);

static void on_gone(struct mount *m)
{
	event_del(&m->event);
	m->has_event = false;
	m->is_mounted = false;
	if (!m->is_stopping)
		m->gone(m->gone_arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct mount *m = arg;

	for (int i = 0; i < REQUESTS_PER_TURN && m->has_event; i++) {
		int n = fuse_session_receive_buf(m->se, &m->in);

		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			on_gone(m);
			return;
		}
		fuse_session_process_buf(m->se, &m->in);
		if (!m->is_init_done && m->init_unique)
			on_init_done(m);
	}
}

/* ---- news of the library ---- */

/* Folders are forgotten with all that is below them, files are gone. */
static void on_removed(struct session_listener *l, struct entry *e)
{
	struct mount *m = container_of(l, struct mount, listener);
	char name[NODE_NAME_SIZE];

	handles_drop_entry(m, e);
	prefetch_drop_entry(m, e);
	notify_entry(m, m->single_id ? INO_ROOT : INO_FILES, 0, e->name);
	notify_entry(m, INO_BY_HASH, 0, e->hash);
	notify_entry(m, INO_WEIRFS, 0, e->name);
	snprintf(name, sizeof(name), "%s.torrent", e->name);
	notify_entry(m, INO_TORRENTS, ino_make(INO_TORRENT_FILE, e->id, 0),
		     name);
	snprintf(name, sizeof(name), "%s.magnet", e->name);
	notify_entry(m, INO_TORRENTS, ino_make(INO_MAGNET_FILE, e->id, 0),
		     name);
}

/* ---- mounting ---- */

__attribute__((format(printf, 2, 0))) static void
fuse_says(enum fuse_log_level level, const char *format, va_list ap)
{
	char line[512];

	vsnprintf(line, sizeof(line), format, ap);
	line[strcspn(line, "\n")] = '\0';
	if (level <= FUSE_LOG_ERR)
		log_error("%s", line);
	else if (level == FUSE_LOG_WARNING)
		log_warn("%s", line);
	else
		log_debug("%s", line);
}

/* A value of a mount option: ',' and '\' get a '\'; what would break a line of
 * /proc/mounts for its readers is left to the kernel, which escapes it. */
static char *escape_option(const char *text)
{
	char *out = mem_alloc(2 * strlen(text) + 1);
	size_t n = 0;

	for (; *text; text++) {
		if (*text == ',' || *text == '\\')
			out[n++] = '\\';
		out[n++] = *text;
	}
	return out;
}

#define FSNAME_MAX 400 /* all options must fit a page */

static char *mount_options(const struct opts *o, const char *source)
{
	const char *name = o->fsname                                ? o->fsname
			   : source && strlen(source) <= FSNAME_MAX ? source
								    : "weirfs";
	char *fsname = escape_option(name);
	char *subtype = escape_option(o->subtype ? o->subtype : "weirfs");
	bool checks = o->default_permissions || o->allow_other || o->allow_root;
	const char *others = o->allow_other  ? ",allow_other"
			     : o->allow_root ? ",allow_root"
					     : "";
	char *all = mem_printf(
		"max_read=%u,fsname=%s,subtype=%s,nosuid,nodev,noatime%s%s%s%s",
		MOUNT_MAX_IO, fsname, subtype, o->is_exec ? "" : ",noexec",
		o->is_read_only ? ",ro" : "",
		checks ? ",default_permissions" : "", others);

	free(fsname);
	free(subtype);
	return all;
}

/* How far the kernel reads ahead in complete files: ours to set only as root;
 * without it reads of 128 KiB come, at half the rate. INIT's reply resets it,
 * so it is set after that; stat asks us for the root, so by a worker. */
static void readahead_run(struct job *job)
{
	struct mount *m = container_of(job, struct mount, readahead_job);
	char path[64], text[16];
	struct stat st;
	int fd, n;

	if (stat(m->point, &st) < 0)
		return; /* unmounted meanwhile */
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		 major(st.st_dev), minor(st.st_dev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	n = snprintf(text, sizeof(text), "%d", MOUNT_READAHEAD);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		log_debug("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void on_init_done(struct mount *m)
{
	m->is_init_done = true;
	if (geteuid() || !strncmp(m->point, "/dev/fd/", 8))
		return;
	m->readahead_job.run = readahead_run;
	worker_submit(m->s->workers, LANE_DISK, &m->readahead_job);
}

static int start_session(struct mount *m, const struct mount_config *c,
			 char why[SESSION_WHY_SIZE])
{
	static const struct fuse_custom_io io = { .read = io_read,
						  .writev = io_writev };
	char *options = mount_options(m->s->opts, c->source);
	char *argv[] = { "weirfs", "-o", options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	int fd, r = 0;

	fuse_set_log_func(fuse_says);
	m->se = fuse_session_new(&args, &ops_table, sizeof(ops_table), m);
	fuse_opt_free_args(&args);
	free(options);
	if (!m->se) {
		snprintf(why, SESSION_WHY_SIZE, "libfuse refuses the options");
		return -EINVAL;
	}
	if (fuse_session_mount(m->se, m->point) < 0) {
		snprintf(why, SESSION_WHY_SIZE,
			 "cannot mount at %.300s (see above)", m->point);
		return -EPERM;
	}
	m->is_mounted = true;
	fd = fuse_session_fd(m->se);
	r = fuse_session_custom_io(m->se, &io, fd);
	if (r < 0) {
		snprintf(why, SESSION_WHY_SIZE, "libfuse: %s", strerror(-r));
		return r;
	}
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	event_assign(&m->event, loop_base(m->s->loop), fd, EV_READ | EV_PERSIST,
		     on_readable, m);
	event_add(&m->event, NULL);
	m->has_event = true;
	return 0;
}

int mount_open(struct session *s, const struct mount_config *c,
	       struct mount **out, char why[SESSION_WHY_SIZE])
{
	struct mount *m = mem_alloc(sizeof(*m));
	int r;

	m->s = s;
	m->point = mem_strdup(c->point);
	m->single_id = c->single_id;
	m->uid = s->opts->has_uid ? s->opts->uid : getuid();
	m->gid = s->opts->has_gid ? s->opts->gid : getgid();
	m->gone = c->gone;
	m->gone_arg = c->arg;
	m->listener.on_removed = on_removed;
	list_init(&m->incoming);
	handles_init(&m->handles);
	reads_init(m);
	m->pub = c->single_id ? NULL : pub_new(m);
	prefetch_init(m);
	m->reply_buf = mem_alloc(MOUNT_MAX_IO);
	session_listen(s, &m->listener);
	r = start_session(m, c, why);
	if (r < 0) {
		if (m->is_mounted)
			fuse_session_unmount(m->se);
		m->is_mounted = false;
		mount_free(m);
		return r;
	}
	*out = m;
	return 0;
}

/* ---- the end ---- */

static void finish_stop(struct mount *m)
{
	void (*done)(void *arg) = m->stopped;

	if (!done)
		return;
	m->stopped = NULL;
	if (m->has_event)
		event_del(&m->event);
	m->has_event = false;
	incoming_stop(m);
	fuse_session_exit(m->se);
	fuse_session_unmount(m->se); /* harmless when it is unmounted */
	m->is_mounted = false;
	handles_close_all(m);
	incoming_stop(m);
	session_unlisten(&m->listener);
	done(m->stopped_arg);
}

void mount_on_notes_out(struct mount *m)
{
	if (m->is_stopping && !m->num_notes && pub_is_idle(m->pub))
		finish_stop(m);
}

void mount_stop(struct mount *m, void (*done)(void *arg), void *arg)
{
	if (m->is_stopping)
		return;
	m->is_stopping = true;
	m->stopped = done;
	m->stopped_arg = arg;
	reads_fail_all(m, -ESHUTDOWN);
	prefetch_stop(m);
	if (pub_stop(m->pub) && !m->num_notes)
		finish_stop(m);
}

void mount_free(struct mount *m)
{
	if (!m)
		return;
	session_unlisten(&m->listener);
	if (m->se)
		fuse_session_destroy(m->se);
	pub_free(m->pub);
	for (struct spare *k; (k = m->spares);) {
		m->spares = k->next;
		free(k);
	}
	free(m->in.mem);
	free(m->reply_buf);
	free(m->point);
	free(m);
}

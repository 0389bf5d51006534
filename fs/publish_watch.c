/* inotify on every folder in publish_dir, for what happens behind our back. It
 * sees what the mount does as well, and cannot tell: so it only makes us look,
 * a little later, at the entry that the folder belongs to. Writes without an
 * end are not asked for: a look finds the file too young, and waits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "fs/publish_private.h"

#define WATCHED                                                                \
	(IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM |              \
	 IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |             \
	 IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK)
#define READ_BYTES  (16u << 10)
#define LOOK_MS     200   /* events come in swarms */
#define POLL_MS     60000 /* where there is no inotify to be had */
#define WATCHES_MAX (1u << 17)
#define BUCKETS     4096u

struct folder {
	struct list node;            /* in its bucket, by wd */
	struct publish_entry *entry; /* NULL: it is above entries */
	char *path;                  /* owned; then, below publish_dir */
	int wd;
};

struct watch {
	struct publish *p;
	int fd;
	struct event event;
	bool is_blind; /* a folder could not be watched */
	unsigned num;
	struct list buckets[BUCKETS];
};

static struct folder *folder_by_wd(struct watch *w, int wd)
{
	list_foreach(f, &w->buckets[(unsigned)wd % BUCKETS], struct folder,
		     node) {
		if (f->wd == wd)
			return f;
	}
	return NULL;
}

static void folder_free(struct watch *w, struct folder *f)
{
	list_remove(&f->node);
	w->num--;
	free(f->path);
	free(f);
}

static void look_soon(struct publish *p)
{
	if (!timer_is_set(&p->look_timer) && !p->is_stopping)
		timer_set_ms(&p->look_timer, LOOK_MS);
}

static void on_event(struct watch *w, const struct inotify_event *ev)
{
	struct folder *f = folder_by_wd(w, ev->wd);

	if (ev->mask & IN_Q_OVERFLOW || !f || !f->entry) {
		if (f || ev->mask & IN_Q_OVERFLOW)
			look_soon(w->p);
	} else {
		f->entry->is_doubted = true;
		look_soon(w->p);
	}
	/* The child may be the entry. */
	if (f && !f->entry && ev->len) {
		char *path = mem_printf("%s%s%s", f->path, *f->path ? "/" : "",
					ev->name);
		struct publish_entry *e = publish_entry_of(w->p, path, false);

		if (e)
			e->is_doubted = true;
		free(path);
	}
	if (f && ev->mask & IN_IGNORED)
		folder_free(w, f);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	char bytes[READ_BYTES]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(fd, bytes, sizeof(bytes));

	for (char *at = bytes; n > 0 && at < bytes + n;) {
		struct inotify_event *ev = (struct inotify_event *)(void *)at;

		on_event(w, ev);
		at += sizeof(*ev) + ev->len;
	}
}

/* By path: the folder may be another one by then, and we would look in vain. */
static void add(struct watch *w, struct publish_entry *e, const char *below)
{
	struct publish *p = w->p;
	char *path = mem_printf("/proc/self/fd/%d/%s%s%s", p->root,
				e ? e->path : ".", *below ? "/" : "", below);
	int wd = w->num < WATCHES_MAX ? inotify_add_watch(w->fd, path, WATCHED)
				      : -1;
	struct folder *f = wd >= 0 ? folder_by_wd(w, wd) : NULL;

	if (wd < 0 && errno != ENOENT && errno != ENOTDIR && !w->is_blind) {
		w->is_blind = true;
		log_warn(
			"publish_dir: not every folder can be watched (%s): "
			"looking once a minute; see fs.inotify.max_user_watches",
			strerror(errno));
		timer_set_ms(&p->look_timer, POLL_MS);
	}
	free(path);
	if (wd < 0)
		return;
	if (!f) {
		f = mem_alloc(sizeof(*f));
		f->wd = wd;
		list_push_back(&w->buckets[(unsigned)wd % BUCKETS], &f->node);
		w->num++;
	}
	f->entry = e;
	if (!e && !f->path)
		f->path = mem_strdup(below);
}

struct watch *watch_new(struct publish *p)
{
	struct watch *w = mem_alloc(sizeof(*w));

	w->p = p;
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&w->buckets[i]);
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0) {
		log_warn("publish_dir cannot be watched: %s", strerror(errno));
		free(w);
		return NULL;
	}
	event_assign(&w->event, loop_base(p->s->loop), w->fd,
		     EV_READ | EV_PERSIST, on_readable, w);
	event_add(&w->event, NULL);
	add(w, NULL, "");
	return w;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	event_del(&w->event);
	close(w->fd);
	for (unsigned i = 0; i < BUCKETS; i++) {
		list_foreach_safe(f, &w->buckets[i], struct folder, node)
			folder_free(w, f);
	}
	free(w);
}

void watch_folder(struct publish *p, const char *folder)
{
	if (p->watch)
		add(p->watch, NULL, folder);
}

bool watch_is_blind(const struct watch *w)
{
	return !w || w->is_blind;
}

void watch_entry(struct publish_entry *e, char *const *folders, size_t n)
{
	struct watch *w = e->p->watch;

	for (size_t i = 0; w && i < n; i++)
		add(w, e, folders[i]);
}

void watch_forget(struct publish_entry *e)
{
	struct watch *w = e->p->watch;

	for (unsigned i = 0; w && i < BUCKETS && w->num > 1; i++) {
		list_foreach_safe(f, &w->buckets[i], struct folder, node) {
			if (f->entry != e)
				continue;
			(void)inotify_rm_watch(w->fd, f->wd);
			folder_free(w, f);
		}
	}
}

/* The children of publish_dir, or, with a pattern, all below it that match,
 * compared with the entries we have: at the start, and whenever inotify says
 * that something is going on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/make.h"
#include "fs/publish_private.h"

struct look {
	struct job job;
	struct publish *p;
	char **names; /* owned; paths of what may be entries */
	size_t num, cap;
	char **folders; /* owned; above entries, "" first */
	size_t num_folders, cap_folders;
	int r;
};

static void add(char ***list, size_t *num, size_t *cap, const char *path)
{
	if (*num == *cap) {
		*cap = *cap ? *cap * 2 : 64;
		*list = mem_realloc_array(*list, *cap, sizeof(**list));
	}
	(*list)[(*num)++] = mem_strdup(path);
}

/* An entry, a folder to go down, or neither. */
static void look_at(struct look *l, const char *path, unsigned char type)
{
	size_t len = publish_entry_len(l->p, path);

	if (type != DT_REG && type != DT_DIR && type != DT_UNKNOWN)
		return;
	if (len && publish_is_entry_name(path, len))
		add(&l->names, &l->num, &l->cap, path);
	else if (!len && type != DT_REG && l->num_folders < LIMIT_FILES)
		add(&l->folders, &l->num_folders, &l->cap_folders, path);
}

static int look_into(struct look *l, const char *folder)
{
	struct dirent *e;
	DIR *d;
	int r = publish_open_folder(l->p->root, folder, &d);

	if (r < 0)
		return r;
	while (l->num < LIMIT_FILES && (errno = 0, e = readdir(d))) {
		char *path = mem_printf("%s%s%s", folder, *folder ? "/" : "",
					e->d_name);

		if (!make_is_left_out(e->d_name) &&
		    strlen(path) <= LIMIT_PATH_BYTES)
			look_at(l, path, e->d_type);
		free(path);
	}
	r = -errno;
	closedir(d);
	return r;
}

static void look_run(struct job *job)
{
	struct look *l = container_of(job, struct look, job);

	add(&l->folders, &l->num_folders, &l->cap_folders, "");
	l->r = look_into(l, "");
	/* What cannot be read, or is no folder, is passed over. */
	for (size_t i = 1; i < l->num_folders; i++)
		(void)look_into(l, l->folders[i]);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What the last run knew of a new entry. */
static void remember(struct publish_entry *e)
{
	struct memory *m = memory_of(e->p, e->path);

	if (!m)
		return;
	e->has_torrent = !m->is_withdrawn;
	e->infohash = m->infohash;
	memcpy(e->fingerprint, m->fingerprint, sizeof(e->fingerprint));
	if (m->is_withdrawn)
		publish_set_state(e, PUBLISH_WITHDRAWN);
	else if (publish_torrent(e))
		publish_set_state(e, PUBLISH_DONE);
}

static void see(struct publish *p, const char *name)
{
	struct publish_entry *e = publish_entry_of(p, name, false);

	if (!e) {
		e = publish_entry_of(p, name, true);
		if (!e)
			return;
		remember(e);
		e->delay_ms = p->s->opts->publish_delay_ms;
		publish_look_at(e);
	} else if (e->is_doubted || watch_is_blind(p->watch)) {
		/* One whose clock runs is looked at when that is over. */
		if (!e->seal && !timer_is_set(&e->timer))
			publish_look_at(e);
	}
	e->is_doubted = false;
}

/* Entries whose name is not there any more, and torrents of the last run whose
 * file is gone. */
static void forget_absent(struct look *l)
{
	struct publish *p = l->p;

	for (unsigned i = 0; i < PUBLISH_BUCKETS; i++) {
		list_foreach_safe(e, &p->buckets[i], struct publish_entry,
				  node) {
			const char *path = e->path;

			if (!l->num || !bsearch(&path, l->names, l->num,
						sizeof(*l->names), by_name))
				publish_look_at(e); /* ENOENT ends it */
		}
	}
	list_foreach_safe(m, &p->memories, struct memory, node) {
		struct torrent *t = NULL;

		if (publish_entry_of(p, m->path, false))
			continue;
		if (!m->is_withdrawn)
			t = engine_find(p->s->engine, &m->infohash);
		if (t && torrent_place(t) &&
		    !strcmp(torrent_place(t), m->path)) {
			log_info("published %s is gone", m->path);
			engine_remove(p->s->engine, t, false);
		}
		memory_drop(p, m->path);
	}
}

static void look_done(struct job *job)
{
	struct look *l = container_of(job, struct look, job);
	struct publish *p = l->p;

	p->num_jobs--;
	p->is_looking = false;
	if (l->r < 0) {
		log_warn("publish_dir: %s", strerror(-l->r));
	} else if (!p->is_stopping) {
		if (l->num)
			qsort(l->names, l->num, sizeof(*l->names), by_name);
		for (size_t i = 0; i < l->num; i++)
			see(p, l->names[i]);
		forget_absent(l);
	}
	for (size_t i = 1; i < l->num_folders && !p->is_stopping; i++)
		watch_folder(p, l->folders[i]);
	for (size_t i = 0; i < l->num; i++)
		free(l->names[i]);
	for (size_t i = 0; i < l->num_folders; i++)
		free(l->folders[i]);
	free(l->names);
	free(l->folders);
	free(l);
	if (p->looks_again)
		publish_look(p);
}

void publish_look(struct publish *p)
{
	struct look *l;

	p->looks_again = p->is_looking;
	if (p->is_looking || p->is_stopping)
		return;
	p->is_looking = true;
	p->num_jobs++;
	l = mem_alloc(sizeof(*l));
	l->p = p;
	l->job.run = look_run;
	l->job.done = look_done;
	worker_submit(p->s->workers, LANE_DISK, &l->job);
}

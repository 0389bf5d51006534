/* A torrent that has some files of another one: they are copied instead of
 * fetched. Which are the same? Equal v2 root; else equal length and path; else
 * equal length and last name. The copy is a guess until it was hashed like
 * anything else on disk, so a wrong guess costs a copy and no more.
 *
 * One step of STEP bytes is a job, so that a torrent that is closed meanwhile
 * waits for one step and not for a film. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/engine_private.h"

#define STEP (64u << 20) /* bytes a job; a shared file is one step */

struct pair {
	uint32_t to, from;
};

struct adoption {
	struct job job;
	struct torrent *to, *from; /* held */
	struct pair *pairs;        /* owned */
	uint32_t num, at;
	uint64_t off;
	int64_t r;
	uint64_t copied;
};

/* --- which files --- */

struct key { /* a file of the other torrent, to be searched for */
	const struct metainfo_file *file;
	uint32_t index;
};

static const char *last_name(const struct metainfo_file *f)
{
	const char *slash = strrchr(f->path, '/');

	return slash ? slash + 1 : f->path;
}

static int by_name(const void *va, const void *vb)
{
	const struct metainfo_file *a = ((const struct key *)va)->file;
	const struct metainfo_file *b = ((const struct key *)vb)->file;

	if (a->length != b->length)
		return a->length < b->length ? -1 : 1;
	return strcmp(last_name(a), last_name(b));
}

static int by_root(const void *va, const void *vb)
{
	const struct metainfo_file *a = ((const struct key *)va)->file;
	const struct metainfo_file *b = ((const struct key *)vb)->file;

	if (a->has_root != b->has_root)
		return a->has_root ? -1 : 1;
	if (!a->has_root)
		return 0;
	if (a->length != b->length)
		return a->length < b->length ? -1 : 1;
	return memcmp(a->pieces_root, b->pieces_root, sizeof(a->pieces_root));
}

static bool is_content(const struct metainfo_file *f)
{
	return f->length && !(f->flags & (FILE_PAD | FILE_SYMLINK));
}

/* Among files that are equal by name the one at the same path is best. */
static const struct key *best_by_name(const struct key *found,
				      const struct key *keys, size_t num,
				      const struct key *want)
{
	const struct key *first = found;

	while (first > keys && !by_name(first - 1, want))
		first--;
	for (const struct key *k = first; k < keys + num && !by_name(k, want);
	     k++) {
		if (!strcmp(k->file->path, want->file->path))
			return k;
	}
	return found;
}

static const struct key *find(const struct key *named, const struct key *rooted,
			      size_t num, const struct key *want)
{
	const struct key *k = NULL;

	if (want->file->has_root)
		k = bsearch(want, rooted, num, sizeof(*want), by_root);
	if (k)
		return k;
	k = bsearch(want, named, num, sizeof(*want), by_name);
	return k ? best_by_name(k, named, num, want) : NULL;
}

static struct key *sorted(const struct torrent *t, size_t *num,
			  int (*order)(const void *a, const void *b))
{
	const struct metainfo *mi = t->mi;
	struct key *keys = mem_alloc_array(mi->num_files, sizeof(*keys));
	size_t n = 0;

	for (uint32_t i = 0; i < mi->num_files; i++) {
		const struct metainfo_file *f = &mi->files[i];

		if (is_content(f) && torrent_present(t, f->offset, f->length))
			keys[n++] = (struct key){ f, i };
	}
	qsort(keys, n, sizeof(*keys), order);
	*num = n;
	return keys;
}

static void find_pairs(struct adoption *a)
{
	const struct metainfo *mi = a->to->mi;
	size_t num;
	struct key *named = sorted(a->from, &num, by_name);
	struct key *rooted = sorted(a->from, &num, by_root);

	a->pairs = mem_alloc_array(mi->num_files, sizeof(*a->pairs));
	for (uint32_t i = 0; num && i < mi->num_files; i++) {
		struct key want = { &mi->files[i], i };
		const struct key *k = is_content(want.file)
					      ? find(named, rooted, num, &want)
					      : NULL;

		if (k)
			a->pairs[a->num++] = (struct pair){ i, k->index };
	}
	free(named);
	free(rooted);
}

/* --- copying --- */

static void adoption_run(struct job *job)
{
	struct adoption *a = container_of(job, struct adoption, job);
	struct pair p = a->pairs[a->at];

	a->r = store_copy(a->to->store, p.to, a->from->store, p.from, a->off,
			  STEP);
}

static void finish(struct adoption *a)
{
	struct torrent *to = a->to;

	if (a->copied)
		log_info("%s: %llu bytes in %u files taken from %s", to->name,
			 (unsigned long long)a->copied, a->num, a->from->name);
	torrent_release(a->from);
	torrent_release(to);
	free(a->pairs);
	free(a);
	if (!to->is_closing)
		check_start(to, CHECK_ALLOCATED);
}

static void adoption_done(struct job *job)
{
	struct adoption *a = container_of(job, struct adoption, job);
	const struct metainfo_file *f = &a->to->mi->files[a->pairs[a->at].to];

	if (a->r > 0) {
		a->off += (uint64_t)a->r;
		a->copied += (uint64_t)a->r;
	} else if (a->r < 0) {
		log_debug("%s: %s is not copied: %s", a->to->name, f->path,
			  strerror((int)-a->r));
	}
	/* A full disk will not be emptier for the next file. */
	if (a->r == -ENOSPC || a->r == -EDQUOT)
		a->at = a->num;
	if (a->r <= 0 || a->off >= f->length) {
		a->at++;
		a->off = 0;
	}
	if (a->at >= a->num || a->to->is_closing || a->from->is_closing)
		finish(a);
	else
		worker_submit(a->to->engine->workers, LANE_DISK, &a->job);
}

bool adopt_start(struct torrent *t)
{
	struct torrent *from = engine_by_id(t->engine, t->adopt_id);
	struct adoption *a;

	if (!t->adopt_id || !from || from == t || !from->mi ||
	    from->is_closing || torrent_is_read_only(t) ||
	    t->engine->config.is_flat) /* equal names are one file there */
		return false;
	a = mem_alloc(sizeof(*a));
	a->to = t;
	a->from = from;
	find_pairs(a);
	if (!a->num) {
		free(a->pairs);
		free(a);
		return false;
	}
	torrent_hold(t);
	torrent_hold(from);
	a->job.run = adoption_run;
	a->job.done = adoption_done;
	worker_submit(t->engine->workers, LANE_DISK, &a->job);
	return true;
}

void torrent_adopt(struct torrent *t, struct torrent *from)
{
	t->adopt_id = from->id;
}

/* A few pieces at a time, of whichever file has some that are ready, each a
 * job of its own. A file is opened for each piece: its name may change at any
 * time, and an open costs nothing beside hashing 256 KiB. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/store_fs.h"
#include "fs/publish_private.h"

struct step {
	struct job job;
	struct list node; /* in its file */
	struct publish *p;
	struct publish_file *file; /* NULL: void */
	char *path;                /* owned; of the moment it began */
	struct filehash_step hash;
	int r;
};

static void step_run(struct job *job)
{
	struct step *s = container_of(job, struct step, job);
	int fd = store_fs_open_quietly(s->p->root, s->path,
				       O_RDONLY | O_NOFOLLOW);

	if (fd < 0) {
		s->r = fd;
		return;
	}
	s->r = filehash_run(&s->hash, fd);
	close(fd);
}

static void step_done(struct job *job)
{
	struct step *s = container_of(job, struct step, job);
	struct publish *p = s->p;
	struct publish_file *f = s->file;

	p->num_steps--;
	p->num_jobs--;
	if (f) {
		list_remove(&s->node);
		if (s->r < 0)
			f->r = s->r;
		else
			filehash_end(&f->hash, &s->hash);
		/* The last one of a file tells the seal. */
		if (list_is_empty(&f->steps) && f->from >= f->until &&
		    f->entry->seal)
			seal_on_hashed(f->entry);
	}
	free(s->path);
	free(s);
	publish_hash_pump(p);
}

static void begin(struct publish_file *f, uint32_t piece)
{
	struct publish *p = f->entry->p;
	struct step *s = mem_alloc(sizeof(*s));

	s->p = p;
	s->file = f;
	s->path = mem_strdup(f->path);
	s->job.run = step_run;
	s->job.done = step_done;
	filehash_begin(&f->hash, piece, &s->hash);
	list_push_back(&f->steps, &s->node);
	p->num_steps++;
	p->num_jobs++;
	worker_submit(p->s->workers, LANE_HASH, &s->job);
}

/* False: there is nothing to do for F now. */
static bool begin_next(struct publish_file *f)
{
	if (f->until > f->hash.num_pieces)
		f->until = f->hash.num_pieces;
	if (f->from < f->until)
		f->from = filehash_next(&f->hash, f->from);
	if (f->from >= f->until)
		return false;
	begin(f, f->from++);
	return true;
}

void publish_hash_pump(struct publish *p)
{
	while (!p->is_stopping && p->num_steps < PUBLISH_STEPS_MAX &&
	       !list_is_empty(&p->hashing)) {
		struct publish_file *f =
			list_first(&p->hashing, struct publish_file, hash_node);

		list_remove(&f->hash_node);
		if (begin_next(f)) /* in turn */
			list_push_back(&p->hashing, &f->hash_node);
		else if (list_is_empty(&f->steps) && f->entry->seal)
			seal_on_hashed(f->entry);
	}
}

void publish_hash(struct publish_file *f, uint32_t from, uint32_t until)
{
	struct publish *p = f->entry->p;

	/* One range is enough: what is in between lacks nothing or may be
	 * looked at. */
	if (f->from >= f->until) {
		f->from = from;
		f->until = until;
	} else {
		f->from = from < f->from ? from : f->from;
		f->until = until > f->until ? until : f->until;
	}
	f->r = 0;
	list_remove(&f->hash_node);
	list_push_back(&p->hashing, &f->hash_node);
	publish_hash_pump(p);
}

void publish_hash_void(struct publish_file *f, uint64_t off, uint64_t len)
{
	list_foreach_safe(s, &f->steps, struct step, node) {
		if (s->hash.off + s->hash.piece_length <= off ||
		    (len < UINT64_MAX - off && off + len <= s->hash.off))
			continue;
		s->file = NULL;
		list_remove(&s->node);
	}
}

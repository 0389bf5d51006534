#include "engine/fdcache.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

struct fdcache {
	pthread_mutex_t lock; /* leaf: never held across a syscall */
	struct list idle;     /* oldest first; nobody holds them */
	unsigned num_open, max_open;
};

struct fdcache *fdcache_new(unsigned max_open)
{
	struct fdcache *c = mem_alloc(sizeof(*c));

	CHECK(max_open);
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->idle);
	c->max_open = max_open;
	return c;
}

void fdcache_free(struct fdcache *c)
{
	if (!c)
		return;
	CHECK(list_is_empty(&c->idle));
	CHECK(!c->num_open);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* --- lock held --- */

/* Takes F out of its slot. Into DEAD if nobody holds it. */
static void throw_out(struct fdcache *c, struct fdfile *f, struct list *dead)
{
	*f->slot = NULL;
	f->slot = NULL;
	if (f->users)
		return;
	list_remove(&f->idle);
	list_push_back(dead, &f->idle);
	c->num_open--;
}

static void shrink(struct fdcache *c, struct list *dead)
{
	while (c->num_open > c->max_open && !list_is_empty(&c->idle))
		throw_out(c, list_first(&c->idle, struct fdfile, idle), dead);
}

static void hold(struct fdfile *f)
{
	if (!f->users++)
		list_remove(&f->idle);
}

/* --- lock not held --- */

static void close_all(struct list *dead)
{
	struct list *l;

	while ((l = list_pop_front(dead))) {
		struct fdfile *f = list_entry(l, struct fdfile, idle);

		/* A write-back error that close would tell is told again to
		 * whoever opens the file next and syncs it. */
		(void)close(f->fd);
		free(f);
	}
}

struct fdfile *fdcache_get(struct fdcache *c, struct fdfile **slot,
			   bool needs_write)
{
	struct fdfile *f;

	pthread_mutex_lock(&c->lock);
	f = *slot;
	if (f && needs_write && !f->is_writable)
		f = NULL;
	if (f)
		hold(f);
	pthread_mutex_unlock(&c->lock);
	return f;
}

struct fdfile *fdcache_add(struct fdcache *c, struct fdfile **slot, int fd,
			   bool is_writable)
{
	struct fdfile *f = mem_alloc(sizeof(*f));
	struct list dead;

	list_init(&dead);
	list_init(&f->idle);
	f->fd = fd;
	f->is_writable = is_writable;

	pthread_mutex_lock(&c->lock);
	if (*slot && (*slot)->is_writable >= is_writable) {
		list_push_back(&dead, &f->idle);
		f = *slot;
		hold(f);
	} else {
		if (*slot)
			throw_out(c, *slot, &dead);
		*slot = f;
		f->slot = slot;
		f->users = 1;
		c->num_open++;
		shrink(c, &dead);
	}
	pthread_mutex_unlock(&c->lock);
	close_all(&dead);
	return f;
}

void fdcache_put(struct fdcache *c, struct fdfile *f)
{
	struct list dead;

	list_init(&dead);
	pthread_mutex_lock(&c->lock);
	if (!--f->users) {
		if (f->slot) {
			list_push_back(&c->idle, &f->idle);
			shrink(c, &dead);
		} else {
			list_push_back(&dead, &f->idle);
			c->num_open--;
		}
	}
	pthread_mutex_unlock(&c->lock);
	close_all(&dead);
}

void fdcache_drop(struct fdcache *c, struct fdfile **slot)
{
	struct list dead;

	list_init(&dead);
	pthread_mutex_lock(&c->lock);
	if (*slot)
		throw_out(c, *slot, &dead);
	pthread_mutex_unlock(&c->lock);
	close_all(&dead);
}

unsigned fdcache_num_open(struct fdcache *c)
{
	unsigned n;

	pthread_mutex_lock(&c->lock);
	n = c->num_open;
	pthread_mutex_unlock(&c->lock);
	return n;
}

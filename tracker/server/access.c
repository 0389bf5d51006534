/* Readers take no lock and writers stop no reader:
 *
 * - A list is a table of open addressing. A slot is written once: its infohash
 *   first, then its state, with release; a reader acquires the state and only
 *   then looks at the infohash. Adding fills an empty slot, removing marks one,
 *   and a marked slot is only ever used for the same infohash again. So a
 *   single change costs no copy, however long the list.
 * - A table that is too full, and a file that is read again, make a new table
 *   behind an atomic pointer. The old one is freed when no reader can hold it.
 * - Who holds a table is counted, in a stripe for each processor so that cores
 *   share no line: a reader raises its stripe's counter before it loads the
 *   pointer and lowers it when done. All three, and the exchange of the
 *   pointer, have one order (seq_cst). A reader that saw the old pointer had
 *   raised its counter before the exchange, so once the writer, after the
 *   exchange, has seen each counter at zero, that reader is gone.
 * - A counter that is busy all the time might never be seen at zero. Hence two
 *   of them a stripe: the writer turns readers to the second one, waits for the
 *   first to empty, and then the other way round. A reader stays for less than
 *   a microsecond if nobody takes its processor away. */
#include "tracker/server/access.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"

#define STRIPES     64
#define SLOTS_FIRST 64u
#define LINE_BYTES  256 /* of an entry; comments may be longer */

enum slot_state {
	SLOT_EMPTY,
	SLOT_LISTED,
	SLOT_REMOVED
};

struct table {
	size_t slots; /* a power of two, at least twice USED */
	size_t used;  /* not empty; the writer's */
	size_t count; /* listed; the writer's */
	uint64_t seed;
	struct infohash *hashes; /* owned */
	_Atomic uint8_t *states; /* owned; enum slot_state */
};

struct stripe {
	_Alignas(64) atomic_uint readers[2];
};

struct access_list {
	struct stripe stripes[STRIPES];
	_Alignas(64) _Atomic(struct table *) table; /* owned */
	atomic_uint side; /* which counter new readers raise */
	enum access_mode mode;
	char *path; /* owned; NULL: none */
};

static void table_free(struct table *t)
{
	if (!t)
		return;
	free(t->hashes);
	free(t->states);
	free(t);
}

/* NULL: no memory. */
static struct table *table_new(size_t slots)
{
	struct table *t = mem_alloc(sizeof(*t));

	t->slots = slots;
	random_bytes(&t->seed, sizeof(t->seed));
	t->hashes = mem_try(slots, sizeof(*t->hashes));
	t->states = mem_try(slots, sizeof(*t->states));
	if (t->hashes && t->states)
		return t;
	table_free(t);
	return NULL;
}

/* The slot of H, or the empty one where it belongs. STATE is what the slot was
 * when it was looked at: an empty one may be another's a moment later. */
static size_t table_find(const struct table *t, const struct infohash *h,
			 enum slot_state *state)
{
	uint64_t a, b;
	uint32_t c;
	size_t i;

	memcpy(&a, h->b, sizeof(a));
	memcpy(&b, h->b + 8, sizeof(b));
	memcpy(&c, h->b + 16, sizeof(c));
	a = (a ^ t->seed) * 0x9e3779b97f4a7c15;
	a = (a ^ a >> 32 ^ b) * 0xd6e8feb86659fd93;
	a = (a ^ a >> 32 ^ c) * 0x9e3779b97f4a7c15;
	for (i = (a ^ a >> 32) & (t->slots - 1);;
	     i = (i + 1) & (t->slots - 1)) {
		*state = atomic_load_explicit(&t->states[i],
					      memory_order_acquire);
		if (*state == SLOT_EMPTY || infohash_eq(&t->hashes[i], h))
			return i;
	}
}

static bool table_has(const struct table *t, const struct infohash *h)
{
	enum slot_state state;

	(void)table_find(t, h, &state);
	return state == SLOT_LISTED;
}

/* There is an empty slot. */
static void table_put(struct table *t, const struct infohash *h)
{
	enum slot_state state;
	size_t i = table_find(t, h, &state);

	if (state == SLOT_LISTED)
		return;
	if (state == SLOT_EMPTY) {
		t->hashes[i] = *h;
		t->used++;
	}
	t->count++;
	atomic_store_explicit(&t->states[i], SLOT_LISTED, memory_order_release);
}

/* A table with room for one more: T itself or a copy of what is listed in it.
 * NULL: no memory. */
static struct table *table_with_room(struct table *t)
{
	size_t slots = SLOTS_FIRST;
	struct table *larger;

	if ((t->used + 1) * 2 <= t->slots)
		return t;
	while (slots < (t->count + 1) * 4)
		slots *= 2;
	larger = table_new(slots);
	for (size_t i = 0; larger && i < t->slots; i++)
		if (atomic_load_explicit(&t->states[i], memory_order_relaxed) ==
		    SLOT_LISTED)
			table_put(larger, &t->hashes[i]);
	return larger;
}

/* --- the file --- */

struct reading {
	const char *path; /* borrowed */
	FILE *file;
	struct table *table; /* owned */
	size_t line;
	char text[LINE_BYTES]; /* without comment and spaces */
	size_t len;
	bool is_long; /* more than fits, comment not counted */
};

/* Reads one line. False: end of file. */
static bool next_line(struct reading *r)
{
	bool is_comment = false;
	int c;

	r->len = 0;
	r->is_long = false;
	r->line++;
	while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
		is_comment |= c == '#';
		if (is_comment || (r->len == 0 && strchr(" \t\r", c) && c))
			continue;
		if (r->len < sizeof(r->text))
			r->text[r->len++] = (char)c;
		else
			r->is_long = true;
	}
	while (r->len && strchr(" \t\r", r->text[r->len - 1]) &&
	       r->text[r->len - 1])
		r->len--;
	return c != EOF || r->len;
}

static bool parse_infohash(const char *text, size_t len, struct infohash *out)
{
	struct infohash2 v2;

	if (len == 2 * sizeof(v2.b) &&
	    hex_decode(text, len, v2.b, sizeof(v2.b))) {
		*out = infohash2_truncate(&v2);
		return true;
	}
	return hex_decode(text, len, out->b, sizeof(out->b));
}

static int take_line(struct reading *r, char *why, size_t why_size)
{
	char shown[64];
	struct infohash h;
	struct table *t;

	if (!r->len)
		return 0;
	if (r->is_long || !parse_infohash(r->text, r->len, &h)) {
		size_t some = r->len < 48 ? r->len : 48;

		snprintf(why, why_size,
			 "%s:%zu: '%s%s' is no infohash (40 or 64 hex digits)",
			 r->path, r->line,
			 log_vis(r->text, some, shown, sizeof(shown)),
			 some < r->len ? "..." : "");
		return -EINVAL;
	}
	if (r->table->count >= LIMIT_ACCESS_ENTRIES) {
		snprintf(why, why_size, "%s:%zu: more than %u entries", r->path,
			 r->line, LIMIT_ACCESS_ENTRIES);
		return -E2BIG;
	}
	t = table_with_room(r->table);
	if (!t) {
		snprintf(why, why_size, "%s:%zu: no memory for so many entries",
			 r->path, r->line);
		return -ENOMEM;
	}
	if (t != r->table)
		table_free(r->table);
	r->table = t;
	table_put(t, &h);
	return 0;
}

/* A pipe would be empty when it is read again, and might never answer. */
static int open_list(const char *path, FILE **out, char *why, size_t why_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r = fd < 0 ? -errno : 0;
	struct stat st;

	if (!r && fstat(fd, &st))
		r = -errno;
	if (!r && !S_ISREG(st.st_mode))
		r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (!r && !(*out = fdopen(fd, "r")))
		r = -errno;
	if (!r)
		return 0;
	if (fd >= 0)
		close(fd);
	snprintf(why, why_size, "%s: %s", path,
		 r == -EINVAL ? "not a regular file" : strerror(-r));
	return r;
}

static int read_list(const char *path, struct table **out, char *why,
		     size_t why_size)
{
	struct reading r = { .path = path };
	int err = open_list(path, &r.file, why, why_size);

	if (err)
		return err;
	r.table = table_new(SLOTS_FIRST);
	if (!r.table) {
		snprintf(why, why_size, "%s: no memory", path);
		err = -ENOMEM;
	}
	while (!err && next_line(&r))
		err = take_line(&r, why, why_size);
	if (!err && ferror(r.file)) {
		err = -EIO;
		snprintf(why, why_size, "%s:%zu: cannot be read", path, r.line);
	}
	fclose(r.file);
	if (err)
		table_free(r.table);
	else
		*out = r.table;
	return err;
}

/* --- the list --- */

static void wait_for_readers(struct access_list *a)
{
	for (int turn = 0; turn < 2; turn++) {
		unsigned old = atomic_load(&a->side);

		atomic_store(&a->side, !old);
		for (unsigned i = 0; i < STRIPES; i++)
			while (atomic_load(&a->stripes[i].readers[old]))
				sched_yield();
	}
}

static void replace(struct access_list *a, struct table *t)
{
	struct table *old = atomic_exchange(&a->table, t);

	wait_for_readers(a);
	table_free(old);
}

struct access_list *access_new(enum access_mode mode, const char *path,
			       char *why, size_t why_size)
{
	struct access_list *a = aligned_alloc(64, sizeof(*a));
	struct table *t = NULL;

	if (a && path)
		(void)read_list(path, &t, why, why_size); /* WHY is set */
	else if (!a || !(t = table_new(SLOTS_FIRST)))
		snprintf(why, why_size, "no memory");
	if (!t) {
		free(a);
		return NULL;
	}
	memset(a, 0, sizeof(*a));
	a->mode = mode;
	a->path = path ? mem_strdup(path) : NULL;
	atomic_store(&a->table, t);
	return a;
}

void access_free(struct access_list *a)
{
	if (!a)
		return;
	table_free(atomic_load(&a->table));
	free(a->path);
	free(a);
}

int access_reload(struct access_list *a, char *why, size_t why_size)
{
	struct table *t;
	int r;

	if (!a->path)
		return 0;
	r = read_list(a->path, &t, why, why_size);
	if (!r)
		replace(a, t);
	return r;
}

int access_add(struct access_list *a, const struct infohash *h)
{
	struct table *old = atomic_load(&a->table), *t;

	if (table_has(old, h))
		return 0;
	if (old->count >= LIMIT_ACCESS_ENTRIES)
		return -E2BIG;
	t = table_with_room(old);
	if (!t)
		return -ENOMEM;
	table_put(t, h);
	if (t != old)
		replace(a, t);
	return 0;
}

void access_remove(struct access_list *a, const struct infohash *h)
{
	struct table *t = atomic_load(&a->table);
	enum slot_state state;
	size_t i = table_find(t, h, &state);

	if (state != SLOT_LISTED)
		return;
	t->count--;
	atomic_store_explicit(&t->states[i], SLOT_REMOVED,
			      memory_order_release);
}

bool access_allows(const struct access_list *a, const struct infohash *h)
{
	/* Readers count themselves: nothing else of A changes. */
	struct access_list *mine = (struct access_list *)a;
	atomic_uint *readers;
	bool is_listed;
	int cpu;

	if (a->mode == ACCESS_ALL)
		return true;
	cpu = sched_getcpu();
	readers = &mine->stripes[(unsigned)cpu % STRIPES]
			   .readers[atomic_load(&mine->side)];
	atomic_fetch_add(readers, 1);
	is_listed = table_has(atomic_load(&mine->table), h);
	atomic_fetch_sub(readers, 1);
	return is_listed == (a->mode == ACCESS_ALLOW);
}

size_t access_count(const struct access_list *a)
{
	return atomic_load(&a->table)->count;
}

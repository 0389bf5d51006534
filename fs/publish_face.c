/* What people see of the publisher, and what they say to it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hex.h"
#include "fs/publish_private.h"
#include "fs/status.h"

static const char *state_name(enum publish_state state)
{
	switch (state) {
	case PUBLISH_WRITING:
		return "writing";
	case PUBLISH_SETTLING:
		return "settling";
	case PUBLISH_HASHING:
		return "hashing";
	case PUBLISH_DONE:
		return "published";
	case PUBLISH_NOTHING:
		return "empty";
	case PUBLISH_WITHDRAWN:
		return "withdrawn";
	case PUBLISH_FAILED:
		return "failed";
	}
	return "";
}

static uint64_t bytes_hashed(const struct publish_entry *e)
{
	uint64_t missing = seal_bytes_missing(e);

	if (e->state == PUBLISH_DONE)
		return e->bytes;
	return missing < e->bytes ? e->bytes - missing : 0;
}

static void put_attribute(struct publish_entry *e, const char *name,
			  struct buf *out)
{
	struct torrent *t =
		e->state == PUBLISH_DONE ? publish_torrent(e) : NULL;
	char hex[41], *magnet;

	if (!strcmp(name, "state")) {
		buf_add_str(out, state_name(e->state));
	} else if (!strcmp(name, "progress")) {
		buf_printf(out, "%.4f",
			   e->bytes ? (double)bytes_hashed(e) / (double)e->bytes
				    : 0.0);
	} else if (!strcmp(name, "error")) {
		buf_add_str(out, e->error);
	} else if (t && !strcmp(name, "infohash")) {
		buf_add_str(out, hex_encode(e->infohash.b,
					    sizeof(e->infohash.b), hex));
	} else if (t && !strcmp(name, "magnet")) {
		magnet = torrent_magnet(t);
		buf_add_str(out, magnet);
		free(magnet);
	}
}

int publish_get_attribute(struct publish *p, const char *path, const char *name,
			  struct buf *out)
{
	struct publish_entry *e = publish_entry_of(p, path, false);
	size_t before = out->len;

	if (!e)
		return -ENODATA;
	put_attribute(e, name, out);
	return out->len == before ? -ENODATA : 0;
}

static bool is_word(const char *value, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(value, word, len);
}

int publish_set_attribute(struct publish *p, const char *path, const char *name,
			  const char *value, size_t len)
{
	struct publish_entry *e;

	if (strcmp(name, "publish") != 0)
		return -EOPNOTSUPP;
	e = publish_entry_of(p, path, true);
	if (!e)
		return -EINVAL; /* a name that is never published */
	if (is_word(value, len, "now")) {
		e->is_held = false;
		e->is_urgent = true;
		if (e->writers)
			publish_settle(e, false);
		else
			publish_look_at(e);
	} else if (is_word(value, len, "hold")) {
		e->is_held = true;
		e->is_urgent = false;
		publish_settle(e, false);
	} else {
		return -EINVAL;
	}
	return 0;
}

static json_t *status_entry(struct publish_entry *e)
{
	struct torrent *t = publish_torrent(e);
	json_t *o = json_object();
	struct entry *shown;
	char hex[41];

	json_object_set_new(o, "path", status_text(e->path));
	json_object_set_new(o, "state", json_string(state_name(e->state)));
	json_object_set_new(o, "bytes", json_integer((json_int_t)e->bytes));
	json_object_set_new(o, "hashed_bytes",
			    json_integer((json_int_t)bytes_hashed(e)));
	json_object_set_new(o, "writers", json_integer(e->writers));
	json_object_set_new(o, "error", status_text(e->error));
	if (!t)
		return o;
	hex_encode(e->infohash.b, sizeof(e->infohash.b), hex);
	json_object_set_new(o, "infohash", json_string(hex));
	shown = library_by_id(e->p->s->library, torrent_id(t));
	json_object_set_new(o, "torrent",
			    status_text(shown ? shown->name : torrent_name(t)));
	/* Still offered, as far as its bytes are what they were. */
	json_object_set_new(o, "is_current",
			    json_boolean(e->state == PUBLISH_DONE));
	return o;
}

json_t *publish_status(struct publish *p)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < PUBLISH_BUCKETS; i++) {
		list_foreach(e, &p->buckets[i], struct publish_entry, node)
			json_array_append_new(list, status_entry(e));
	}
	return list;
}
